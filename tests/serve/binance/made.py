"""Trades and bars that are made for tests of what Binance's routes answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from market.bar import Bar, bars_of, rolled_up
from market.trade import Trade
from serve.binance.line import Line
from serve.running import Running, floored

START_MS = 1_723_161_600_000
"""2024-08-09, 00:00."""
BTC = ("sim-binance", "BTCUSDT")


def trade(number: int, time_ms: int, *, price: str = "", quantity: str = "0.5", key: tuple[str, str] = BTC) -> Trade:
    """A trade whose price tells its number; every third one was bought by its taker."""
    return Trade(*key, price or f"{100 + number % 50}.{number % 10}", quantity, time_ms, number, number % 3 > 0)


def trades_at(times_ms: Iterable[int], first_id: int = 1, key: tuple[str, str] = BTC) -> list[Trade]:
    """Trades at some times, numbered without gaps."""
    return [trade(number, time_ms, key=key) for number, time_ms in enumerate(times_ms, first_id)]


def bar_at(second: int, first_id: int, last_id: int, close: str = "100") -> Bar:
    """A bar of a second after `START_MS`, of some trades at one price."""
    trades = [
        trade(number, START_MS + 1_000 * second, price=close, quantity="1") for number in range(first_id, last_id + 1)
    ]
    return bars_of(trades)[0]


class Table:
    """Finished bars in a list, read as `serve.bars.Bars` reads them."""

    def __init__(self, bars: Iterable[Bar], width_ms: int = 1_000, phase_ms: int = 0, closed_ms: int = 2**52) -> None:
        rolled = rolled_up(bars, width_ms, phase_ms)
        self.bars = [bar for bar in rolled if bar.timestamp + width_ms <= closed_ms]
        self.reads: list[tuple[int | None, int, int]] = []

    async def read(self, start_ms: int | None, end_ms: int, limit: int) -> list[Bar]:
        """The first bars from a start on, or the last ones until an end."""
        assert limit >= 1
        self.reads.append((start_ms, end_ms, limit))
        found = [bar for bar in self.bars if (start_ms or 0) <= bar.timestamp <= end_ms]
        return found[:limit] if start_ms is not None else found[-limit:]


def line_of(trades: Sequence[Trade], closed_ms: int, until_ms: int, width_ms: int = 1_000, phase_ms: int = 0) -> Line:
    """The klines of some trades, of which the table has those until a time."""
    table = Table(bars_of(trades), width_ms, phase_ms, closed_ms)
    rolled = rolled_up(bars_of(trades), width_ms, phase_ms)
    running = [bar for bar in rolled if bar.timestamp + width_ms > closed_ms]
    return Line(table.read, Running(running, closed_ms, until_ms), width_ms, phase_ms)


def listed(trades: Sequence[Trade], until_ms: int, width_ms: int = 1_000, phase_ms: int = 0) -> list[Bar]:
    """Every kline that Binance would list of some trades, said as simply as it can be: the oracle of `Line`."""
    bars = {bar.timestamp: bar for bar in rolled_up(bars_of(trades), width_ms, phase_ms)}
    if not bars:
        return []
    rows: list[Bar] = []
    before: Bar | None = None
    for start_ms in range(min(bars), floored(until_ms - 1, width_ms, phase_ms) + 1, width_ms):
        if start_ms in bars:
            before = bars[start_ms]
            rows.append(before)
        elif before:
            after = next((bars[time_ms] for time_ms in sorted(bars) if time_ms > start_ms), None)
            if after is None or after.first_trade_id <= before.last_trade_id + 1:
                rows.append(_quiet(start_ms, before))
    return rows


def _quiet(start_ms: int, before: Bar) -> Bar:
    nothing, price = Decimal(0), before.close
    prices = (price, price, price, price, nothing, nothing, price)
    return Bar(before.exchange, before.symbol, start_ms, *prices, 0, nothing, nothing, -1, -1, 0)
