"""The files of the spill: each a stretch of the queue, written at its end, read from its start, removed as a whole."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from producer.publishing.record import MAGIC, Record, packed, scan
from producer.publishing.slots import SUFFIX, set_aside, sync_folder

log = logging.getLogger(__name__)

SEGMENT_BYTES = 4 * 2**20


class Segment:
    """One file: how much of it is durable, read and acknowledged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.began_s = time.time()
        self.size = 0
        """Durable bytes."""
        self.records = 0
        self.trades = 0
        self.acknowledged = 0
        self.lost_records = 0
        """Records that could not be read, in the worst pass so far."""
        self.lost_trades = 0
        self.rewind()

    def rewind(self) -> None:
        """Read again from the start."""
        self.position = 0
        """How far it was read, in bytes."""
        self.read_records = 0
        self.read_trades = 0
        self.missed_records = 0
        """Records that could not be read in this pass."""
        self.missed_trades = 0

    def write(self, records: Sequence[Record]) -> int:
        """Add records behind the durable bytes, and make them durable; how many bytes. Raises `OSError`.

        After an error the bytes behind the durable ones are not to be relied on: use another file, or this one anew.
        """
        data = b"".join(map(packed, records))
        data = data if self.size else MAGIC + data
        fresh = 0 if self.size else os.O_TRUNC
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | fresh, 0o644)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(file, memoryview(data)[written:], self.size + written)
            os.fsync(file)
        except OSError:
            os.ftruncate(file, self.size)
            raise
        finally:
            os.close(file)
        if fresh:
            sync_folder(self.path.parent)
        return len(data)

    def read(self, end: int) -> tuple[list[Record], bool]:
        """The records up to a durable position, and whether all of them are good. Raises `OSError`.

        The bytes behind the last good one are set aside, when they are met for the first time.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.position)
                data = file.read(end - self.position)
        except FileNotFoundError:
            return [], False
        short = len(data) < end - self.position
        if self.position:
            data = MAGIC + data  # as every file begins
        found = scan(data)
        whole = not found.fault and not short
        if not whole and not self.lost_records:
            set_aside(self.path, data[found.end :])
        return found.records, whole


class Segments:
    """The queue of files. Everything here but `Segment.write` and `Segment.read` belongs to the event loop."""

    def __init__(self, folder: Path) -> None:
        self.size = 0
        self.records = 0
        """Not acknowledged."""
        self.trades = 0
        self.lost_trades = 0
        self._folder = folder
        self._next = max((int(path.stem) for path in folder.glob(f"*{SUFFIX}")), default=0) + 1
        self._queue: deque[Segment] = deque()
        self._emptied: list[Segment] = []  # files that could not be removed yet

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._queue)

    def tail(self) -> Segment:
        """The file to write to."""
        if not self._queue or self._queue[-1].size >= SEGMENT_BYTES:
            self._begin()
        return self._queue[-1]

    def leave(self, segment: Segment) -> None:
        """A write has failed: what an fsync has failed on is not to be written to again."""
        if segment.size:
            self._begin()

    def _begin(self) -> None:
        self._queue.append(Segment(self._folder / f"{self._next:08}{SUFFIX}"))
        self._next += 1

    def wrote(self, segment: Segment, size: int, records: Sequence[Record]) -> None:
        """Records are durable."""
        trades = sum(record.trades for record in records)
        segment.size += size
        segment.records += len(records)
        segment.trades += trades
        self.size += size
        self.records += len(records)
        self.trades += trades

    def was_read(self, segment: Segment, end: int, upto: tuple[int, int], found: tuple[int, int]) -> int:
        """A file was read to a position: of `upto` records and trades as many were found. How many records were not."""
        missed, missed_trades = (
            upto[0] - segment.read_records - found[0],
            upto[1] - segment.read_trades - found[1],
        )
        segment.position, (segment.read_records, segment.read_trades) = end, upto
        segment.missed_records += missed
        segment.missed_trades += missed_trades
        if segment.missed_records > segment.lost_records:
            log.error(
                "%s is damaged: %d records with %d trades cannot be read and are set aside; the trades have to be had "
                "from the exchange again",
                segment.path,
                segment.missed_records,
                segment.missed_trades,
            )
            newly = segment.missed_trades - segment.lost_trades
            self.trades -= newly
            self.lost_trades += newly
            segment.lost_records, segment.lost_trades = segment.missed_records, segment.missed_trades
        return missed

    def acknowledge(self, records: int, trades: int) -> None:
        """The first records, as many, need not be kept."""
        self.records -= records
        self.trades -= trades
        for segment in self._queue:
            step = min(records, segment.records - segment.acknowledged)
            segment.acknowledged += step
            records -= step
            if not records:
                return

    def sweep(self, writing: Segment | None) -> None:
        """Remove the files of which everything is acknowledged, but the one that is being written.

        One that cannot be removed counts on for the size, and is tried again at the next call.
        """
        self._emptied = [segment for segment in self._emptied if self._removed(segment) is not None]
        while self._queue and self._queue[0] is not writing and self._queue[0].acknowledged == self._queue[0].records:
            segment = self._queue.popleft()
            if error := self._removed(segment):
                self._emptied.append(segment)
                log.error(
                    "%s cannot be removed (%s), though Kafka has its records: it is tried again; the next start would "
                    "publish them once more, which readers drop",
                    segment.path,
                    error,
                )

    def _removed(self, segment: Segment) -> OSError | None:
        """Remove a file; what has hindered it, if anything has."""
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            return error
        self.size -= segment.size
        return None
