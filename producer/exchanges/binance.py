"""Binance's frames and archive rows as trades (binance-spot-api-docs: "WebSocket Streams", "Public Data").

A trade frame, raw or wrapped by the combined stream as {"stream":"btcusdt@trade","data":{…}}:

    {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
     "T":1723161255342,"m":true,"M":true}

`t` is the trade id, consecutive per symbol on spot; `T` the trade time in ms, or µs where the stream was asked for it;
`m` says that the buyer is the maker. `E` and `M` are not about the trade. USD-M futures add `X`: only `MARKET` trades
are trades of the market; insurance fund and deleveraging prints stay out of the exchange's own bars, and of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import quote

from market.trade import Reason, Trade
from producer.exchanges.fast import binance_trade
from producer.exchanges.history import History, Page, Request, page_of, rows_of
from producer.exchanges.outcome import (
    NOT_A_TIME,
    UNKNOWN,
    Message,
    Outcome,
    complaint_of,
    integer,
    judged,
    kind_of,
    numeral,
    side,
    text,
)
from producer.exchanges.protocol import Clock, Patience, Protocol

STREAMS_PER_CONNECTION = 1024
CONTROL_INTERVAL_S = 0.3
"""At most 5 control messages per second are allowed, pings and pongs included; more close the connection (1008)."""

LIFE_S = 23.5 * 3600
"""The exchange cuts a connection after 24 hours."""

_STREAMS_PER_MESSAGE = 200
_ROWS_PER_PAGE = 1000
_MICROSECONDS_FROM = 10**15
_MILLISECONDS_BELOW = 10**14  # the year 5138, in either unit
_FAREWELL = "serverShutdown"
_COLUMNS = ("id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch")


def outcome_of(message: Message, exchange: str, latest_ms: int) -> Outcome:
    """What one message of a market stream is, wrapped or not."""
    stream = message.get("stream")
    data = message.get("data") if isinstance(stream, str) else message
    kind = stream.rpartition("@")[2] if isinstance(stream, str) else None
    if kind == f"!{_FAREWELL}" or (isinstance(data, dict) and data.get("e") == _FAREWELL):
        return Outcome(passed_over=_FAREWELL, farewell=True)
    if not isinstance(data, dict):
        return Outcome(rejected=Reason.MALFORMED) if kind == "trade" else Outcome(passed_over=kind_of(kind))
    if kind == "trade" or data.get("e") == "trade":
        return _trade_of(data, exchange, latest_ms)
    error = data.get("error", data)  # a reply to a request: {"error":{"code":…,"msg":…},"id":…}, or without the wrap
    if kind is None and isinstance(error, dict) and "code" in error and "msg" in error:
        return Outcome(passed_over="error", complaint=complaint_of(error, "code", "msg"))
    return Outcome(passed_over=kind_of(data.get("e") or kind or _unnamed(data)))


def outcome_of_row(row: str, exchange: str, symbol: str, latest_ms: int) -> Outcome:
    """What one line of a public-data trades archive is: id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch."""
    fields = row.strip().split(",")
    if fields[0] == _COLUMNS[0]:
        return Outcome(passed_over="header")
    if len(fields) not in (len(_COLUMNS) - 1, len(_COLUMNS)):  # futures archives have no isBestMatch
        return Outcome(rejected=f"a row of {len(fields)} columns; expected are {','.join(_COLUMNS)}")
    is_buyer_maker = side({"true": True, "false": False}.get(fields[5].lower()))
    trade = Trade(exchange, symbol, fields[1], fields[2], time_ms(fields[4]), integer(fields[0]), is_buyer_maker)
    return judged(trade, latest_ms)


def time_ms(value: object) -> int:
    """A time as Binance prints it, in ms or µs, in ms. The bounds are hard: what lies between the units is no time."""
    time = integer(value)
    if time < _MILLISECONDS_BELOW:
        return time
    return time // 1000 if _MICROSECONDS_FROM <= time < _MILLISECONDS_BELOW * 1000 else NOT_A_TIME


def market_of(message: Message) -> str | None:
    """Which market a recorded message proves itself to be from: only trades differ between spot and futures."""
    data = message.get("data", message)
    if not isinstance(data, dict) or data.get("e") != "trade":
        return None
    return "binance-usdm" if "X" in data else "binance"


def subscriptions(products: Sequence[str]) -> list[str]:
    """The messages that subscribe to the trades of some products, none of them too long."""
    streams = [f"{product.lower()}@trade" for product in products]  # an upper-case name is acknowledged, then silent
    chunks = [streams[start : start + _STREAMS_PER_MESSAGE] for start in range(0, len(streams), _STREAMS_PER_MESSAGE)]
    return [
        json.dumps({"method": "SUBSCRIBE", "params": chunk, "id": number})
        for number, chunk in enumerate(chunks, start=1)
    ]


def products_of(listing: Any) -> Iterator[str]:
    """The products that `/api/v3/exchangeInfo` lists as trading."""
    rows: Iterable[Any] = listing["symbols"]
    return (row["symbol"] for row in rows if row.get("status", "TRADING") == "TRADING")


def clock_of(answer: Any) -> int:
    """The exchange's time in ms, from the answer of `/api/v3/time`."""
    return time_ms(answer["serverTime"])


def page(product: str, first: int, last: int) -> Request:
    """Single trades from `first` up. `aggTrades` are cheaper, but merge trades: no trade could be made from them."""
    limit = min(last - first + 1, _ROWS_PER_PAGE)
    return Request(f"/api/v3/historicalTrades?symbol={_quoted(product)}&fromId={first}&limit={limit}", 25)


def read_page(answer: Any, exchange: str, product: str, first: int, last: int, latest_ms: int) -> Page:
    """The page that `historicalTrades` answered. Raises ValueError where it is no list.

    Rows ascend from the first id that is there: the deep past is pruned, so that ids below the first row are gone. A
    page may hold fewer rows than we asked for, and then speaks up to its last one; an empty one says that none is left.
    """
    rows = rows_of(answer)
    outcomes = [outcome_of_trade(row, exchange, product, latest_ms) for row in rows]
    ids = [integer(row.get("id")) if isinstance(row, dict) else -1 for row in rows]
    end = last
    if rows:  # not one that can be read: all that such a page can have held is then counted as not there
        end = min(last, max((number for number in ids if number >= first), default=first + _ROWS_PER_PAGE - 1))
    return page_of(outcomes, ids, (first, end), first, last)


def outcome_of_trade(row: Any, exchange: str, symbol: str, latest_ms: int) -> Outcome:
    """What one row of `trades` and `historicalTrades` is."""
    if not isinstance(row, dict):
        return Outcome(rejected=Reason.MALFORMED)
    trade = Trade(
        exchange=exchange,
        symbol=symbol,
        price=numeral(row.get("price")),
        quantity=numeral(row.get("qty")),
        timestamp=time_ms(row.get("time")),
        trade_id=integer(row.get("id")),
        is_buyer_maker=side(row.get("isBuyerMaker")),
    )
    return judged(trade, latest_ms)


def newest(product: str) -> Request:
    """The newest trade: the last one that the newest aggregate trade is made of."""
    return Request(f"/api/v3/aggTrades?symbol={_quoted(product)}&limit=1", 4)


def newest_of(answer: Any) -> tuple[int, int] | None:
    """The id and time in ms of the newest trade (`l`, `T`)."""
    row = answer[-1] if isinstance(answer, list) and answer else None
    found = (integer(row.get("l")), time_ms(row.get("T"))) if isinstance(row, dict) else (NOT_A_TIME, NOT_A_TIME)
    return found if min(found) >= 0 else None


def since(product: str, time_ms: int) -> Request:
    """The first trade at or after a time."""
    return Request(f"/api/v3/aggTrades?symbol={_quoted(product)}&startTime={time_ms}&limit=1", 4)


def since_of(answer: Any) -> int | None:
    """The first id (`f`) of the first aggregate trade."""
    row = answer[0] if isinstance(answer, list) and answer else None
    number = integer(row.get("f")) if isinstance(row, dict) else -1
    return number if number >= 0 else None


HISTORY = History(
    weight_per_minute=4800,  # of 6000 per address: others may share it
    page=page,
    read=read_page,
    newest=newest,
    newest_of=newest_of,
    since=since,
    since_of=since_of,
)


def _quoted(product: str) -> str:
    return quote(product, safe="")


def _trade_of(data: Message, exchange: str, latest_ms: int) -> Outcome:
    if data.get("X", "MARKET") != "MARKET":
        return Outcome(passed_over="non-market trade")
    trade = Trade(
        exchange=exchange,
        symbol=text(data.get("s")),
        price=numeral(data.get("p")),
        quantity=numeral(data.get("q")),
        timestamp=time_ms(data.get("T")),
        trade_id=integer(data.get("t")),
        is_buyer_maker=side(data.get("m")),
    )
    return judged(trade, latest_ms)


def _unnamed(data: Message) -> str:
    if "lastUpdateId" in data:
        return "snapshot"
    return "reply" if "result" in data else UNKNOWN


PROTOCOL = Protocol(
    outcome_of=outcome_of,
    stream_path="/stream",
    listing_path="/api/v3/exchangeInfo",
    products_of=products_of,
    subscriptions=subscriptions,
    products_per_connection=STREAMS_PER_CONNECTION,
    greeting_interval_s=CONTROL_INTERVAL_S,
    patience=Patience(silence_s=120),  # a market may rest; a dead connection fails to answer pings sooner
    history=HISTORY,
    short_way=binance_trade,
    life_s=LIFE_S,
    clock=Clock("/api/v3/time", clock_of),
)
