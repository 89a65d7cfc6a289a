"""Binance's spot REST market data (binance-spot-api-docs, "REST API"): parameters in, rows or an error out."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.klines import Kline, filled, klines_between, price_before
from simulator.markets import BINANCE, BY_SYMBOL, Market, fixed
from simulator.tape import EPOCH_S, SECOND_US, Tape

WIDTHS_US = {"1s": SECOND_US, "1m": 60 * SECOND_US}
"""The intervals served. Binance has more; here they are invalid."""

_SYMBOL = "^[A-Z0-9-_.]{1,20}$"
_INTEGER = "^[0-9]{1,20}$"
_MAX_ROWS, _DEFAULT_ROWS = 1000, 500


class BinanceError(Exception):
    """A request that Binance answers with status 400, its code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.body = {"code": code, "msg": message}


@dataclass(frozen=True)
class Query:
    """A request: its parameters, the markets, and the exchange's time at its arrival."""

    params: Mapping[str, str]
    tapes: Mapping[Market, Tape]
    now_us: int
    unit_us: int = 1000
    """Of the times in the answer, in microseconds."""

    def market(self) -> Market:
        """The market that `symbol` names."""
        return listed(self._mandatory("symbol"))

    def width_us(self) -> int:
        """The width that `interval` names."""
        width_us = WIDTHS_US.get(self._mandatory("interval"))
        if width_us is None:
            raise BinanceError(-1120, "Invalid interval.")
        return width_us

    def integer(self, name: str) -> int | None:
        """A parameter that is a whole number, None where it was not sent."""
        text = self.params.get(name)
        if text is None:
            return None
        if not text:
            raise BinanceError(-1105, f"Parameter '{name}' was empty.")
        if not re.fullmatch(_INTEGER, text):
            raise BinanceError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{_INTEGER}'.")
        return int(text)

    def limit(self) -> int:
        """How many rows are asked for; more than 1000 are never given."""
        limit = self.integer("limit")
        if limit == 0:
            raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or _DEFAULT_ROWS, _MAX_ROWS)

    def time_us(self, name: str) -> int | None:
        """A time, sent in milliseconds or, as one can tell, in microseconds."""
        time = self.integer(name)
        return time * 1000 if time is not None and time < 10**14 else time

    def _mandatory(self, name: str) -> str:
        text = self.params.get(name)
        if not text:
            raise BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return text


def listed(symbol: str) -> Market:
    """The market of a symbol."""
    if not re.fullmatch(_SYMBOL, symbol):
        raise BinanceError(-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{_SYMBOL}'.")
    market = BY_SYMBOL.get((BINANCE, symbol))
    if market is None:
        raise BinanceError(-1121, "Invalid symbol.")
    return market


async def ping(query: Query) -> Any:
    """Nothing, at the cost of one."""
    return {}


async def server_time(query: Query) -> Any:
    """The exchange's time."""
    return {"serverTime": query.now_us // query.unit_us}


async def exchange_info(query: Query) -> Any:
    """The markets: all, one (`symbol`) or some (`symbols`, a JSON array)."""
    if "symbol" in query.params:
        markets = [query.market()]
    elif "symbols" in query.params:
        markets = [listed(symbol) for symbol in _symbols(query.params["symbols"])]
    else:
        markets = [market for market in query.tapes if market.venue == BINANCE]
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


Route = Callable[[Query], Awaitable[Any]]

ROUTES: dict[str, tuple[int, Route]] = {
    "/api/v3/ping": (1, ping),
    "/api/v3/time": (1, server_time),
    "/api/v3/exchangeInfo": (20, exchange_info),
    "/api/v3/trades": (25, trades),
    "/api/v3/historicalTrades": (25, historical_trades),
    "/api/v3/klines": (2, klines),
}
"""Path → request weight and answer."""


def _symbols(text: str) -> list[str]:
    try:
        symbols = json.loads(text)
    except ValueError:
        symbols = None
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        legal = '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'
        raise BinanceError(-1100, f"Illegal characters found in parameter 'symbols'; legal range is '{legal}'.")
    return symbols


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
