"""The frames that were read and are not mapped yet: the bounded queue between the sockets and the mapper."""

from __future__ import annotations

import asyncio
from collections import deque

Frame = str | bytes

BYTES = 32 * 2**20
"""Frames are small; this bounds what a flood of large ones takes."""


class Frames:
    """A queue that makes its writers wait when it is full: they stop reading, and TCP makes the exchange wait.

    Each frame comes with the number of the connection that brought it. For one reader.
    """

    def __init__(self, limit: int, limit_bytes: int = BYTES) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._frames: deque[tuple[int, Frame]] = deque()
        self._bytes = 0
        self._put = self._taken = 0
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self.waits = 0
        """How often a writer had to wait."""

    def __len__(self) -> int:
        """Frames that wait."""
        return len(self._frames)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._bytes

    async def put(self, connection: int, frame: Frame) -> None:
        """Add a frame, as soon as there is room. A frame larger than the bound is let in alone."""
        while len(self._frames) >= self._limit or (self._frames and self._bytes + len(frame) > self._limit_bytes):
            self.waits += 1
            self._emptied.clear()
            await self._emptied.wait()
        self._frames.append((connection, frame))
        self._bytes += len(frame)
        self._put += 1
        self._filled.set()

    async def take(self) -> tuple[int, Frame]:
        """The next frame. Whoever takes it says `done` when it is mapped and its trades are handed on."""
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        connection, frame = self._frames.popleft()
        self._bytes -= len(frame)
        self._emptied.set()
        return connection, frame

    def done(self) -> None:
        """The frame taken last has been dealt with."""
        self._taken += 1

    def put_so_far(self) -> int:
        """A mark for `dealt_with`: everything put until now."""
        return self._put

    def dealt_with(self, mark: int) -> bool:
        """Whether everything put before the mark has been dealt with."""
        return self._taken >= mark
