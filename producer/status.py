"""What the producer says of itself: a line in the log, and its metrics."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Never, Protocol

from market.metrics import Sample, sample
from producer.ledger import Ledger
from producer.publishing.publish import Publisher
from producer.publishing.spill import Spill

log = logging.getLogger(__name__)

REPORT_S = 10.0
_SCRAPE_S = 5.0


class Exchanges(Protocol):
    """The exchanges at work."""

    @property
    def waiting(self) -> int:
        """Trades that wait for missing ones."""

    def samples(self) -> Iterator[Sample]:
        """Their metrics."""


class Status:
    """The account of a running producer."""

    def __init__(
        self, ledger: Ledger, publisher: Publisher, spill: Spill | None = None, live: Exchanges | None = None
    ) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._spill = spill
        self._live = live

    @property
    def unaccounted(self) -> int:
        """received - published - in hand - rejected - passed over - duplicates: 0, or something was lost in silence."""
        ledger, publisher = self._ledger, self._publisher
        known = (
            publisher.published + publisher.unacknowledged + publisher.refused + publisher.unreadable + self._waiting
        )
        counted = (ledger.rejected, ledger.passed_over, ledger.duplicates)
        return ledger.received.total() - known - sum(counter.total() for counter in counted)

    def line(self) -> str:
        """The account so far."""
        return self._ledger.report(self._publisher.published, self._publisher.unacknowledged)

    def last_line(self) -> str:
        """The account at the end."""
        return f"{self.line()}; {self._ledger.details()}"

    async def tell(self) -> Never:
        """Log the account now and then, for ever."""
        while True:
            await asyncio.sleep(REPORT_S)
            log.info("%s", self.line())

    def samples(self) -> Iterator[Sample]:
        """Every metric. In the event loop: the parts are its alone."""
        ledger, publisher = self._ledger, self._publisher
        for exchange, count in ledger.received.items():
            yield sample("producer_received_total", count, exchange=exchange)
        for exchange, count in ledger.duplicates.items():
            yield sample("producer_duplicates_total", count, exchange=exchange)
        for reason, count in ledger.rejected.items():
            yield sample("producer_rejected_total", count, reason=reason)
        for kind, count in ledger.passed_over.items():
            yield sample("producer_passed_over_total", count, kind=kind)
        yield sample("producer_published_total", publisher.published)
        yield sample("producer_in_hand_trades", self._waiting, where="waiting for a missing trade")
        yield sample("producer_in_hand_trades", publisher.unacknowledged - publisher.spilled, where="on its way")
        yield sample("producer_in_hand_trades", publisher.spilled, where="on disk")
        yield sample("producer_unaccounted_elements", self.unaccounted)
        yield sample("producer_records_in_flight", publisher.records_in_flight)
        yield sample("producer_kafka_sessions_total", publisher.sessions - 1)
        yield sample("producer_dropped_heartbeats_total", publisher.dropped_heartbeats)
        yield sample("producer_oversized_trades_total", publisher.refused)
        if self._spill:
            yield sample("producer_spill_bytes", self._spill.size)
            yield sample("producer_spill_trades", self._spill.trades)
            yield sample("producer_spill_age_seconds", self._spill.oldest_age_s)
            yield sample("producer_spill_unreadable_trades_total", publisher.unreadable)
            yield sample("producer_spill_write_errors_total", self._spill.errors)
        if self._live:
            yield from self._live.samples()

    def from_another_thread(self) -> Callable[[], list[Sample]]:
        """`samples`, for a thread that is not the event loop's."""
        loop = asyncio.get_running_loop()

        async def gathered() -> list[Sample]:
            return list(self.samples())

        return lambda: asyncio.run_coroutine_threadsafe(gathered(), loop).result(_SCRAPE_S)

    @property
    def _waiting(self) -> int:
        return self._live.waiting if self._live else 0
