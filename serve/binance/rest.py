"""Binance's REST market data: each path with its weight, how its request is read, and how it is answered.

(binance-spot-api-docs, "REST API".) What Binance has and trades do not tell answers with Binance's error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from serve.binance import errors, query, shapes
from serve.binance.parameters import Symbols
from serve.binance.query import Sent, TickerQuery
from serve.binance.service import Service


class Call(NamedTuple):
    """One request: to whom, by which address, and what it says."""

    service: Service
    venue: str
    sent: Sent
    unit_us: int
    """Of the times in the answer, in microseconds."""


async def ping(call: Call) -> bytes:
    """Tells that we are there."""
    query.nothing_query(call.sent)
    return b"{}"


async def server_time(call: Call) -> bytes:
    """Tells our clock."""
    query.nothing_query(call.sent)
    return shapes.encoded({"serverTime": shapes.times(call.service.now_ms(), call.unit_us)})


async def exchange_info(call: Call) -> bytes:
    """The symbols of the venue: all, one (`symbol`) or some (`symbols`, a JSON array)."""
    asked = query.info_query(call.sent)
    sources = await call.service.sources(call.venue, asked.symbols.names) if asked.listed else {}
    info = shapes.exchange_info(
        sources.items(), call.service.now_ms(), call.unit_us, permission_sets=asked.permission_sets
    )
    return shapes.encoded(info)


async def klines(call: Call) -> bytes:
    """Klines by open time, oldest first: from startTime on, else the newest up to endTime; the last may be running."""
    asked = query.klines_query(call.sent)
    exchange = await call.service.source(call.venue, asked.symbol)
    return await call.service.klines(exchange, asked, call.unit_us)


async def trades(call: Call) -> bytes:
    """The newest trades, oldest first."""
    asked = query.trades_query(call.sent)
    exchange = await call.service.source(call.venue, asked.symbol)
    return shapes.trade_rows(await call.service.trades(exchange, asked), call.unit_us)


async def historical_trades(call: Call) -> bytes:
    """Trades from an id on, oldest first, of those that are still held; without an id the newest."""
    asked = query.historical_trades_query(call.sent)
    exchange = await call.service.source(call.venue, asked.symbol)
    return shapes.trade_rows(await call.service.trades(exchange, asked), call.unit_us)


async def average_price(call: Call) -> bytes:
    """The average price of 5 minutes."""
    symbol = query.symbol_query(call.sent)
    exchange = await call.service.source(call.venue, symbol)
    return shapes.encoded(shapes.average(*await call.service.average(exchange, symbol), call.unit_us))


async def ticker_price(call: Call) -> bytes:
    """The latest price of one symbol, or a list of those of some or all."""
    asked = query.price_query(call.sent)
    sources = await _asked(call, asked)
    prices = await call.service.prices_of(sources)
    rows = [shapes.price_row(symbol, price) for symbol, price in prices.items()]
    return _one_or_many(asked.symbols, rows)


async def ticker_day(call: Call) -> bytes:
    """Statistics of 24 hours, of one symbol, or a list of those of some or all."""
    asked = query.day_query(call.sent)
    sources = await _asked(call, asked)
    rows = [shapes.day_row(day, call.unit_us, mini=asked.mini) for day in await call.service.days_of(sources)]
    return _one_or_many(asked.symbols, rows)


async def _asked(call: Call, asked: TickerQuery) -> dict[str, str]:
    """The symbols asked for, each with its exchange; all of them trade."""
    sources = await call.service.sources(call.venue, asked.symbols.names)
    if asked.trading:
        return sources
    if asked.symbols.one:
        raise errors.other_symbol_status()
    return {}


def _one_or_many(symbols: Symbols, rows: Sequence[object]) -> bytes:
    if not symbols.one:
        return shapes.encoded(rows)
    if not rows:
        raise errors.invalid_symbol()
    return shapes.encoded(rows[0])


def constant(weight: int) -> Callable[[Sent], int]:
    """A weight that depends on nothing."""
    return lambda sent: weight


def price_weight(sent: Sent) -> int:
    """More for several symbols."""
    return 2 if any(name == "symbol" for name, _ in sent) else 4


def day_weight(sent: Sent) -> int:
    """By how many symbols are asked for."""
    asked = dict(sent)
    if "symbol" in asked:
        return 2
    count = asked["symbols"].count(",") + 1 if "symbols" in asked else 101
    return 2 if count <= 20 else 40 if count <= 100 else 80


class Route(NamedTuple):
    """What a path answers, and at what weight."""

    answer: Callable[[Call], Awaitable[bytes]]
    weight: Callable[[Sent], int]
    parameters: tuple[str, ...] = ()
    """Names, as `serve.binance.openapi` describes them; an exclamation mark behind those that must be there."""


_BY_TIME = ("symbol!", "interval!", "startTime", "endTime", "timeZone", "limit")

ROUTES: dict[str, Route] = {
    "ping": Route(ping, constant(1)),
    "time": Route(server_time, constant(1)),
    "exchangeInfo": Route(
        exchange_info, constant(20), ("symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus")
    ),
    "ticker/price": Route(ticker_price, price_weight, ("symbol", "symbols", "symbolStatus")),
    "ticker/24hr": Route(ticker_day, day_weight, ("symbol", "symbols", "type", "symbolStatus")),
    "avgPrice": Route(average_price, constant(2), ("symbol!",)),
    "klines": Route(klines, constant(2), _BY_TIME),
    "uiKlines": Route(klines, constant(2), _BY_TIME),
    "trades": Route(trades, constant(25), ("symbol!", "limit")),
    "historicalTrades": Route(historical_trades, constant(25), ("symbol!", "limit", "fromId")),
}

UNTOLD = frozenset(
    (
        *("depth", "aggTrades", "historicalBlockTrades", "ticker/bookTicker", "ticker", "ticker/tradingDay"),
        *("executionRules", "referencePrice", "referencePrice/calculation"),
    )
)
"""Binance has them, and trades do not tell them, or not here: order books, ids of aggregates, other windows."""

_FIRST_WORDS_OF_ACCOUNTS = frozenset(
    (
        *("account", "allOrderList", "allOrders", "myAllocations", "myFilters", "myPreventedMatches", "myTrades"),
        *("openOrderList", "openOrders", "order", "orderList", "rateLimit", "sor", "userDataStream"),
    )
)


def is_of_account(path: str) -> bool:
    """Whether a path belongs to somebody's account or orders."""
    return path.split("/")[0] in _FIRST_WORDS_OF_ACCOUNTS
