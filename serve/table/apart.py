"""Work that blocks, done by a few threads: what waits for them is bounded, and more is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serve.problems import BarsAway

T = TypeVar("T")

THREADS = 2
WAITING = 64
"""Pieces of work that are done or wait."""


class Apart:
    """The threads."""

    def __init__(self, name: str, *, threads: int = THREADS, waiting: int = WAITING) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._room = waiting
        self.waiting = 0
        """Pieces of work that are done or wait, now."""
        self.done = 0
        """And those that were done, ever."""
        self.is_closed = False

    async def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns. Raises `BarsAway` where too much waits, or nothing is done any more."""
        if self.is_closed:
            raise BarsAway("the table was left meanwhile")
        if self.waiting >= self._room:
            raise BarsAway("more of the past is asked for at once than can be read")
        self.waiting += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(self._is_done)
        return await future

    def close(self) -> None:
        """Ends the threads, when they have done what they are doing."""
        self.is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _is_done(self, _: object) -> None:
        self.waiting -= 1
        self.done += 1
