"""Binance's spot REST market data (binance-spot-api-docs, "REST API"): a query in, rows or an error out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from simulator.aggregates import Aggregate, first_aggregates, last_aggregates
from simulator.binance_query import BinanceError, Query
from simulator.klines import Kline, filled, klines_between, price_before
from simulator.markets import Market, fixed
from simulator.tape import EPOCH_S, SECOND_US

_TRADED = {"symbolStatus": "TRADING", "permissions": "SPOT"}
"""Of all markets here."""


async def ping(query: Query) -> Any:
    """Nothing, at the cost of one."""
    return {}


async def server_time(query: Query) -> Any:
    """The exchange's time."""
    return {"serverTime": query.now_us // query.unit_us}


async def exchange_info(query: Query) -> Any:
    """The markets: all, one (`symbol`) or some (`symbols`, a JSON array). All of them trade, and all are spot."""
    markets = query.markets()
    status, permissions = (query.params.get(name, default) for name, default in _TRADED.items())
    if status != _TRADED["symbolStatus"] or _TRADED["permissions"] not in permissions:
        markets = []
    return {
        "timezone": "UTC",
        "serverTime": query.now_us // query.unit_us,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        ],
        "exchangeFilters": [],
        "symbols": [_symbol_info(market) for market in markets],
    }


async def trades(query: Query) -> Any:
    """The newest trades, oldest first."""
    return _trade_rows(query, None)


async def historical_trades(query: Query) -> Any:
    """Trades from an id on (`fromId`), or the newest."""
    return _trade_rows(query, query.integer("fromId"))


async def agg_trades(query: Query) -> Any:
    """Aggregate trades, oldest first: from an id (`fromId`) or a time on, else the newest, or those up to endTime."""
    market, limit = query.market(), query.limit()
    first, start_us, end_us = query.integer("fromId"), query.time_us("startTime"), query.after_us("endTime")
    if first is not None and (start_us is not None or end_us is not None):
        raise BinanceError(-1128, "Combination of optional parameters invalid.")
    tape = query.tapes[market]
    end = tape.count_before(query.now_us if end_us is None else min(end_us, query.now_us))
    if start_us is not None:
        first = tape.count_before(min(start_us, query.now_us))
    rows = last_aggregates(tape, end, limit) if first is None else first_aggregates(tape, first, end, limit)
    return [_aggregate_row(market, row, query.unit_us) for row in rows]


async def klines(query: Query) -> Any:
    """Klines by open time, oldest first: from startTime on, else the newest up to endTime."""
    tape, width_us, limit = query.tapes[query.market()], query.width_us(), query.limit()
    sent_start_us, sent_end_us = query.time_us("startTime"), query.time_us("endTime")
    newest_us = min(query.now_us if sent_end_us is None else sent_end_us, query.now_us)
    end_us = newest_us - newest_us % width_us + width_us
    start_us = end_us - limit * width_us if sent_start_us is None else -(-sent_start_us // width_us) * width_us
    start_us = max(start_us, EPOCH_S * SECOND_US)
    end_us = min(end_us, start_us + limit * width_us)
    if end_us <= start_us:
        return []
    rows: list[Kline] = []
    for piece in klines_between(tape, start_us, end_us, width_us, query.now_us):
        rows += piece
        await asyncio.sleep(0)  # the live push goes on between the pieces of a long answer
    rows = filled(rows, start_us, end_us, width_us, price_before(tape, start_us))
    return [_kline_row(tape.market, row, width_us, query.unit_us) for row in rows]


async def ticker_price(query: Query) -> Any:
    """The last trade's price: one market's, or a list. A market without a trade yet is not listed."""
    rows = []
    for market in query.markets():
        price = price_before(query.tapes[market], query.now_us)
        await asyncio.sleep(0)  # the live push goes on between the markets
        if price is not None:
            rows.append({"symbol": market.symbol, "price": fixed(price, market.price_decimals)})
    return rows[0] if "symbol" in query.params and rows else rows


class Route(NamedTuple):
    """What a path answers, and at what cost."""

    weight: int
    answer: Callable[[Query], Awaitable[Any]]
    parameters: tuple[str, ...] = ()
    weight_of_many: int | None = None
    """Without `symbol`, where that costs more."""

    def cost(self, query: Query) -> int:
        """The request's weight."""
        return self.weight if self.weight_of_many is None or "symbol" in query.params else self.weight_of_many

    async def __call__(self, query: Query) -> Any:
        """The answer, as JSON has it. Raises `BinanceError`."""
        query.check(self.parameters)
        return await self.answer(query)


_BY_ID = ("symbol", "fromId", "limit")
_BY_TIME = ("startTime", "endTime", "limit")
_MARKETS = ("symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets")

ROUTES: dict[str, Route] = {
    "/api/v3/ping": Route(1, ping),
    "/api/v3/time": Route(1, server_time),
    "/api/v3/exchangeInfo": Route(20, exchange_info, _MARKETS),
    "/api/v3/trades": Route(25, trades, ("symbol", "limit")),
    "/api/v3/historicalTrades": Route(25, historical_trades, _BY_ID),
    "/api/v3/aggTrades": Route(4, agg_trades, ("symbol", "fromId", *_BY_TIME)),
    "/api/v3/klines": Route(2, klines, ("symbol", "interval", *_BY_TIME)),
    "/api/v3/ticker/price": Route(2, ticker_price, ("symbol", "symbols"), weight_of_many=4),
}


def _symbol_info(market: Market) -> dict[str, Any]:
    tick, lot = fixed(1, market.price_decimals), fixed(1, market.quantity_decimals)
    return {
        "symbol": market.symbol,
        "status": "TRADING",
        "baseAsset": market.base,
        "baseAssetPrecision": 8,
        "quoteAsset": market.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "90000000000.00000000", "stepSize": lot},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _trade_rows(query: Query, from_id: int | None) -> list[dict[str, Any]]:
    market, limit = query.market(), query.limit()
    tape = query.tapes[market]
    made = tape.count_before(query.now_us)
    first = made - limit if from_id is None else from_id
    return [
        {
            "id": number,
            "price": fixed(price, market.price_decimals),
            "qty": fixed(quantity, market.quantity_decimals),
            "quoteQty": fixed(market.value(price, quantity)),
            "time": time_us // query.unit_us,
            "isBuyerMaker": buyer_maker,
            "isBestMatch": True,
        }
        for number, time_us, price, quantity, buyer_maker in tape.numbered(first, min(first + limit, made)).rows()
    ]


def _aggregate_row(market: Market, row: Aggregate, unit_us: int) -> dict[str, Any]:
    return {
        "a": row.first_id,
        "p": fixed(row.price, market.price_decimals),
        "q": fixed(row.quantity, market.quantity_decimals),
        "f": row.first_id,
        "l": row.last_id,
        "T": row.time_us // unit_us,
        "m": row.buyer_maker,
        "M": True,
    }


def _kline_row(market: Market, kline: Kline, width_us: int, unit_us: int) -> list[Any]:
    return [
        kline.open_us // unit_us,
        fixed(kline.open, market.price_decimals),
        fixed(kline.high, market.price_decimals),
        fixed(kline.low, market.price_decimals),
        fixed(kline.close, market.price_decimals),
        fixed(kline.volume, market.quantity_decimals),
        (kline.open_us + width_us - 1) // unit_us,
        fixed(kline.quote_volume),
        kline.trade_count,
        fixed(kline.taker_volume, market.quantity_decimals),
        fixed(kline.taker_quote_volume),
        "0",
    ]
