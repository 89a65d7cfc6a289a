"""Klines of one symbol: finished ones from the table, running ones from Redis' trades, as one line. Knows no HTTP."""

from __future__ import annotations

from math import gcd

from market.bar import Bar, rolled_up
from market.widths import WIDTHS
from serve.bars import Bars
from serve.binance.line import Line, Read
from serve.binance.query import KlinesQuery
from serve.binance.rows import Rows
from serve.live.live import Live
from serve.running import floored
from serve.tasks import in_turns

_PAGE = 1_000


async def line_of(bars: Bars, live: Live, exchange: str, symbol: str, width_ms: int, phase_ms: int = 0) -> Line:
    """A symbol's klines as they are now. Raises `BarsAway`."""
    running = await live.running(exchange, symbol, width_ms, phase_ms)
    return Line(reader(bars, exchange, symbol, width_ms, phase_ms), running, width_ms, phase_ms)


async def klines(bars: Bars, live: Live, rows: Rows, exchange: str, query: KlinesQuery, unit_us: int) -> bytes:
    """The answer to a request for klines. Raises `BarsAway`."""
    width_ms, phase_ms = query.width_ms, query.phase_ms
    edition, closed_ms = live.edition((exchange, query.symbol)), live.closed_ms
    line = await line_of(bars, live, exchange, query.symbol, width_ms, phase_ms)
    if query.start_ms is None:
        found = await line.last(query.end_ms, query.limit)
    else:
        found = await line.first(query.start_ms, query.end_ms, query.limit)
    key = exchange, query.symbol, width_ms, phase_ms, unit_us, edition
    texts: list[bytes] = []
    async for some in in_turns(found):
        is_same = edition == live.edition((exchange, query.symbol))
        texts += rows.texts(key, some, width_ms, unit_us, keep_before_ms=closed_ms if is_same else None)
    return b"[" + b",".join(texts) + b"]"


def reader(bars: Bars, exchange: str, symbol: str, width_ms: int, phase_ms: int) -> Read:
    """Reads the finished bars of a symbol. Where intervals do not begin with those of UTC, narrower ones are merged."""
    if not phase_ms:

        async def read(start_ms: int | None, end_ms: int, limit: int) -> list[Bar]:
            return await bars.read(exchange, symbol, width_ms, start_ms=start_ms, end_ms=end_ms, limit=limit)

        return read

    common_ms = gcd(width_ms, phase_ms)
    base_ms = max(width for width in WIDTHS.values() if common_ms % width == 0)

    async def forward(start_ms: int, last_ms: int, limit: int) -> list[Bar]:
        rows: list[Bar] = []
        while True:
            page = await bars.read(exchange, symbol, base_ms, start_ms=start_ms, end_ms=last_ms, limit=_PAGE)
            is_last = len(page) < _PAGE
            if not is_last:  # the last interval may go on behind the page
                start_ms = floored(page[-1].timestamp, width_ms, phase_ms)
                page = [bar for bar in page if bar.timestamp < start_ms]
            rows += rolled_up(page, width_ms, phase_ms)
            if is_last or len(rows) >= limit:
                return rows[:limit]

    async def backward(last_ms: int, limit: int) -> list[Bar]:
        rows: list[Bar] = []
        while True:
            page = await bars.read(exchange, symbol, base_ms, start_ms=None, end_ms=last_ms, limit=_PAGE)
            is_last = len(page) < _PAGE
            if not is_last:  # the first interval may begin before the page
                whole_ms = floored(page[0].timestamp, width_ms, phase_ms) + width_ms
                page, last_ms = [bar for bar in page if bar.timestamp >= whole_ms], whole_ms - base_ms
            rows = rolled_up(page, width_ms, phase_ms) + rows
            if is_last or len(rows) >= limit:
                return rows[-limit:]

    async def read_merged(start_ms: int | None, end_ms: int, limit: int) -> list[Bar]:
        last_ms = floored(end_ms, width_ms, phase_ms) + width_ms - base_ms
        if start_ms is None:
            return await backward(last_ms, limit)
        return await forward(-floored(-start_ms, width_ms, -phase_ms), last_ms, limit)

    return read_merged
