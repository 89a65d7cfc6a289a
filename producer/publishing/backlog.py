"""What waits for Kafka while it takes nothing: the form all backlogs have, and the one in memory."""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Protocol

from producer.publishing.record import Record


class Backlog(Protocol):
    """Records in the order in which they came. They are read, and stay until they are acknowledged."""

    @property
    def records(self) -> int:
        """How many are not acknowledged."""

    @property
    def trades(self) -> int:
        """How many trades those hold."""

    @property
    def full(self) -> bool:
        """Whether the next record should wait. One that does not is taken all the same."""

    def append(self, record: Record) -> None:
        """Take a record behind all others."""

    def rewind(self) -> None:
        """Read again from the first that is not acknowledged."""

    async def read(self, most: int) -> list[Record | None]:
        """The next records, None for one that cannot be read any more; nothing when `rest` has all that is left."""

    def rest(self) -> list[Record]:
        """Take out what was not read: it is the caller's alone."""

    def acknowledge(self, records: int, trades: int) -> None:
        """The first of those that were read, as many, are safe."""


class Memory:
    """The records in memory. It is full at once: it holds what was already taken, and asks for no more."""

    full = True

    def __init__(self) -> None:
        self.trades = 0
        self._records: deque[Record] = deque()
        self._read = 0

    @property
    def records(self) -> int:
        return len(self._records)

    def append(self, record: Record) -> None:
        self._records.append(record)
        self.trades += record.trades

    def rewind(self) -> None:
        self._read = 0

    async def read(self, most: int) -> list[Record | None]:
        records: list[Record | None] = list(islice(self._records, self._read, self._read + most))
        self._read += len(records)
        return records

    def rest(self) -> list[Record]:
        return []

    def acknowledge(self, records: int, trades: int) -> None:
        for _ in range(records):
            self._records.popleft()
        self._read -= records
        self.trades -= trades
