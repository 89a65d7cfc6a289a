"""The 24 hours until now, of one symbol. As in Binance's rolling windows, they begin with a full minute."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from market.bar import Bar, rolled_up
from market.latest import Price
from market.widths import DAY_MS, MINUTE_MS
from serve.bars import Bars
from serve.binance.shapes import Day
from serve.live.live import Live, between
from serve.live.records import Key
from serve.running import floored


def start_of_day(until_ms: int) -> int:
    """Where the 24 hours until a moment begin: up to 59,999 ms earlier, so that minutes make them, and no seconds."""
    return floored(until_ms - DAY_MS, MINUTE_MS)


def as_one(bars: Iterable[Bar], start_ms: int, end_ms: int) -> Bar | None:
    """Bars of any width that begin within a time, as one; None where there is none."""
    merged = rolled_up(bars, end_ms - start_ms, start_ms % (end_ms - start_ms))
    return merged[0] if merged else None


def day_of(symbol: str, until_ms: int, traded: Bar | None, before: Bar | None, last: Price | None) -> Day:
    """What is told of 24 hours. `before`: the last bar before them; `last`: the newest trade of all, where known."""
    newest = traded or before
    last_price = Decimal(last.price) if last else newest.close if newest else None
    return Day(
        symbol=symbol,
        open_ms=start_of_day(until_ms),
        close_ms=until_ms,
        traded=traded,
        before=before.close if before else None,
        last_price=last_price,
        last_quantity=Decimal(last.quantity) if last and traded else None,
    )


class Days:
    """Days of many symbols, each asked for every second: of what is finished, the whole minutes are merged once."""

    def __init__(self, bars: Bars, live: Live) -> None:
        self._bars, self._live = bars, live
        self._kept: dict[Key, tuple[object, Bar | None, Bar | None]] = {}

    async def day(self, exchange: str, symbol: str, last: Price | None) -> Day:
        """The day until now. Raises `BarsAway`."""
        key = exchange, symbol
        running = await self._live.running(exchange, symbol, MINUTE_MS)
        until_ms = self._live.now_ms()
        start_ms = start_of_day(until_ms)
        whole_ms = max(floored(running.closed_ms, MINUTE_MS), start_ms)
        whole, before = await self._finished(key, start_ms, whole_ms)
        # Where it is not known what runs, the finished seconds of this minute are still.
        rest = running.bars or await between(self._bars, key, whole_ms, max(running.closed_ms, whole_ms))
        parts = [*([whole] if whole else []), *(bar for bar in rest if bar.timestamp >= start_ms)]
        return day_of(symbol, until_ms, as_one(parts, start_ms, start_ms + 2 * DAY_MS), before, last)

    async def _finished(self, key: Key, start_ms: int, end_ms: int) -> tuple[Bar | None, Bar | None]:
        """Whole minutes as one bar, and the last minute before them."""
        state = start_ms, end_ms, self._live.edition(key)
        kept = self._kept.get(key)
        if kept is None or kept[0] != state:
            found = await between(self._bars, key, start_ms, end_ms)
            before = await self._bars.read(*key, MINUTE_MS, start_ms=None, end_ms=start_ms - MINUTE_MS, limit=1)
            one = as_one(found, start_ms, end_ms) if end_ms > start_ms else None
            kept = self._kept[key] = state, one, before[0] if before else None
        return kept[1], kept[2]
