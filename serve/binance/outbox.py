"""What waits to be sent to one client. A client that leaves too much of it unread is told, and cut off."""

from __future__ import annotations

import asyncio
from collections import deque

from serve.hub import TooSlow

MOST_FRAMES = 20_000
MOST_CHARACTERS = 8_000_000


class Outbox:
    """Frames for one client, in order. Putting never waits."""

    def __init__(self, *, frames: int = MOST_FRAMES, characters: int = MOST_CHARACTERS) -> None:
        self._most_frames, self._most_characters = frames, characters
        self._frames: deque[str] = deque()
        self._characters = 0
        self._cut = asyncio.Event()
        self._came = asyncio.Event()

    def put(self, frame: str) -> None:
        """Send a frame, behind those that wait. Nothing more is sent to a client that was cut off."""
        if self.is_cut:
            return
        self._frames.append(frame)
        self._characters += len(frame)
        if len(self._frames) > self._most_frames or self._characters > self._most_characters:
            self._cut.set()
            self._frames.clear()
        self._came.set()

    async def take(self) -> list[str]:
        """Everything that waits, as soon as there is something. Raises `TooSlow` where it became too much."""
        while not self._frames:
            if self.is_cut:
                raise self._too_slow()
            self._came.clear()
            await self._came.wait()
        frames = list(self._frames)
        self._frames.clear()
        self._characters = 0
        return frames

    @property
    def is_cut(self) -> bool:
        """Whether it became too much."""
        return self._cut.is_set()

    async def overflow(self) -> TooSlow:
        """Until it became too much, while sending may wait for one who reads nothing: what is then to be told."""
        await self._cut.wait()
        return self._too_slow()

    def _too_slow(self) -> TooSlow:
        return TooSlow(f"more than {self._most_frames} frames or {self._most_characters} characters unread")
