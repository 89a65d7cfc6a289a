"""The gap records of one exchange, published and counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

from market.gap import STATUSES, Gap
from producer.completeness.sequence import Hole
from producer.metrics import Sample, sample
from producer.publishing.publish import Publisher

log = logging.getLogger(__name__)


class Gaps:
    """Publishes the gaps of an exchange."""

    def __init__(self, exchange: str, publisher: Publisher) -> None:
        self._exchange = exchange
        self._publisher = publisher
        self._reported = dict.fromkeys(STATUSES, 0)
        self._lost_trades = 0

    def report(self, gap: Gap) -> None:
        """Publish a gap."""
        self._reported[gap.status] += 1
        if gap.status == "lost":
            self._lost_trades += gap.last_trade_id - gap.first_trade_id + 1
        self._publisher.gap(gap)

    def tell(self, hole: Hole, status: str, cause: str) -> None:
        """Publish a hole as a gap, and log it."""
        symbol, first, last, after_ms, before_ms, _ = hole
        log.info("%s %s: ids %d to %d %s: %s", self._exchange, symbol, first, last, status, cause)
        now_ms = time.time_ns() // 1_000_000
        self.report(Gap(self._exchange, symbol, first, last, status, cause, now_ms, after_ms, before_ms))

    def samples(self) -> Iterator[Sample]:
        """How many of each status, and how many trades are lost."""
        for status, count in self._reported.items():
            yield sample("producer_gaps_total", count, exchange=self._exchange, status=status)
        yield sample("producer_lost_trades_total", self._lost_trades, exchange=self._exchange)
