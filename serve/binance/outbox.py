"""What waits to be sent to clients. One that leaves too much of it unread is told, and cut off."""

from __future__ import annotations

import asyncio
from collections import deque

from serve.hub import TooSlow

MOST_FRAMES = 20_000
MOST_CHARACTERS = 8_000_000
"""Of one client."""
MOST_TOGETHER = 128_000_000
"""Characters of all clients together. They are ASCII, a byte each."""


class Budget:
    """What may wait for all clients together. Where it is too much, the one with most unread is cut off.

    A frame that many want is one text in memory, and counts for each of them: less memory is taken than is counted.
    """

    def __init__(self, most: int = MOST_TOGETHER) -> None:
        self._most = most
        self.waiting = 0
        """Characters."""
        self.outboxes: set[Outbox] = set()

    def keep(self) -> None:
        """Cut clients off until what waits is not too much."""
        while self.waiting > self._most:
            slowest = max(self.outboxes, key=lambda outbox: outbox.waiting)
            slowest.cut(f"{slowest.waiting} characters unread, most of all where {self._most} may be together")


class Outbox:
    """Frames for one client, in order. Putting never waits."""

    def __init__(self, budget: Budget, *, frames: int = MOST_FRAMES, characters: int = MOST_CHARACTERS) -> None:
        self._budget, self._most_frames, self._most_characters = budget, frames, characters
        budget.outboxes.add(self)
        self.waiting = 0
        """Characters."""
        self._frames: deque[str] = deque()
        self._problem = ""
        self._cut = asyncio.Event()
        self._came = asyncio.Event()

    def put(self, frame: str) -> None:
        """Send a frame, behind those that wait. Nothing more is sent to a client that was cut off."""
        if self.is_cut:
            return
        self._frames.append(frame)
        self._count(len(frame))
        self._came.set()
        if len(self._frames) > self._most_frames or self.waiting > self._most_characters:
            self.cut(f"more than {self._most_frames} frames or {self._most_characters} characters unread")
        self._budget.keep()

    async def take(self) -> str:
        """The next frame, as soon as there is one. Raises `TooSlow` for a client that was cut off."""
        while not self._frames:
            if self.is_cut:
                raise TooSlow(self._problem)
            self._came.clear()
            await self._came.wait()
        frame = self._frames.popleft()
        self._count(-len(frame))
        return frame

    def cut(self, problem: str) -> None:
        """Send nothing more to this client."""
        self._problem = problem
        self._drop()
        self._cut.set()
        self._came.set()

    def close(self) -> None:
        """The client has gone."""
        self._drop()
        self._budget.outboxes.discard(self)

    @property
    def is_cut(self) -> bool:
        """Whether it became too much."""
        return self._cut.is_set()

    async def overflow(self) -> TooSlow:
        """Until it became too much, while sending may wait for one who reads nothing: what is then to be told."""
        await self._cut.wait()
        return TooSlow(self._problem)

    def _drop(self) -> None:
        self._frames.clear()
        self._count(-self.waiting)

    def _count(self, characters: int) -> None:
        self.waiting += characters
        self._budget.waiting += characters
