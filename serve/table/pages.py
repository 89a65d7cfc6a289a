"""Pages: what was read of the past or made of it, each once for all who ask, until something in it changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import NamedTuple

import pyarrow as pa

from market.widths import DAY_MS, start_of
from serve.table.shelf import Shelf


class Page(NamedTuple):
    """Which page. Those of a day have no hour; those of all symbols have none."""

    kind: str
    day_ms: int
    hour_ms: int | None = None
    exchange: str = ""
    symbol: str = ""


class Pages:
    """The pages of one table. All of it on one event loop."""

    def __init__(self) -> None:
        self._shelf: Shelf[Page] = Shelf()
        self._under_way: dict[Page, asyncio.Task[pa.Table]] = {}
        self._touched: Counter[int] = Counter()

    @property
    def size(self) -> int:
        """Bytes of pages in memory."""
        return self._shelf.size

    def stamp(self, day_ms: int) -> int:
        """How often something of this day was touched: as long as it is the same, what was made of it is right."""
        return self._touched[day_ms]

    def at_hand(self, page: Page) -> pa.Table | None:
        """The page, if it is in memory."""
        return self._shelf.get(page)

    async def get(self, page: Page, make: Callable[[], Awaitable[pa.Table]], *, keep: bool = True) -> pa.Table:
        """The page from memory; else made, once for all who ask meanwhile, and kept."""
        found = self._shelf.get(page)
        if found is not None:
            return found
        task = self._under_way.get(page)
        if task is None:
            # The stamp is of now, as what is asked for may be: the task begins later, perhaps behind a touch.
            task = asyncio.ensure_future(self._made(page, make, keep, self.stamp(page.day_ms)))
            self._under_way[page] = task
            task.add_done_callback(partial(self._is_done, page))
        return await asyncio.shield(task)  # who asked may go away: others wait, and the next one will be glad of it

    def touch(self, touched: Iterable[tuple[str, str, int]]) -> set[int]:
        """Lets go what was made of rows of these exchanges, symbols and hours. Returns the days they are of."""
        pages = set()
        for exchange, symbol, hour_ms in touched:
            day_ms = start_of(hour_ms, DAY_MS)
            pages |= {Page("seconds", day_ms, hour_ms, exchange, symbol), Page("block", day_ms, hour_ms)}
        if not pages:
            return set()
        days = {page.day_ms for page in pages}
        self._touched.update(days)
        # Who asks from now on does not wait for what is read of the files before.
        self._under_way = {page: task for page, task in self._under_way.items() if page.day_ms not in days}
        self._shelf.forget(lambda page: page in pages or (page.day_ms in days and page.hour_ms is None))
        return days

    async def _made(self, page: Page, make: Callable[[], Awaitable[pa.Table]], keep: bool, stamp: int) -> pa.Table:
        made = await make()
        if keep and stamp == self.stamp(page.day_ms):
            self._shelf.put(page, made)
        return made

    def _is_done(self, page: Page, task: asyncio.Task[pa.Table]) -> None:
        if self._under_way.get(page) is task:
            del self._under_way[page]
        if not task.cancelled():
            task.exception()  # whoever waited has it; where nobody did any more, nobody is to be told
