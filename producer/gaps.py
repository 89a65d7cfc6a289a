"""The gap records of one exchange, published and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence

from market.gap import STATUSES, Gap
from market.metrics import Sample, sample
from market.trade import Trade
from producer.completeness.edges import SETTLED
from producer.completeness.sequence import Hole
from producer.publishing.publish import Publisher

log = logging.getLogger(__name__)


class Gaps:
    """Publishes the gaps of an exchange."""

    def __init__(self, exchange: str, publisher: Publisher) -> None:
        self._exchange = exchange
        self._publisher = publisher
        self._reported = dict.fromkeys(STATUSES, 0)
        self._lost_trades = 0

    def tell(self, hole: Hole, status: str, cause: str) -> None:
        """Publish a hole as a gap, log it and count it."""
        symbol, first, last, after_ms, before_ms, _ = hole
        is_lost = status == "lost" and cause != SETTLED  # an edge with nothing before it is no loss
        level = logging.WARNING if is_lost else logging.INFO
        log.log(level, "%s %s: ids %d to %d %s: %s", self._exchange, symbol, first, last, status, cause)
        now_ms = time.time_ns() // 1_000_000
        self._reported[status] += 1
        self._lost_trades += last - first + 1 if is_lost else 0
        self._publisher.gap(Gap(self._exchange, symbol, first, last, status, cause, now_ms, after_ms, before_ms))

    def samples(self) -> Iterator[Sample]:
        """How many of each status, and how many trades are lost."""
        for status, count in self._reported.items():
            yield sample("producer_gaps_total", count, exchange=self._exchange, status=status)
        yield sample("producer_lost_trades_total", self._lost_trades, exchange=self._exchange)


TOO_LARGE = "Kafka does not take a record of this size"


def tell_refused(publisher: Publisher, trades: Sequence[Trade]) -> None:
    """Publish what Kafka has refused, one record's trades, as lost: one gap for each run of ids."""
    first = 0
    for number, trade in enumerate(trades):
        after = trades[number + 1] if number + 1 < len(trades) else None
        if after is None or (after.exchange, after.symbol, after.trade_id - 1) != (
            trade.exchange,
            trade.symbol,
            trade.trade_id,
        ):
            hole = Hole(trade.symbol, trades[first].trade_id, trade.trade_id)
            Gaps(trade.exchange, publisher).tell(hole, "lost", TOO_LARGE)
            first = number + 1
