"""Gap records of what Kafka refuses."""

from __future__ import annotations

from typing import Any, cast

from market.gap import Gap
from producer.gaps import TOO_LARGE, tell_refused
from producer.publishing.publish import Publisher
from tests.producer.doubles import trade


class Topic:
    """Keeps the gaps that are published."""

    def __init__(self) -> None:
        self.gaps: list[Gap] = []

    def gap(self, gap: Gap) -> None:
        """Take one."""
        self.gaps.append(gap)


def test_the_trades_of_a_refused_record_are_told_as_lost() -> None:
    """One gap for each run of ids."""
    topic: Any = Topic()
    tell_refused(cast(Publisher, topic), [trade(number) for number in (5, 6, 7, 9, 12, 13)])
    assert [(gap.symbol, gap.first_trade_id, gap.last_trade_id, gap.status, gap.cause) for gap in topic.gaps] == [
        ("BTCUSDT", first, last, "lost", TOO_LARGE) for first, last in ((5, 7), (9, 9), (12, 13))
    ]
