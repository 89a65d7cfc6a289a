"""The one stream of a page, as Server-Sent Events: bars of what it shows, prices of all symbols, and how the parts are.

    event: symbols   [[exchange, symbol], …]: all there are, whenever there are others
    event: prices    those that have changed since this page was told them
    event: state     every second: the time, Redis, the table, trades per second
    event: bars      final, running and amended bars; its id is the position from which the stream can be resumed

Nothing queues for a page: it is asked several times a second what has changed for it, and a page that is slow is asked
less often. What is told of bars is complete all the same (`series.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from market.latest import Price
from market.widths import WIDTHS
from serve.live.live import Live
from serve.own.formats import printed
from serve.page.journal import Key
from serve.page.series import News, Position, Series
from serve.page.watch import Watch
from serve.problems import BarsAway
from serve.tasks import in_turns

log = logging.getLogger(__name__)

TICK_S = 0.25
STATE_S = 1.0
RETRY_MS = 1_000
"""How long a browser waits before it comes back by itself."""
MOST_PAGES = 500


class Asked(NamedTuple):
    """What a page shows."""

    key: Key | None
    """Its exchange and symbol; None where it has not chosen yet."""
    interval: str
    position: Position | None
    """Up to where it was told before."""


class Told:
    """What one page knows already."""

    def __init__(self) -> None:
        self.symbols: list[Key] | None = None
        self.prices: Mapping[Key, Price] = {}
        self.state_s = float("-inf")
        """When it was told last how the parts are."""
        self.parts: Any = None


class Pages:
    """Every open page."""

    def __init__(self, watch: Watch, live: Live, stale_after_ms: int) -> None:
        self.watch, self._live, self._stale_after_ms = watch, live, stale_after_ms
        self.open = 0
        """How many there are."""
        self._ended = asyncio.Event()

    def end(self) -> None:
        """End all streams: the service ends. Their pages come back by themselves."""
        self._ended.set()

    async def told(self, asked: Asked) -> AsyncIterator[bytes]:
        """What a page is told, until it goes away."""
        watch, told = self.watch, Told()
        series = None
        self.open += 1
        try:
            with watch.looked_at():
                yield f"retry: {RETRY_MS}\n\n".encode()
                while not self._ended.is_set():
                    if series is None and asked.key and watch.knows(asked.key):
                        width_ms = WIDTHS[asked.interval]
                        series = Series(watch.bars, self._live, watch.journal, asked.key, width_ms, asked.position)
                    events = self._of_all(told, asked.key)
                    if asked.key and series:
                        events += await self._of_bars(series, asked.key, asked.interval)
                    if events:
                        yield b"".join(events)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(TICK_S):
                            await self._ended.wait()
        finally:
            self.open -= 1

    def _of_all(self, told: Told, key: Key | None) -> list[bytes]:
        """What every page is told, as far as this one does not know it yet."""
        watch, events = self.watch, list[bytes]()
        if watch.latest is not told.prices:
            changed = [price for name, price in watch.latest.items() if told.prices.get(name) != price]
            told.prices = watch.latest
            if changed:
                events.append(event("prices", msgspec.json.encode([price._asdict() for price in changed])))
        now_s, parts = asyncio.get_running_loop().time(), (watch.redis_problem, watch.table_problem)
        if now_s - told.state_s >= STATE_S or parts != told.parts:
            told.state_s, told.parts = now_s, parts
            symbols = watch.symbols()
            if symbols != told.symbols:
                told.symbols = symbols
                events.append(event("symbols", msgspec.json.encode(symbols)))
            events.append(event("state", msgspec.json.encode(self._state(key))))
        return events

    def _state(self, key: Key | None) -> dict[str, Any]:
        """How the parts are. What that means, the page says in words."""
        watch = self.watch
        now_ms = watch.now_ms()
        return {
            "now": now_ms,
            "stale_after": self._stale_after_ms,
            "redis": {"problem": watch.redis_problem},
            "table": {"problem": watch.table_problem, "end": watch.bars.end_ms()},
            "rate": watch.rates.per_s(now_ms),
            "rate_here": watch.rates.per_s(now_ms, key) if key else None,
        }

    async def _of_bars(self, series: Series, key: Key, interval: str) -> list[bytes]:
        """What has changed of the bars that a page shows. Nothing while the table is away: `state` says that."""
        try:
            news = await series.news()
        except BarsAway as error:
            log.debug("a page is told of bars later: %s", error)
            return []
        return [event("bars", await _text(news, key, interval), str(news.position))] if news else []


def event(name: str, data: bytes, position: str = "") -> bytes:
    """An event. The data, JSON, has no line breaks."""
    head = f"event: {name}\nid: {position}\n" if position else f"event: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


async def _text(news: News, key: Key, interval: str) -> bytes:
    exchange, symbol = key
    about = {
        "exchange": exchange,
        "symbol": symbol,
        "interval": interval,
        "position": str(news.position),
        "end": news.end_ms,
        "runs": news.runs,
        "begins": news.begins,
        "reread": news.reread,
        "bars": msgspec.Raw(b"[" + b",".join(await _rows(news)) + b"]"),
    }
    return msgspec.json.encode(about)


async def _rows(news: News) -> list[bytes]:
    """Each bar as `/bars` has it, and whether it is final."""
    bars = [(bar, b',"final":true}') for bar in news.final] + [(bar, b',"final":false}') for bar in news.running]
    rows: list[bytes] = []
    async for some in in_turns(bars):
        rows += [printed(bar) + ending for bar, ending in some]
    return rows
