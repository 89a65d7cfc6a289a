"""The spill: a queue of records on disk, for what Kafka does not take now.

Records are appended without waiting and written in groups, each made durable by one fsync, on a thread of its own.
They are read in order, and removed, file by file, when Kafka has them. What a run leaves behind, the next one finds:
`leftovers` has it in order, and it stays until the next run forgets it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from producer import ProducerError
from producer.publishing.apart import apart
from producer.publishing.record import CORRUPT, TORN, Record
from producer.publishing.segments import Segment, Segments
from producer.publishing.slots import claim, recovered

log = logging.getLogger(__name__)

GROUP_BYTES = 2**20
GROUP_S = 0.1
"""A group is written when it has so many bytes, or after so long."""
UNWRITTEN_BYTES = 16 * 2**20
"""What may wait for the disk; then the spill is full."""
_RETRY_S = 1.0
_TELL_S = 10.0


class SpillError(ProducerError):
    """The spill's folder cannot be used."""


class Leftover(NamedTuple):
    """A file that an earlier run left, in memory."""

    records: list[Record]
    mark: Path
    """What `forget` wants when they are safe."""


class Spill:
    """A backlog on disk; the event loop's alone."""

    def __init__(self, folder: Path, topic: str, *, limit_bytes: int) -> None:
        """Raises `SpillError`. No event loop is needed before the first record."""
        try:
            self._slots = claim(folder / topic)
            self._left = {path: path.stat().st_size for slot in self._slots for path in slot.files()}
            self._left_s = min((path.stat().st_mtime for path in self._left), default=0.0)
        except OSError as error:
            raise SpillError(
                f"SPILL_DIR={folder} cannot be used ({error}); name a folder that can be written, or set "
                "SPILL_LIMIT_MB=0, with which nothing is kept on disk"
            ) from error
        self.torn = 0
        """Leftover files that ended in half a record."""
        self.damaged = 0
        """Leftover files with a part that cannot be read, which is set aside."""
        self.errors = 0
        """Writes that failed; each is tried again."""
        self._limit_bytes = limit_bytes
        self._segments = Segments(self._slots[0].folder)
        self._unwritten: deque[Record] = deque()
        self._unwritten_bytes = 0
        self._unwritten_trades = 0
        self._unwritten_s = 0.0
        self._failing = False
        self._told_s = float("-inf")
        self._ready: deque[Record | None] = deque()  # read from a file, not handed out
        self._skip = 0  # records that are read again though they are acknowledged
        self._writer: asyncio.Task[None] | None = None
        self._writing: Segment | None = None
        self._idle = asyncio.Event()
        self._hurry = asyncio.Event()

    @property
    def folder(self) -> Path:
        """Where our records lie."""
        return self._slots[0].folder

    @property
    def records(self) -> int:
        """Records of this run that are not acknowledged."""
        return self._segments.records + len(self._unwritten)

    @property
    def trades(self) -> int:
        """How many trades those hold."""
        return self._segments.trades + self._unwritten_trades

    @property
    def durable_trades(self) -> int:
        """How many of them outlive us."""
        return self._segments.trades

    @property
    def lost_trades(self) -> int:
        """Trades of this run that the disk has not given back."""
        return self._segments.lost_trades

    @property
    def size(self) -> int:
        """Bytes, with what earlier runs left."""
        return self._segments.size + self._unwritten_bytes + self.leftover_bytes

    @property
    def leftover_bytes(self) -> int:
        """Bytes that earlier runs left."""
        return sum(self._left.copy().values())

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest record has been here, about."""
        oldest_s = self._left_s if self._left else next((segment.began_s for segment in self._segments), None)
        if oldest_s is None:
            oldest_s = self._unwritten_s if self._unwritten else time.time()
        return max(time.time() - oldest_s, 0.0)

    @property
    def full(self) -> bool:
        """Whether its limit is reached, or the disk does not take what it has got."""
        return self._failing or self.size >= self._limit_bytes or self._unwritten_bytes >= UNWRITTEN_BYTES

    def leftovers(self) -> Iterator[Leftover]:
        """What earlier runs left, in the order in which it came, file by file. Raises `SpillError`.

        A file is some MiB: have them made apart, by `each`, which is safe while the spill is used.
        """
        for slot in self._slots:
            files = [path for path in slot.files() if path in self._left]
            for path in files:
                try:
                    found = recovered(path, is_last=path is files[-1])
                    self._left[path] = path.stat().st_size
                except OSError as error:
                    raise SpillError(f"{path} cannot be read ({error})") from error
                self.torn += found.fault == TORN
                self.damaged += found.fault == CORRUPT
                if found.records:
                    yield Leftover(found.records, path)
                else:
                    self.forget(path)

    def forget(self, mark: Path) -> None:
        """Remove what an earlier run left: its records are safe."""
        try:
            mark.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s cannot be removed (%s): the next start publishes it again, which readers drop", mark, error)
        else:
            self._left.pop(mark, None)

    def append(self, record: Record) -> None:
        """Take a record. It is durable a moment later; `sync` waits for that."""
        if not self._unwritten:
            self._unwritten_s = time.time()
        self._unwritten.append(record)
        self._unwritten_bytes += len(record.value)
        self._unwritten_trades += record.trades
        if self._unwritten_bytes >= GROUP_BYTES:
            self._hurry.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())

    async def sync(self) -> None:
        """Wait until everything is durable. While the disk takes nothing, that does not come."""
        while self._unwritten and self._writer:
            self._hurry.set()
            await asyncio.wait([self._writer], timeout=_RETRY_S)

    def rewind(self) -> None:
        """Read again from the first record that is not acknowledged."""
        self._ready.clear()
        for segment in self._segments:
            segment.rewind()
        self._skip = next((segment.acknowledged for segment in self._segments), 0)

    async def read(self, most: int) -> list[Record | None]:
        """The next records on disk; nothing when there are none, and `rest` has all that is left."""
        while not self._ready:
            segment = next((segment for segment in self._segments if segment.position < segment.size), None)
            if segment is not None:
                await self._load(segment)
            elif self._writing is not None:
                await self._idle.wait()
            else:
                return []
        return [self._ready.popleft() for _ in range(min(most, len(self._ready)))]

    def rest(self) -> list[Record]:
        """Take out what was not written yet. Only when `read` has just come to the end."""
        records = list(self._unwritten)
        self._unwritten.clear()
        self._unwritten_bytes = self._unwritten_trades = 0
        self._failing = False
        return records

    def acknowledge(self, records: int, trades: int) -> None:
        """The first of those that were read, as many, are safe: their files go as they become empty."""
        self._segments.acknowledge(records, trades)
        self._segments.sweep(self._writing)

    def close(self) -> None:
        """Leave the folder to another run. What waits for the disk is not written any more."""
        if self._writer:
            self._writer.cancel()
        for slot in self._slots:
            slot.release()

    async def _load(self, segment: Segment) -> None:
        end, upto = segment.size, (segment.records, segment.trades)
        try:
            records, _ = await apart(partial(segment.read, end))
        except OSError as error:
            self._tell("%s cannot be read (%s); trying again", segment.path, error)
            await asyncio.sleep(_RETRY_S)
            return
        trades = sum(record.trades for record in records)
        missed = self._segments.was_read(segment, end, upto, (len(records), trades))
        self._ready.extend(records)
        self._ready.extend([None] * missed)
        for _ in range(min(self._skip, len(self._ready))):
            self._ready.popleft()
            self._skip -= 1

    async def _write(self) -> None:
        while self._unwritten:
            await self._pause(GROUP_S)
            group, size = self._group()
            if not group:  # `rest` took them
                return
            segment = self._segments.tail()
            self._writing = segment
            self._idle.clear()
            try:
                written = await apart(partial(segment.write, group))
            except OSError as error:
                self._failing = True
                self.errors += 1
                self._segments.leave(segment)
                self._tell("the spill takes nothing at %s (%s): reading waits for it", segment.path, error)
            else:
                self._failing = False
                self._segments.wrote(segment, written, group)
                for record in group:
                    self._unwritten.popleft()
                    self._unwritten_trades -= record.trades
                self._unwritten_bytes -= size
            finally:
                self._writing = None
                self._idle.set()
            self._segments.sweep(None)
            if self._failing:
                await self._pause(_RETRY_S)

    def _group(self) -> tuple[list[Record], int]:
        group: list[Record] = []
        size = 0
        for record in self._unwritten:
            group.append(record)
            size += len(record.value)
            if size >= GROUP_BYTES:
                break
        return group, size

    async def _pause(self, time_s: float) -> None:
        """Wait for more, unless there is a hurry."""
        if self._unwritten_bytes < GROUP_BYTES or self._failing:
            self._hurry.clear()
            try:
                async with asyncio.timeout(time_s):
                    await self._hurry.wait()
            except TimeoutError:
                pass

    def _tell(self, text: str, *values: object) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TELL_S:
            self._told_s = now_s
            log.error(text, *values)
