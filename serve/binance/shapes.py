"""What Binance's routes answer, as JSON text: shapes and order of the fields are the exchange's. Pure.

(binance-spot-api-docs, "REST API".) Prices and quantities have 8 decimals; times are in units of `unit_us` µs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from typing import Any, NamedTuple

from market.bar import Bar
from market.trade import Trade
from serve.binance.symbols import assets_of

ZERO = "0.00000000"

_EXACT = Context(prec=100)
_STEP = Decimal("1e-8")


def fixed(number: Decimal | str) -> str:
    """A price or a quantity as Binance prints it. It has 8 decimals at most, so that nothing is rounded."""
    return f"{number if isinstance(number, Decimal) else Decimal(number):.8f}"


def times(time_ms: int, unit_us: int) -> int:
    """A time as it is sent."""
    return time_ms * 1_000 // unit_us


def encoded(content: Any) -> bytes:
    """An answer as it goes over the wire."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode()


def close_time(bar: Bar, width_ms: int, unit_us: int) -> int:
    """The last moment of an interval: …999 in milliseconds, …999999 in microseconds."""
    return (bar.timestamp + width_ms) * 1_000 // unit_us - 1


def kline_row(bar: Bar, width_ms: int, unit_us: int) -> bytes:
    """One kline."""
    return (
        f'[{times(bar.timestamp, unit_us)},"{bar.open:.8f}","{bar.high:.8f}","{bar.low:.8f}","{bar.close:.8f}",'
        f'"{bar.volume:.8f}",{close_time(bar, width_ms, unit_us)},"{bar.quote_volume:.8f}",{bar.trade_count},'
        f'"{bar.taker_buy_volume:.8f}","{bar.taker_buy_quote_volume:.8f}","0"]'
    ).encode()


def trade_rows(trades: Iterable[Trade], unit_us: int) -> bytes:
    """`/trades` and `/historicalTrades`: oldest first, as they are given."""
    rows = [
        f'{{"id":{trade.trade_id},"price":"{fixed(trade.price)}","qty":"{fixed(trade.quantity)}",'
        f'"quoteQty":"{quote_quantity(trade)}","time":{times(trade.timestamp, unit_us)},'
        f'"isBuyerMaker":{"true" if trade.is_buyer_maker else "false"},"isBestMatch":true}}'
        for trade in trades
    ]
    return f"[{','.join(rows)}]".encode()


def quote_quantity(trade: Trade) -> str:
    """Price times quantity, cut at 8 decimals as the exchange does, not rounded."""
    product = _EXACT.multiply(Decimal(trade.price), Decimal(trade.quantity))
    return fixed(product.quantize(_STEP, rounding=ROUND_DOWN, context=_EXACT))


def price_row(symbol: str, price: str) -> dict[str, str]:
    """`/ticker/price`, of one symbol."""
    return {"symbol": symbol, "price": fixed(price)}


def average(price: Decimal, last_ms: int, unit_us: int) -> dict[str, Any]:
    """`/avgPrice`, of the last 5 minutes."""
    return {"mins": 5, "price": fixed(price), "closeTime": times(last_ms, unit_us)}


class Day(NamedTuple):
    """24 hours of a symbol, until a moment."""

    symbol: str
    open_ms: int
    close_ms: int
    traded: Bar | None
    """All of its trades, as one bar; None where nobody traded."""
    before: Decimal | None
    """The price of the last trade before it."""
    last_price: Decimal | None
    last_quantity: Decimal | None


def day_row(day: Day, unit_us: int, *, mini: bool) -> dict[str, Any]:
    """`/ticker/24hr`. Of the order book, trades tell nothing: its fields are those of an empty one."""
    bar, change = day.traded, change_of(day)
    prices = {
        "openPrice": fixed(bar.open) if bar else ZERO,
        "highPrice": fixed(bar.high) if bar else ZERO,
        "lowPrice": fixed(bar.low) if bar else ZERO,
    }
    volumes = {
        "volume": fixed(bar.volume) if bar else ZERO,
        "quoteVolume": fixed(bar.quote_volume) if bar else ZERO,
        "openTime": times(day.open_ms, unit_us),
        "closeTime": times(day.close_ms, unit_us),
        "firstId": bar.first_trade_id if bar else -1,
        "lastId": bar.last_trade_id if bar else -1,
        "count": bar.trade_count if bar else 0,
    }
    last = {"lastPrice": _or_zero(day.last_price)}
    if mini:
        return {"symbol": day.symbol, **prices, **last, **volumes}
    return {
        "symbol": day.symbol,
        "priceChange": fixed(change.price),
        "priceChangePercent": change.percent(3),
        "weightedAvgPrice": fixed(bar.vwap) if bar else ZERO,
        "prevClosePrice": _or_zero(day.before),
        **last,
        "lastQty": _or_zero(day.last_quantity),
        **dict.fromkeys(("bidPrice", "bidQty", "askPrice", "askQty"), ZERO),
        **prices,
        **volumes,
    }


class Change(NamedTuple):
    """How far a price has come."""

    price: Decimal
    from_price: Decimal

    def percent(self, decimals: int) -> str:
        """In percent of where it was, rounded half up."""
        if not self.from_price:
            return f"{0:.{decimals}f}"
        ratio = _EXACT.divide(self.price * 100, self.from_price)
        rounded = ratio.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP, context=_EXACT)
        return f"{rounded or Decimal(0):.{decimals}f}"  # no zero has a sign


def change_of(day: Day) -> Change:
    """From the first trade of the day to the last one."""
    if day.traded is None or day.last_price is None:
        return Change(Decimal(0), Decimal(0))
    return Change(_EXACT.subtract(day.last_price, day.traded.open), day.traded.open)


def exchange_info(
    sources: Iterable[tuple[str, str]], now_ms: int, unit_us: int, *, permission_sets: bool
) -> dict[str, Any]:
    """`/exchangeInfo`; `sources`: symbols, each with its exchange.

    Trades tell no tick, so that every decimal is allowed; and no weight is refused here, so that no limit is told.
    """
    return {
        "timezone": "UTC",
        "serverTime": times(now_ms, unit_us),
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [_symbol_info(symbol, assets_of(exchange, symbol), permission_sets) for symbol, exchange in sources],
    }


def _symbol_info(symbol: str, assets: Sequence[str], permission_sets: bool) -> dict[str, Any]:
    base, quote = assets
    step = "0.00000001"
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "opoAllowed": False,
        "quoteOrderQtyMarketAllowed": False,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": False,
        "amendAllowed": False,
        "pegInstructionsAllowed": False,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": step, "maxPrice": "9999999999.99999999", "tickSize": step},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "99999999999.99999999", "stepSize": step},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]] if permission_sets else [],
        "defaultSelfTradePreventionMode": "NONE",
        "allowedSelfTradePreventionModes": ["NONE"],
    }


def _or_zero(number: Decimal | None) -> str:
    return ZERO if number is None else fixed(number)
