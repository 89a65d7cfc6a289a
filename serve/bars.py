"""Finished bars of any width: the newest from memory, older ones from the table's files. Knows no HTTP.

    bars = Bars(settings.tables / "bars_1s", cache, per_symbol=3_600)
    await bars.start()
    await bars.read("binance", "BTCUSDT", 60_000, start_ms=None, end_ms=None, limit=500)

A bar counts in its current revision. Of an interval that is not over there is no bar, nor of one without a trade.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from market.bar import Bar, rolled_up
from market.settings import Settings
from market.trade import EXCHANGES
from market.widths import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, next_start, start_of
from serve.hub import Hub, TooSlow
from serve.problems import BarsAway
from serve.table import rows
from serve.table.apart import Apart
from serve.table.follower import TROUBLE, Follower, State

__all__ = ["Bars", "BarsAway", "rank"]

READ_S = 10.0
"""How long an answer may take."""
_TRIES = 3
"""Reading again because files went, or the table did, meanwhile."""


def rank(exchange: str) -> int:
    """The place of an exchange among those of a symbol: where none is named, the first that has it counts."""
    return EXCHANGES.index(exchange) if exchange in EXCHANGES else len(EXCHANGES)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The bars that begin in [first, end), multiples of the width: the first so many, or the last."""

    exchange: str
    symbol: str
    width_ms: int
    first_ms: int
    end_ms: int
    limit: int
    newest: bool


class Bars:
    """The bars of one table."""

    def __init__(self, table: Path, cache: Path, *, per_symbol: int, refused: str = "") -> None:
        """`refused` is why this table cannot be followed, if so."""
        self.hub: Hub[Sequence[Bar]] = Hub()
        """New and amended 1-second bars, by commit; nothing of them where listeners have to read anew."""
        self.apart = Apart("pages")
        self.follower = Follower(table, cache, per_symbol=per_symbol, apart=self.apart, publish=self.hub.publish)
        self.follower.problem = refused or self.follower.problem
        self._refused = refused
        self._running: asyncio.Task[None] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Bars:
        """Those of the settings. Only Delta's log can be followed."""
        is_delta = settings.bar_format == "delta"
        refused = "" if is_delta else "BAR_FORMAT=parquet: bars are served from a Delta table alone"
        return cls(settings.tables / "bars_1s", settings.rollups, per_symbol=settings.serve_recent, refused=refused)

    async def start(self) -> None:
        """Begins to follow the table, which need not be there yet."""
        if not self._refused:
            self._running = asyncio.ensure_future(self.follower.run())

    async def close(self) -> None:
        """Ends it."""
        self.hub.close()
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        self.apart.close()

    def symbols(self) -> Mapping[str, Sequence[str]]:
        """Each symbol, with the exchanges that have bars of it in the order in which bare routes ask them."""
        state = self.follower.state
        known = state.symbols if state else {}
        return {symbol: self.exchanges_of(symbol) for symbol in sorted(known)}

    def exchanges_of(self, symbol: str) -> Sequence[str]:
        """The same of one symbol; none where it is not known."""
        state = self.follower.state
        known = state.symbols.get(symbol, ()) if state else ()
        return sorted(known, key=rank)

    @property
    def knows_all(self) -> bool:
        """Whether all symbols of the table are known: just after the start, only those of the newest bars are."""
        return self.follower.state is not None and self.follower.state.knows_all

    def newest_ms(self, exchange: str, symbol: str) -> int | None:
        """The start of the newest finished second of a symbol; None where it has none in memory."""
        state = self.follower.state
        return state.recent.newest_ms(exchange, symbol) if state else None

    def may_have(self, exchange: str, symbol: str) -> bool:
        """Whether the table has bars of a symbol, in memory or not, as far as is known."""
        state = self.follower.state
        return state is not None and (not state.knows_all or exchange in state.symbols.get(symbol, ()))

    def end_ms(self) -> int | None:
        """All seconds before are finished, those of every symbol, traded or not; None before the first bar."""
        state = self.follower.state
        return (state.history.end_ms or None) if state else None

    def printer(self, exchange: str, symbol: str, printed: Callable[[Bar], bytes]) -> Callable[[Bar], bytes]:
        """Prints seconds of a symbol as `printed`, always the same, does; those in memory once, until amended."""
        state = self.follower.state
        return partial(state.recent.of(exchange, symbol).text, printed=printed) if state else printed

    async def follow(self) -> AsyncIterator[Sequence[Bar]]:
        """New and amended 1-second bars, by commit; none where something may have been missed, so: read anew."""
        while True:
            try:
                async with self.hub.listen() as listener:
                    async for bars in listener:
                        yield bars
                return
            except TooSlow:
                yield ()

    async def read(
        self, exchange: str, symbol: str, width_ms: int, *, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[Bar]:
        """Bars that begin from `start_ms` to `end_ms`, both included, oldest first.

        With a start, the first `limit` from there; without one, the last `limit` up to the end. Raises `BarsAway` where
        the table cannot be read, or not in time.
        """
        problem = ""
        for _ in range(_TRIES):
            state = self._state()
            over_ms = start_of(state.history.end_ms, width_ms)
            last_ms = over_ms if end_ms is None else min(over_ms, start_of(end_ms, width_ms) + width_ms)
            first_ms = 0 if start_ms is None else next_start(max(start_ms, 0), width_ms)
            wanted = _Wanted(exchange, symbol, width_ms, first_ms, last_ms, limit, start_ms is None)
            if first_ms >= last_ms or limit < 1:
                return []
            try:
                async with asyncio.timeout(READ_S):
                    found = await _read(state, wanted, self.apart)
            except TimeoutError:
                raise BarsAway(
                    f"reading the past took longer than {READ_S:g} s; what was read by then is kept"
                ) from None
            except BarsAway:
                raise
            except TROUBLE as error:
                problem = str(error)
                await asyncio.sleep(0.1)  # the follower may not have seen yet what has changed
                continue
            if state is self.follower.state:
                return found
            problem = "it was replaced meanwhile"
        raise BarsAway(f"the table cannot be read: {problem}")

    def _state(self) -> State:
        if self.follower.state is None:
            raise BarsAway(self.follower.problem)
        return self.follower.state


async def _read(state: State, wanted: _Wanted, apart: Apart) -> list[Bar]:
    """What memory has is taken before anything is waited for: meanwhile, the oldest of it may go."""
    series = state.recent.of(wanted.exchange, wanted.symbol)
    unit_ms = SECOND_MS if wanted.width_ms == SECOND_MS else MINUTE_MS
    kept_ms = next_start(series.from_ms, unit_ms)
    split_ms = min(max(next_start(kept_ms, wanted.width_ms), wanted.first_ms), wanted.end_ms)
    """Before it, pages are needed; from it on, memory has whole intervals."""
    if wanted.width_ms == SECOND_MS:
        if wanted.newest:
            newest = series.last(wanted.limit, split_ms, wanted.end_ms)
        else:
            newest = series.seconds(split_ms, wanted.end_ms)
        between: list[Bar] = []
    else:
        newest = _wider(series.minutes(split_ms, wanted.end_ms), wanted.width_ms)
        between = series.minutes(kept_ms, split_ms) if kept_ms < split_ms else []
    if split_ms <= wanted.first_ms or (wanted.newest and len(newest) >= wanted.limit):
        return newest[-wanted.limit :] if wanted.newest else newest[: wanted.limit]
    parts = await _pages(state, wanted, split_ms, min(kept_ms, split_ms), between, wanted.limit - len(newest))
    older = await apart(partial(_bars_in, parts))
    return (older + newest)[-wanted.limit :] if wanted.newest else (older + newest)[: wanted.limit]


def _wider(minutes: Sequence[Bar], width_ms: int) -> list[Bar]:
    return list(minutes) if width_ms == MINUTE_MS else rolled_up(minutes, width_ms)


def _bars_in(parts: Sequence[pa.Table]) -> list[Bar]:
    return [bar for part in parts for bar in rows.bars_in(part)]


async def _pages(
    state: State, wanted: _Wanted, split_ms: int, kept_ms: int, between: Sequence[Bar], needed: int
) -> list[pa.Table]:
    """The bars before `split_ms`, oldest first: enough of them, from the newest back or from the oldest on.

    `between` are minutes from `kept_ms` to `split_ms`, which memory has: newer than the pages, and too few to be whole.
    """
    needed = needed if wanted.newest else wanted.limit
    parts: list[pa.Table] = []
    days = [day for day in state.history.files.days() if day + DAY_MS > wanted.first_ms and day < split_ms]
    for day_ms in reversed(days) if wanted.newest else days:
        if needed <= 0:
            break
        if wanted.width_ms == SECOND_MS:
            found = await _seconds(state, wanted, day_ms, split_ms, needed)
        else:
            found = [await _intervals(state, wanted, day_ms, split_ms, kept_ms, between)]
        some = [part for part in found if part.num_rows]
        needed -= sum(part.num_rows for part in some)
        parts = some + parts if wanted.newest else parts + some
    return _cut(parts, needed, newest=wanted.newest)


def _cut(parts: list[pa.Table], needed: int, *, newest: bool) -> list[pa.Table]:
    """Without what is too much at the far end: it would be turned into bars for nothing."""
    if needed >= 0 or not parts:
        return parts
    if newest:
        return [parts[0].slice(-needed), *parts[1:]]
    return [*parts[:-1], parts[-1].slice(0, parts[-1].num_rows + needed)]


async def _seconds(state: State, wanted: _Wanted, day_ms: int, split_ms: int, needed: int) -> list[pa.Table]:
    """The seconds of a day before `split_ms`, by the hour, oldest first: enough of them."""
    at_hand = state.history.hours_at_hand(day_ms)
    hours = state.history.files.hours(day_ms)
    if at_hand is not None:
        traded = set(rows.of_key(at_hand, wanted.exchange, wanted.symbol)["timestamp"].to_pylist())
        hours = [hour for hour in hours if hour in traded]
    hours = [hour for hour in hours if hour + HOUR_MS > wanted.first_ms and hour < split_ms]
    parts: list[pa.Table] = []
    for hour_ms in reversed(hours) if wanted.newest else hours:
        page = await state.history.seconds(wanted.exchange, wanted.symbol, hour_ms)
        part = rows.between(page, wanted.first_ms, split_ms)
        parts = [part, *parts] if wanted.newest else [*parts, part]
        needed -= part.num_rows
        if needed <= 0:
            break
    return parts


async def _intervals(
    state: State, wanted: _Wanted, day_ms: int, split_ms: int, kept_ms: int, between: Sequence[Bar]
) -> pa.Table:
    """The wider bars of a day before `split_ms`, oldest first."""
    end_ms = min(split_ms, day_ms + DAY_MS)
    key = wanted.exchange, wanted.symbol, day_ms
    if wanted.width_ms >= HOUR_MS and state.history.is_over(day_ms):
        narrow = await state.history.hours(*key, end_ms)
    else:
        filed = await state.history.minutes(*key, min(end_ms, kept_ms))
        ours = [bar for bar in between if max(day_ms, kept_ms) <= bar.timestamp < end_ms]
        narrow = rows.joined([filed, rows.rows_of(ours)])
    return rows.rolled(rows.between(narrow, max(day_ms, wanted.first_ms), end_ms), wanted.width_ms)
