"""`/price` and `/prices`: the latest trade of a symbol, from Redis alone."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from market.latest import Price
from market.trade import EXCHANGES
from serve.bars import Bars, rank
from serve.live.live import now_ms
from serve.own.query import Exchange, Symbol, normal, only
from serve.prices import Prices
from serve.problems import Problem
from serve.texts import shortened

router = APIRouter(tags=["prices"])

NOT_AVAILABLE = "price not available"


@router.get(
    "/price/{symbol}",
    summary="The latest price of a symbol",
    response_class=Response,
    dependencies=[Depends(only("exchange"))],
    responses={
        200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Price"}}}},
        404: {"description": "The symbol is not known, or was not traded yet"},
    },
)
async def price(request: Request, symbol: Symbol, exchange: Exchange = None) -> Response:
    """That of the newest trade by its time and id. `stale` says that it is older than STALE_AFTER."""
    state = request.app.state
    name = normal(symbol)
    if exchange is None:
        found = await first_price(state.prices, state.bars, name)
    else:
        found = await state.prices.latest(exchange, name)
    if found is None:
        raise Problem(404, NOT_AVAILABLE)
    return _answer(shown(found, now_ms(), state.settings.stale_after))


@router.get(
    "/prices",
    summary="The latest prices of all symbols",
    response_class=Response,
    dependencies=[Depends(only("exchange"))],
    responses={200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Prices"}}}}},
)
async def prices(request: Request, exchange: Exchange = None) -> Response:
    """Each as `/price` has it, by symbol and exchange."""
    state = request.app.state
    found = [one for one in await state.prices.all() if exchange is None or one.exchange == exchange]
    time_ms = now_ms()
    ordered = sorted(found, key=lambda one: (one.symbol, rank(one.exchange)))
    return _answer({"prices": [shown(one, time_ms, state.settings.stale_after) for one in ordered]})


async def first_price(prices: Prices, bars: Bars, symbol: str) -> Price | None:
    """The price at the first exchange that has the symbol: as for bars; else, at any that has a price."""
    listed = bars.exchanges_of(symbol)
    for exchange in (*listed, *(other for other in EXCHANGES if other not in listed)):
        found = await prices.latest(exchange, symbol)
        if found is not None:
            return found
    return None


def shown(price: Price, time_ms: int, stale_after_ms: int) -> dict[str, Any]:
    """A price as it is answered. The numbers are the exchange's own digits, and never were doubles."""
    age_ms = max(time_ms - price.timestamp, 0)
    return {
        "symbol": price.symbol,
        "price": msgspec.Raw(shortened(price.price).encode()),
        "exchange": price.exchange,
        "quantity": msgspec.Raw(shortened(price.quantity).encode()),
        "timestamp": price.timestamp,
        "trade_id": price.trade_id,
        "is_buyer_maker": price.is_buyer_maker,
        "age_ms": age_ms,
        "stale": age_ms > stale_after_ms,
    }


def _answer(content: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
