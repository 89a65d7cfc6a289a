"""Coinbase Exchange's REST market data (docs.cdp.coinbase.com/exchange): parameters in, rows or an error out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from simulator.clock import iso, parse_us
from simulator.coinbase import side, trade_time
from simulator.klines import Kline, klines_between
from simulator.markets import BY_SYMBOL, COINBASE, Market, plain
from simulator.tape import SECOND_US, Tape

GRANULARITIES_S = (60, 300, 900)
"""The candles served. The exchange has longer ones; here they are unsupported."""

_MAX_CANDLES, _MAX_TRADES = 300, 1000


class CoinbaseError(Exception):
    """A request that Coinbase answers with a status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message}


def listed(product: str) -> Market:
    """The market of a product id."""
    market = BY_SYMBOL.get((COINBASE, product))
    if market is None:
        raise CoinbaseError(404, "NotFound")
    return market


def product_row(market: Market) -> dict[str, Any]:
    """One row of /products."""
    return {
        "id": market.symbol,
        "base_currency": market.base,
        "quote_currency": market.quote,
        "quote_increment": plain(1, market.price_decimals),
        "base_increment": plain(1, market.quantity_decimals),
        "display_name": f"{market.base}/{market.quote}",
        "status": "online",
        "status_message": "",
        "trading_disabled": False,
        "cancel_only": False,
        "post_only": False,
        "limit_only": False,
    }


def time_row(now_us: int) -> dict[str, Any]:
    """/time."""
    return {"iso": iso(now_us)[:23] + "Z", "epoch": now_us // 1000 / 1000}


def trades(tape: Tape, params: Mapping[str, str], now_us: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """/products/{id}/trades: the rows, newest first, and the cursor headers.

    `after` gives the page of ids below it; `before` the newest page of ids above it, not the page next to it.
    """
    after, before = _integer(params, "after"), _integer(params, "before")
    limit = _integer(params, "limit")
    limit = _MAX_TRADES if limit is None else limit
    if not 1 <= limit <= _MAX_TRADES:
        raise CoinbaseError(400, f"limit must be from 1 to {_MAX_TRADES}")
    made = tape.count_before(now_us)
    end = made if after is None else min(after, made)
    start = max(end - limit, 0 if before is None else before + 1)
    market = tape.market
    rows = [
        {
            "trade_id": number,
            "side": side(buyer_maker),
            "size": plain(quantity, market.quantity_decimals),
            "price": plain(price, market.price_decimals),
            "time": trade_time(number, time_us),
        }
        for number, time_us, price, quantity, buyer_maker in tape.numbered(start, end).rows()
    ]
    rows.reverse()
    cursors = {"CB-BEFORE": str(rows[0]["trade_id"]), "CB-AFTER": str(rows[-1]["trade_id"])} if rows else {}
    return rows, cursors


async def candles(tape: Tape, params: Mapping[str, str], now_us: int) -> str:
    """/products/{id}/candles as JSON: [time, low, high, open, close, volume], newest first, none without trades.

    Text, because the numbers are printed as they are and would not survive a double.
    """
    granularity_s = 60 if params.get("granularity") is None else _integer(params, "granularity")
    if granularity_s not in GRANULARITIES_S:
        raise CoinbaseError(400, "Unsupported granularity")
    width_us = granularity_s * SECOND_US
    end_us = min(_time_us(params, "end", now_us), now_us)
    start_us = _time_us(params, "start", end_us - (_MAX_CANDLES - 1) * width_us)
    start_us, end_us = (time_us - time_us % width_us for time_us in (start_us, end_us + width_us))
    if (end_us - start_us) // width_us > _MAX_CANDLES:
        raise CoinbaseError(
            400,
            "granularity too small for the requested time range. "
            f"Count of aggregations requested exceeds {_MAX_CANDLES}",
        )
    rows: list[Kline] = []
    for piece in klines_between(tape, start_us, end_us, width_us, now_us):
        rows += piece
        await asyncio.sleep(0)  # the live push goes on between the pieces of a long answer
    return "[" + ",".join(_candle(tape.market, row) for row in reversed(rows)) + "]"


def _candle(market: Market, kline: Kline) -> str:
    prices = [plain(ticks, market.price_decimals) for ticks in (kline.low, kline.high, kline.open, kline.close)]
    return f"[{kline.open_us // SECOND_US},{','.join(prices)},{plain(kline.volume, market.quantity_decimals)}]"


def _integer(params: Mapping[str, str], name: str) -> int | None:
    text = params.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 16:
        raise CoinbaseError(400, f"Invalid {name}: {json.dumps(text)}")
    return int(text)


def _time_us(params: Mapping[str, str], name: str, default_us: int) -> int:
    """A time as ISO text or as seconds since the epoch."""
    text = params.get(name)
    if not text:
        return default_us
    try:
        return int(text) * SECOND_US if text.isdigit() else parse_us(text)
    except ValueError:
        raise CoinbaseError(400, f"Invalid {name}: {json.dumps(text)}") from None
