"""A hub: one stream of items to many listeners, each with a bounded queue of its own.

Nobody waits for a slow listener, and none loses an item without a word: one whose queue is full is cut off, and told so
when it asks for the next item. It may listen again, and read anew what it has missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")

BEHIND = 10_000
"""Items that a part of the service may be behind. They are writes and commits: minutes of either."""


class TooSlow(RuntimeError):  # noqa: N818  # told to a listener, who may begin again
    """A listener was cut off, because it did not keep up: what it has not taken is gone."""


class Hub(Generic[T]):
    """Items from one publisher, for whoever listens. All of it on one event loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener[T]] = set()
        self._closed = False
        self.cut = 0
        """Listeners that were cut off, ever."""

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    def listen(self, size: int = 1_000) -> Listener[T]:
        """A listener of what is published from when it is entered, for at most `size` items behind.

        async with hub.listen() as listener:
            async for item in listener: …
        """
        return Listener(self, size)

    def publish(self, item: T) -> None:
        """Hands an item to every listener."""
        for listener in tuple(self._listeners):
            if not listener.offer(item):
                self.cut += 1
                self._listeners.discard(listener)

    def close(self) -> None:
        """Ends the listeners, once each has taken what it has."""
        self._closed = True
        for listener in self._listeners:
            listener.end()
        self._listeners.clear()

    def enter(self, listener: Listener[T]) -> None:
        """Adds a listener; one that comes after the end has its end at once."""
        if self._closed:
            listener.end()
        else:
            self._listeners.add(listener)

    def leave(self, listener: Listener[T]) -> None:
        """Takes a listener away."""
        self._listeners.discard(listener)


class Listener(Generic[T]):
    """What one listener has before it. Iterating raises `TooSlow` where it was cut off, and ends with the hub."""

    def __init__(self, hub: Hub[T], size: int) -> None:
        self._hub = hub
        self._size = size
        self._items: deque[T] = deque()
        self._came = asyncio.Event()
        self._is_cut = self._is_ended = False

    async def __aenter__(self) -> Listener[T]:
        self._hub.enter(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.leave(self)

    def __aiter__(self) -> Listener[T]:
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._is_cut:
                raise TooSlow(f"more than {self._size} items behind")
            if self._is_ended:
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        return self._items.popleft()

    @property
    def waiting(self) -> int:
        """How many items wait to be taken."""
        return len(self._items)

    def offer(self, item: T) -> bool:
        """Whether there was room. If not, nothing of what waits is given out any more."""
        if len(self._items) >= self._size:
            self._items.clear()
            self._is_cut = True
        else:
            self._items.append(item)
        self._came.set()
        return not self._is_cut

    def end(self) -> None:
        """Nothing more comes."""
        self._is_ended = True
        self._came.set()


async def heard(hub: Hub[T], hear: Callable[[AsyncIterator[T]], Awaitable[None]], what: str) -> None:
    """Listen until the hub ends, beginning anew where too much came at once."""
    while True:
        async with hub.listen(BEHIND) as listener:
            try:
                await hear(listener)
                return
            except TooSlow as error:
                log.warning("%s came faster than they were taken (%s); reading anew", what, error)
