"""What a member says of itself in the log: every ten seconds, and only if there is something to say."""

from __future__ import annotations

import logging
import time
from collections import Counter

from prices.chunks import Chunk
from prices.counts import Counts
from prices.retry import Retry

log = logging.getLogger(__name__)

REPORT_S = 10.0


class Report:
    """The account, what was no trade, and what is missing: Redis, or records."""

    def __init__(self, counts: Counts, topic: str) -> None:
        self._counts, self._topic = counts, topic
        self._rejected: Counter[str] = Counter()
        self._rejected_at = ""
        self._said = ""
        self._told_at = self._read_at = time.monotonic()
        self._is_quiet = False
        self._eviction = ""

    def read(self) -> None:
        """Records have come."""
        self._read_at = time.monotonic()

    def written(self, partition: int, chunk: Chunk) -> None:
        """A chunk is in Redis; what was no trade in it is told later, once for all of its reason."""
        self._rejected += chunk.rejected
        if chunk.rejected_at is not None:
            self._rejected_at = f"partition {partition}, offset {chunk.rejected_at}"

    def evicting(self, address: str, policy: str) -> None:
        """By which policy Redis gives up keys where its memory is full; empty: it does not."""
        was, self._eviction = self._eviction, policy
        if policy and policy != was:
            log.warning(
                "Redis at %s gives up keys when its memory is full (maxmemory-policy %s): prices and trades are then "
                "missing until their symbol trades again. To mend it: CONFIG SET maxmemory-policy noeviction",
                address,
                policy,
            )

    def tell_if_due(self, retry: Retry) -> None:
        """Every ten seconds."""
        if time.monotonic() - self._told_at >= REPORT_S:
            self._told_at = time.monotonic()
            self.tell(retry)

    def tell(self, retry: Retry) -> None:
        """What there is to say now."""
        if self._rejected:
            reasons = ", ".join(f"{reason}: {count}" for reason, count in self._rejected.most_common())
            log.warning("not valid trades (the last at %s): %s", self._rejected_at, reasons)
            self._rejected.clear()
        if retry.error:
            log.warning("prices stand still since %.0f s: %s", retry.seconds, retry.error)
        was_quiet, self._is_quiet = self._is_quiet, time.monotonic() - self._read_at >= REPORT_S
        if self._is_quiet and not was_quiet and self._counts.lag:
            log.warning("no record of %s for %.0f s: are Kafka and the producer running?", self._topic, REPORT_S)
        if (line := self._counts.line()) != self._said:
            self._said = line
            log.info("%s", line)
