"""How tasks last, how they let others have their turn, and how they end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

log = logging.getLogger(__name__)

AGAIN_S = 1.0
RECENT_S = 10.0
"""For so long after a failure `/readyz` tells of it."""

AT_ONCE = 250
"""Rows that are worked at before others have their turn."""

T = TypeVar("T")
Work = Callable[[], Awaitable[None]]


class Works:
    """What goes on for as long as the service runs, by name. What fails is a defect: it is told, and begun anew."""

    def __init__(self, again_s: float = AGAIN_S, recent_s: float = RECENT_S) -> None:
        self._again_s, self._recent_s = again_s, recent_s
        self.failures: Counter[str] = Counter()
        """How often each has failed, ever; 0 of those that have not."""
        self._failed_s: dict[str, float] = {}

    @asynccontextmanager
    async def going_on(self, works: Mapping[str, Work]) -> AsyncIterator[None]:
        """Until the block is left. A work that is begun anew has to know by itself what it may have missed."""
        self.failures.update(dict.fromkeys(works, 0))
        tasks = [asyncio.create_task(self._for_ever(name, work)) for name, work in works.items()]
        try:
            yield
        finally:
            await end(tasks)

    @property
    def problem(self) -> str:
        """Which have failed lately; empty where none has."""
        now_s = time.monotonic()
        failed = [name for name, failed_s in self._failed_s.items() if now_s - failed_s < self._recent_s]
        return f"failed within the last {self._recent_s:g} s: {', '.join(failed)}; the log says why" if failed else ""

    async def _for_ever(self, name: str, work: Work) -> None:
        while True:
            try:
                await work()
            except Exception:
                log.exception("a part of the service has failed and is begun anew: %s", name)
                self.failures[name] += 1
                self._failed_s[name] = time.monotonic()
            await asyncio.sleep(self._again_s)


async def in_turns(rows: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Some rows at a time: others have their turn meanwhile."""
    for at in range(0, len(rows), AT_ONCE):
        if at:
            await asyncio.sleep(0)
        yield rows[at : at + AT_ONCE]


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended. Raises what one of them has failed with.

    Cancels again, for a library may take a cancellation for a failure of its own, and a task that tries again what has
    failed would then go on for ever: so did one that asks Redis, now and then.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.result()
