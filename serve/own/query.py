"""What may be asked of our own routes: each parameter with its meaning and its bounds, as OpenAPI shows them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import Path, Query, Request

from market.klines import symbol_of
from market.trade import is_symbol
from market.widths import LATEST_MS
from serve.problems import Problem

MOST_BARS = 5_000
SOME_BARS = 500

ExchangeName = Literal["binance", "binance-usdm", "coinbase", "sim-binance", "sim-coinbase"]
IntervalName = Literal["1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]

_TIME = (
    r"^([0-9]{1,15}|[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(T[0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]{1,6})?)?(Z|[ +-][0-9]{2}:[0-9]{2})?)?)$"
)
_TIMES = "ms since the epoch, or ISO 8601 (2026-01-31, 2026-01-31T12:00:00Z; without a zone it is UTC)"

_SYMBOL = "^[A-Za-z0-9][A-Za-z0-9_-]{0,23}$"
_SYMBOLS = "2 to 20 letters and digits, such as BTCUSDT"
MEANINGS = {_TIME: _TIMES, _SYMBOL: _SYMBOLS}
"""What a pattern allows, in words."""

Symbol = Annotated[
    str,
    Path(
        pattern=_SYMBOL,
        description="A symbol in any spelling: BTCUSDT, btc-usdt",
        examples=["BTCUSDT"],
    ),
]
Exchange = Annotated[
    ExchangeName | None,
    Query(description="One exchange; without it, the first one that has the symbol, in the order given here"),
]
Interval = Annotated[IntervalName, Query(description="The width of the bars")]
From = Annotated[
    str | None,
    Query(alias="from", pattern=_TIME, description=f"Bars that begin then or later, oldest first: {_TIMES}"),
]
To = Annotated[
    str | None,
    Query(
        alias="to", pattern=_TIME, description=f"Bars that begin then or earlier; default: all that are over. {_TIMES}"
    ),
]
Limit = Annotated[
    int, Query(ge=1, le=MOST_BARS, description="Rows, at most: with `from` the first ones, without it the last ones")
]
Fill = Annotated[
    Literal["none", "previous"],
    Query(description="previous: intervals in which nobody traded get a row too, at the price before"),
]
Form = Annotated[Literal["json", "csv", "parquet"], Query(alias="format", description="The form of the answer")]


def normal(symbol: str) -> str:
    """A symbol as trades bear it. Raises `Problem` for what cannot be one."""
    name = symbol_of(symbol)
    if not is_symbol(name):
        raise Problem(400, f"symbol={symbol} is not allowed: it must be {_SYMBOLS}")
    return name


def time_ms(name: str, text: str | None) -> int | None:
    """A time in ms. Raises `Problem` for one that does not exist."""
    if text is None:
        return None
    if re.fullmatch("[0-9]{1,15}", text):
        number = int(text)
        if number > LATEST_MS:
            raise Problem(400, f"{name}={text} is not allowed: it must be ms since the epoch, at most {LATEST_MS}")
        return number
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))  # which a plus sign comes as, unless it is encoded
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        found = int(aware.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Problem(400, f"{name}={text} is not allowed: it must be {_TIMES} ({error})") from None
    if found < 0:
        raise Problem(400, f"{name}={text} is not allowed: it must not be before 1970")
    return found


def only(*names: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency of a route that takes these parameters: no other one is passed over in silence, and none twice."""

    async def check(request: Request) -> None:
        given = [name for name, _ in request.query_params.multi_items()]
        for name in given:
            if name not in names:
                allowed = f"it may be {', '.join(names)}" if names else "there is none here"
                raise Problem(400, f"there is no parameter {name[:50]!r}: {allowed}")
            if given.count(name) > 1:
                raise Problem(400, f"{name} is given more than once")

    return check
