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
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from market.bar import WIDTH_MS, Bar, rolled_up
from market.trade import Trade
from serve.bars import Bars
from serve.hub import Hub, heard
from serve.prices import Prices, PricesAway, Promises
from serve.running import OpenTrades, Running, floored, spans
from serve.tasks import Works

log = logging.getLogger(__name__)

_HELD = 10_000
"""Trades of a symbol that are asked of Redis: its last ones, as many as it keeps or this."""
_AGAIN_S = 5.0
"""After so long, a record that does not reach back to the table is read anew."""
_WATCH_S = 0.2

Key = tuple[str, str]
"""An exchange and a symbol."""


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


class _Record:
    """The open trades of one symbol, once they are read."""

    def __init__(self, closed_ms: int) -> None:
        self.trades = OpenTrades(closed_ms)
        self.lock = asyncio.Lock()
        self.read_s: float | None = None


class Live:
    """Follows trades and commits for whoever asks what runs."""

    def __init__(
        self,
        bars: Bars,
        prices: Prices,
        trades: Hub[Sequence[Trade]],
        commits: Hub[Sequence[Bar]],
        topic: str,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        """`trades`, `commits`: what `prices.follow` and `bars.follow` tell, for many. `topic`: theirs."""
        self.now_ms = clock
        self.closed_ms = 0
        """Every second that ends until here is finished: the table has it, or nobody traded in it."""
        self.generation = 0
        """Grows with each commit: what was read from the table before it may not be all of it."""
        self._bars, self._prices, self._trades, self._commits, self._topic = bars, prices, trades, commits, topic
        self._promised: dict[str, int] = {}
        self._redis_promises: Mapping[str, int] = {}
        """What Redis promises now, of the trades that it has: one that comes back as an older copy has fewer."""
        self._waiting: Promises | None = None
        self._records: dict[Key, _Record] = {}
        self._newest: dict[Key, tuple[object, Bar]] = {}
        self._heads: dict[tuple[Key, int, int], tuple[int, list[Bar]]] = {}
        self._made: dict[tuple[Key, int, int], tuple[object, list[Bar]]] = {}
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
        return self._promised.get(exchange, 0)

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
        record = await self._record(key)
        newest = await self._newest_of(key)
        closed_ms, generation = self.closed_ms, self.generation  # from here on, nothing is waited for
        known_ms = max(self.promised_ms(exchange), newest.timestamp + WIDTH_MS if newest else 0)
        unknown = Running([], closed_ms, min(known_ms, floored(closed_ms, width_ms, phase_ms)))
        if record is None or not self._is_current(key, record):
            return unknown
        seconds = record.seconds()
        if newest is None and record.known_from_ms is not None:
            begin_ms = -floored(-record.known_from_ms, width_ms, -phase_ms)
            seconds = [bar for bar in seconds if bar.timestamp >= begin_ms]
        elif newest is None or not record.reaches(newest):
            return unknown
        elif record.is_ahead_of(newest):
            return unknown._replace(until_ms=newest.timestamp + WIDTH_MS)
        until_ms = max(
            min(known_ms, closed_ms),
            self._redis_promises.get(exchange, 0),
            seconds[-1].timestamp + WIDTH_MS if seconds else 0,
        )
        state = record, record.version, generation
        made = self._made.get((key, width_ms, phase_ms))
        if made is None or made[0] != state:
            head = await self._head(key, width_ms, phase_ms, closed_ms, generation) if newest else []
            made = self._made[key, width_ms, phase_ms] = state, rolled_up([*head, *seconds], width_ms, phase_ms)
        return Running(made[1], closed_ms, until_ms)

    async def _head(self, key: Key, width_ms: int, phase_ms: int, closed_ms: int, generation: int) -> list[Bar]:
        """What is finished of the interval that is not, as one bar or none."""
        kept = self._heads.get((key, width_ms, phase_ms))
        if kept is None or kept[0] != generation:
            found = await between(self._bars, key, floored(closed_ms, width_ms, phase_ms), closed_ms)
            kept = generation, rolled_up(found, width_ms, phase_ms)
            if generation == self.generation:
                self._heads[key, width_ms, phase_ms] = kept
        return kept[1]

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

    def _is_current(self, key: Key, trades: OpenTrades) -> bool:
        record = self._records.get(key)
        return record is not None and record.trades is trades

    async def _record(self, key: Key) -> OpenTrades | None:
        """The open trades of a symbol; None where they cannot be known now."""
        if not (self._is_hearing and self._is_redis_there):
            return None
        record = self._records.get(key)
        if record and record.read_s is not None and not self._is_stale(key, record):
            return record.trades
        if record is None or record.read_s is not None:
            record = self._records[key] = _Record(self.closed_ms)  # what comes from now on is added to it
        async with record.lock:
            if record.read_s is None:
                try:
                    record.trades.begin(await self._prices.trades(*key, limit=_HELD))
                except PricesAway as error:
                    self._lose(str(error))
                    return None
                record.read_s = time.monotonic()
        return record.trades if self._records.get(key) is record else None

    def _is_stale(self, key: Key, record: _Record) -> bool:
        newest = self._newest.get(key)
        is_broken = newest is not None and not record.trades.reaches(newest[1])
        return is_broken and record.read_s is not None and time.monotonic() - record.read_s > _AGAIN_S

    async def _hear_trades(self) -> None:
        async def hear(items: AsyncIterator[Sequence[Trade]]) -> None:
            self._records.clear()
            self._is_hearing = True
            try:
                async for trades in items:
                    self._hear(trades)
            finally:  # however it ends: what is not followed is not told as what runs
                self._is_hearing = False
                self._records.clear()

        await heard(self._trades, hear, "trades")

    def _hear(self, trades: Sequence[Trade]) -> None:
        if not trades:
            self._records.clear()  # something may be missing: what is asked for is read anew
            self._redis_promises, self._waiting = {}, None
        groups: dict[Key, list[Trade]] = {}
        for trade in trades:
            groups.setdefault((trade.exchange, trade.symbol), []).append(trade)
        for key, group in groups.items():
            if key in self._records:
                self._records[key].trades.add(group)

    async def _hear_commits(self) -> None:
        async def hear(items: AsyncIterator[Sequence[Bar]]) -> None:
            self._begin_table()
            async for bars in items:
                if bars:
                    self._commit(bars)
                else:
                    self._begin_table()

        await heard(self._commits, hear, "commits")

    def _begin_table(self) -> None:
        """The table is another one than before, or it is not known what it was told last."""
        self.closed_ms = self._bars.end_ms() or 0
        self._tables += 1
        self._records.clear()
        self._newest.clear()
        self._move()

    def _commit(self, bars: Sequence[Bar]) -> None:
        """Seconds close for all symbols together: the watermark is one."""
        for bar in bars:
            if bar.revision or bar.timestamp < self.closed_ms:
                self._amended[bar.exchange, bar.symbol] += 1
        self.closed_ms = max(self.closed_ms, max(bar.timestamp for bar in bars) + WIDTH_MS)
        for record in self._records.values():
            record.trades.close(self.closed_ms)
        self._move()

    def _move(self) -> None:
        self.generation += 1
        self._heads.clear()  # what was asked for once is not kept for ever
        self._made.clear()
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
            self._lose(str(error))
            return
        self._is_redis_there = True
        # Its trades come another way, and may be behind: a promise counts when those that it is about were heard.
        followed = self._prices.followed
        for promises in (self._waiting, told):
            if promises and followed and followed >= promises.place:
                self._promise(promises.until_ms)
        self._waiting = told

    def _promise(self, until_ms: Mapping[str, int]) -> None:
        """What was promised once stays so for what the table has, whatever Redis forgets."""
        self._redis_promises = until_ms
        for exchange, time_ms in until_ms.items():
            if time_ms > self.promised_ms(exchange):
                self._promised[exchange] = time_ms

    def _lose(self, why: str) -> None:
        if self._is_redis_there:
            log.warning("no running bars until Redis is back: %s", why)
        self._is_redis_there = False
        self._redis_promises, self._waiting = {}, None
        self._records.clear()
