"""Gap records: what they say, and how loudly."""

from __future__ import annotations

from typing import Any, cast

import pytest

from market.gap import Gap
from producer.completeness.sequence import Hole
from producer.gaps import TOO_LARGE, Gaps, tell_refused
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


@pytest.mark.parametrize(
    ("status", "cause", "level", "lost"),
    [
        ("lost", "the exchange no longer serves these trades", "WARNING", 3),
        ("lost", "the record begins here: nothing is missing before it", "INFO", 0),
        ("open", "trades were missed", "INFO", 0),
    ],
)
def test_only_what_is_really_lost_is_warned_of_and_counted(
    status: str, cause: str, level: str, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    """That nothing went before a record's first trade ends a question, and is no loss."""
    topic: Any = Topic()
    gaps = Gaps("binance", cast(Publisher, topic))
    with caplog.at_level("INFO"):
        gaps.tell(Hole("BTCUSDT", 5, 7), status, cause)
    assert [record.levelname for record in caplog.records] == [level]
    assert caplog.messages == [f"binance BTCUSDT: ids 5 to 7 {status}: {cause}"]
    (told,) = [value for name, value, _ in gaps.samples() if name == "producer_lost_trades_total"]
    assert told == lost
