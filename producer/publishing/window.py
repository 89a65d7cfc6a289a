"""The window: records handed to kafka-python that it has not acknowledged yet, in the order of sending.

Nothing is told per record: a future that is done is found when one looks at the window's head. So a record costs no
lock and no call of ours on kafka-python's thread, and all that is here belongs to the event loop.
"""

from __future__ import annotations

import logging
from collections import Counter, deque

from kafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from kafka.future import Future
from kafka.structs import TopicPartition

from producer.publishing.backlog import Backlog
from producer.publishing.record import Record

log = logging.getLogger(__name__)

TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

UNREADABLE = Record("", None, None, b"", 0)
"""In the place of a record that the backlog has not given back."""

_UNSENT = Future().success(None)


class Window:
    """Futures and their records. The head leaves when Kafka has it; one that failed stays.

    Records that were read from the backlog lie at the head, and are there too until they are acknowledged.
    """

    def __init__(self, backlog: Backlog) -> None:
        self.published = 0
        """Trades that Kafka has acknowledged."""
        self.refused = 0
        """Trades in records that Kafka does not take for their size."""
        self.trades = 0
        """Trades in the window that are not in the backlog."""
        self.bytes = 0
        self.dropped: deque[Record] = deque()
        """Records that Kafka does not take, and of which nobody has been told yet."""
        self.written: Counter[TopicPartition] = Counter()
        """Acknowledged records by partition."""
        self._backlog = backlog
        self._of_backlog = 0
        self._entries: deque[tuple[Future, Record]] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def outstanding(self) -> int:
        """Records in the window that are not in the backlog."""
        return len(self._entries) - self._of_backlog

    @property
    def head(self) -> Future:
        """What the whole window waits for."""
        return self._entries[0][0]

    def append(self, future: Future | None, record: Record, *, of_backlog: bool) -> None:
        """Take in a record that was sent; without a future, one that is not sent and only keeps its place."""
        self._entries.append((future or _UNSENT, record))
        self.bytes += len(record.value)
        if of_backlog:
            self._of_backlog += 1
        else:
            self.trades += record.trades

    def reap(self) -> bool:
        """Take out what is acknowledged, from the head; whether there was anything."""
        of_backlog = self._of_backlog
        records, trades = self._take(of_backlog) if of_backlog else (0, 0)
        if records:
            self._of_backlog -= records
            self._backlog.acknowledge(records, trades)
        if self._of_backlog:
            return records > 0
        more, trades = self._take(len(self._entries))
        self.trades -= trades
        return records + more > 0

    def give_up(self) -> list[Record]:
        """Put everything into the backlog; what Kafka has found too large of it."""
        too_large = []
        for position, (future, record) in enumerate(self._entries):
            if future.is_done and isinstance(future.exception, TOO_LARGE):
                too_large.append(record)
            if position >= self._of_backlog:
                self._backlog.append(record)
        self._entries.clear()
        self._of_backlog = self.trades = self.bytes = 0
        return too_large

    def _take(self, most: int) -> tuple[int, int]:
        entries = self._entries
        records = trades = 0
        while records < most:
            future, record = entries[0]
            if not future.is_done or future.exception is not None:
                break
            entries.popleft()
            records += 1
            trades += record.trades
            self.bytes -= len(record.value)
            if future is not _UNSENT:
                self.published += record.trades
                self.written[future.value.topic_partition] += 1
            elif record is not UNREADABLE:
                self._refuse(record)
        return records, trades

    def _refuse(self, record: Record) -> None:
        self.refused += record.trades
        self.dropped.append(record)
        log.error(
            "Kafka does not take a record of %d bytes (key %s, %d trades): it is dropped; a larger max.message.bytes "
            "of topic %s, or a smaller BATCH_SIZE, would let such a record pass",
            len(record.value),
            "none" if record.key is None else record.key.decode(),
            record.trades,
            record.topic,
        )
