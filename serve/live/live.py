"""What runs now: the bars that the table does not have yet, of every symbol and width that is asked for.

Finished seconds are the table's, open ones are made of the trades in Redis; both are taken in one moment, so that no
second is missing between them and none counts twice. Where Redis is away, or its record of a symbol does not reach back
to what the table has, nothing runs: what is told is exact or absent.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from market.bar import WIDTH_MS, Bar, rolled_up
from serve.bars import Bars
from serve.hub import heard
from serve.live.promised import Promised
from serve.live.records import Key, Records
from serve.live.trades import OpenTrades
from serve.news import News, NewTrades
from serve.prices import Prices, PricesAway
from serve.running import Running, floored, spans
from serve.tasks import Works

log = logging.getLogger(__name__)

_HEADS_KEPT = 10
"""Commits for which the finished part of an interval is kept that nobody asks for."""
_WATCH_S = 0.2
"""How often Redis is asked what producers promise, and whether it is there."""


def now_ms() -> int:
    """The clock, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


async def between(bars: Bars, key: Key, start_ms: int, end_ms: int) -> list[Bar]:
    """Finished bars of a time between two full seconds, oldest first: hours, minutes and seconds, each trade in one."""
    found: list[Bar] = []
    for span in spans(start_ms, end_ms):
        last_ms = span.end_ms - span.width_ms
        found += await bars.read(*key, span.width_ms, start_ms=span.start_ms, end_ms=last_ms, limit=span.intervals)
    return found


class _Made(NamedTuple):
    """What was made of the open trades in one state."""

    state: object
    bars: list[Bar]
    end_ms: int
    """Of the newest second with a trade; 0 where there is none."""


class _Head(NamedTuple):
    """What is finished of an interval that is not."""

    edition: tuple[int, int]
    start_ms: int
    end_ms: int
    """It is of all seconds until here."""
    bars: list[Bar]
    generation: int
    """When it was asked for last."""


class Live:
    """Follows trades and commits for whoever asks what runs."""

    def __init__(
        self,
        bars: Bars,
        prices: Prices,
        news: News,
        topic: str,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """`topic`: of the trades."""
        self.now_ms = clock
        self.closed_ms = 0
        """Every second that ends until here is finished: the table has it, or nobody traded in it."""
        self.generation = 0
        """Grows with each commit: what was read from the table before it may not be all of it."""
        self._bars, self._prices, self._news, self._topic = bars, prices, news, topic
        self._promised = Promised()
        self.records = Records(prices)
        self._newest: dict[Key, tuple[object, Bar]] = {}
        self._heads: dict[tuple[Key, int, int], _Head] = {}
        self._made: dict[tuple[Key, int, int], _Made] = {}
        self._amended: Counter[Key] = Counter()
        self._tables = 0
        self._is_hearing = self._is_redis_there = False
        self._moved = asyncio.Event()

    @asynccontextmanager
    async def running_on(self, works: Works) -> AsyncIterator[None]:
        """Follow both until the block is left."""
        own = {"what runs: trades": self._hear_trades, "what runs: commits": self._hear_commits}
        async with works.going_on({**own, "what runs: Redis": self._watch}):
            yield

    def promised_ms(self, exchange: str) -> int:
        """Every trade of an exchange that was before this time is known: its producers have promised so. 0: nothing.

        So a symbol of which none is known since its last one was not traded until then. What a feed that is silent
        would have told is not promised.
        """
        return self._promised.until_ms(exchange)

    def known_ms(self, key: Key) -> int:
        """Every trade of a symbol that was before this time is known, as far as its promises and the table tell."""
        newest_ms = self._bars.newest_ms(*key)
        return max(self.promised_ms(key[0]), 0 if newest_ms is None else newest_ms + WIDTH_MS)

    def edition(self, key: Key) -> tuple[int, int]:
        """Changes when a bar of a symbol that was finished is no longer what it was."""
        return self._tables, self._amended[key]

    async def moved(self, generation: int) -> int:
        """The generation, as soon as it is no longer this one."""
        while self.generation == generation:
            await self._moved.wait()
        return self.generation

    async def running(self, exchange: str, symbol: str, width_ms: int, phase_ms: int = 0) -> Running:
        """How the bars of a symbol go on at a width. Raises `BarsAway`."""
        key = exchange, symbol
        trades = await self._open_trades(key)
        newest = await self._newest_of(key)
        closed_ms, generation = self.closed_ms, self.generation  # of one moment with the trades
        known_ms = max(self.promised_ms(exchange), newest.timestamp + WIDTH_MS if newest else 0)
        unknown = Running([], closed_ms, min(known_ms, floored(closed_ms, width_ms, phase_ms)))
        if trades is None or not self.records.has(key, trades):
            return unknown
        known_from_ms = trades.known_from_ms
        if known_from_ms is None or (newest is not None and not trades.reaches(newest)):
            return unknown
        if newest is not None and trades.is_ahead_of(newest):
            return unknown._replace(until_ms=newest.timestamp + WIDTH_MS)
        place, state = (key, width_ms, phase_ms), (trades, trades.version, generation, newest is None)
        made = self._made.get(place)
        if made is None or made.state != state:
            bars = trades.bars(width_ms)
            if newest is None:  # what is told are intervals that begin when every trade was known already
                begin_ms = -floored(-known_from_ms, width_ms, -phase_ms)
                bars = [bar for bar in bars if bar.timestamp >= begin_ms]
            end_ms = trades.end_ms if bars else 0
            if width_ms > WIDTH_MS:  # seconds are what they are: there may be thousands
                head = await self._head(key, width_ms, phase_ms, closed_ms, generation) if newest else []
                bars = rolled_up([*head, *bars], width_ms, phase_ms)
            made = self._made[place] = _Made(state, bars, end_ms)
        until_ms = max(min(known_ms, closed_ms), self._promised.redis_until_ms(exchange), made.end_ms)
        return Running(made.bars, closed_ms, until_ms)

    async def _head(self, key: Key, width_ms: int, phase_ms: int, closed_ms: int, generation: int) -> list[Bar]:
        """What is finished of the interval that is not, as one bar or none: what a commit adds is added to it."""
        place, edition = (key, width_ms, phase_ms), self.edition(key)
        start_ms = floored(closed_ms, width_ms, phase_ms)
        kept = self._heads.get(place)
        if kept is None or (kept.edition, kept.start_ms) != (edition, start_ms) or kept.end_ms > closed_ms:
            kept = _Head(edition, start_ms, start_ms, [], generation)
        found = await between(self._bars, key, kept.end_ms, closed_ms)
        head = _Head(edition, start_ms, closed_ms, rolled_up([*kept.bars, *found], width_ms, phase_ms), generation)
        if generation == self.generation:
            self._heads[place] = head
        return head.bars

    async def _newest_of(self, key: Key) -> Bar | None:
        """The last finished bar of a symbol."""
        newest_ms = self._bars.newest_ms(*key)
        if newest_ms is None and not self._bars.may_have(*key):
            return None
        last_ms = self.closed_ms - WIDTH_MS  # the table may be ahead of what was heard of it
        state = newest_ms if newest_ms is None else min(newest_ms, last_ms), self.edition(key)
        kept = self._newest.get(key)
        if kept is None or kept[0] != state:
            is_heard = newest_ms is not None and newest_ms <= last_ms
            start_ms, end_ms = (newest_ms, newest_ms) if is_heard else (None, last_ms)
            found = await self._bars.read(*key, WIDTH_MS, start_ms=start_ms, end_ms=end_ms, limit=1)
            if not found:
                return None
            kept = self._newest[key] = state, found[0]
        return kept[1]

    async def _open_trades(self, key: Key) -> OpenTrades | None:
        """The trades of a symbol that the table does not have; None where they cannot be known now."""
        if not (self._is_hearing and self._is_redis_there):
            return None
        return await self.records.of(key, await self._newest_of(key))

    async def _hear_trades(self) -> None:
        async def hear(items: AsyncIterator[NewTrades]) -> None:
            self._begin_trades()
            if self._news.told:  # what was told until there is not heard, but read
                self._promised.hear(self._news.told)
            self._is_hearing = True
            try:
                async for new in items:
                    if not new.trades:
                        self._begin_trades()
                    self.records.add(new.trades)
                    self._promised.hear(new.place)
            finally:  # however it ends: what is not followed is not told as what runs
                self._is_hearing = False
                self._begin_trades()

        await heard(self._news.hub, hear, "trades")

    def _begin_trades(self) -> None:
        """Something may be missing."""
        self.records.clear()
        self._promised.begin()

    async def _hear_commits(self) -> None:
        async def hear(items: AsyncIterator[Sequence[Bar]]) -> None:
            self._begin_table()
            async for bars in items:
                if bars:
                    self._commit(bars)
                else:
                    self._begin_table()

        await heard(self._bars.hub, hear, "commits")

    def _begin_table(self) -> None:
        """The table is another one than before, or it is not known what it was told last."""
        self.closed_ms = self._bars.end_ms() or 0
        self._tables += 1
        self.records.clear(self.closed_ms)
        self._newest.clear()
        self._move()

    def _commit(self, bars: Sequence[Bar]) -> None:
        """Seconds close for all symbols together: the watermark is one."""
        for bar in bars:
            if bar.revision or bar.timestamp < self.closed_ms:
                self._amended[bar.exchange, bar.symbol] += 1
        self.closed_ms = max(self.closed_ms, max(bar.timestamp for bar in bars) + WIDTH_MS)
        self.records.close(self.closed_ms)
        self._move()

    def _move(self) -> None:
        self.generation += 1
        self._made.clear()
        asked_ago = self.generation - _HEADS_KEPT  # what was asked for once is not kept for ever
        self._heads = {place: head for place, head in self._heads.items() if head.generation > asked_ago}
        self._moved.set()
        self._moved = asyncio.Event()

    async def _watch(self) -> None:
        """Ask Redis again and again, so that no request has to wait for one that is away."""
        while True:
            await self._look()
            await asyncio.sleep(_WATCH_S)

    async def _look(self) -> None:
        try:
            told = await self._prices.heartbeats(self._topic)
        except PricesAway as error:
            if self._is_redis_there:
                log.warning("no running bars until Redis is back: %s", error)
            self._is_redis_there = False
            self._promised.lose()  # not the records: who follows the trades tells whether some may be missing
        else:
            self._is_redis_there = True
            self._promised.tell(told)
