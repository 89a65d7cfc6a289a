"""Bars that follow a table, and waiting for them on an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from market.bar import Bar
from serve.bars import Bars
from tests.serve.tables import Table

WITHIN_S = 30.0


@asynccontextmanager
async def following(table: Table, *, recent: int | None = None) -> AsyncIterator[Bars]:
    """`Bars` of a table, up to date with it. `recent`: bars of a symbol in memory."""
    settings = table.settings
    bars = Bars(table.path, settings.rollups, per_symbol=settings.serve_recent if recent is None else recent)
    await bars.start()
    try:
        await caught_up(bars, table)
        yield bars
    finally:
        await bars.close()


async def caught_up(bars: Bars, table: Table) -> None:
    """Until the newest version is served, and its past was looked through."""
    version = table.version
    await until(lambda: bars.follower.state is not None and bars.follower.state.version >= version and bars.knows_all)


async def until(condition: Callable[[], Any], *, within_s: float = WITHIN_S) -> None:
    """Until the condition is true; fails when it is not in time."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def everything(bars: Bars, exchange: str, symbol: str, width_ms: int, *, limit: int, backward: bool) -> list[Bar]:
    """All bars, page by page, as a client would ask for them."""
    found: list[Bar] = []
    while True:
        if backward:
            end_ms = found[0].timestamp - 1 if found else None
            page = await bars.read(exchange, symbol, width_ms, start_ms=None, end_ms=end_ms, limit=limit)
            found = page + found
        else:
            start_ms = found[-1].timestamp + width_ms if found else 0
            page = await bars.read(exchange, symbol, width_ms, start_ms=start_ms, end_ms=None, limit=limit)
            found += page
        assert len(page) <= limit
        if len(page) < limit:
            return found
