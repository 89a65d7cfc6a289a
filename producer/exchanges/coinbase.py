"""Coinbase Exchange's frames as trades (docs.cdp.coinbase.com/exchange: "WebSocket Channels", matches and heartbeat).

    {"type":"match","trade_id":280232,"maker_order_id":"…","taker_order_id":"…","side":"sell","size":"985",
     "price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}

`side` is the maker's: on `buy` the buyer made the trade. `trade_id` is consecutive per product, `sequence` counts all
events of the book. After the subscription comes one `last_match` per product, a trade that is usually known already.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any
from urllib.parse import quote

from market.trade import TRADE_ID_LIMIT, Reason, Trade, is_symbol
from producer.exchanges.fast import coinbase_match
from producer.exchanges.history import History, Page, Request, page_of, rows_of
from producer.exchanges.outcome import (
    NOT_A_TIME,
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
from producer.exchanges.protocol import Patience, Protocol

CHANNELS = ("matches", "heartbeat")
PRODUCTS_PER_CONNECTION = 500

_ROWS_PER_PAGE = 1000

_TIME = re.compile(
    "([0-9]{4})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:[.]([0-9]{1,9}))?(?:Z|[+]00:00)"
)
_PRODUCT = re.compile("(?<![A-Za-z0-9-])[A-Z0-9]{1,20}-[A-Z0-9]{1,20}(?![A-Za-z0-9-])")
_NO_PRODUCT = re.compile("invalid product|not a valid product", re.IGNORECASE)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_OTHER_KINDS = frozenset(
    {"subscriptions", "heartbeat", "ticker", "snapshot", "l2update", "received", "open", "done", "change", "activate"}
)


def outcome_of(message: Message, exchange: str, latest_ms: int) -> Outcome:
    """What one message of the feed is."""
    kind = message.get("type")
    if kind in ("match", "last_match"):
        return _trade_of(message, exchange, latest_ms)._replace(is_retold=kind == "last_match")
    if kind == "heartbeat":
        clock_ms = time_ms(message.get("time"))
        return Outcome(
            passed_over="heartbeat",
            clock_ms=None if clock_ms == NOT_A_TIME else clock_ms,
            newest=_newest_told(message),
        )
    if kind == "error":
        return error_of(message)
    return Outcome(passed_over=kind_of(kind))


def error_of(message: Message) -> Outcome:
    """What the exchange complains of, and the product that it means, if it names one.

    Older texts name none: `Invalid product ID provided`, as message or as reason.
    """
    told = text(message.get("reason")), text(message.get("message"))
    match = _PRODUCT.search(told[0]) or _PRODUCT.search(told[1])
    return Outcome(
        passed_over="error",
        complaint=complaint_of(message, "message", "reason"),
        refused_product=match[0] if match else None,
        refused_some=not match and any(_NO_PRODUCT.search(part) for part in told),
    )


def time_ms(value: object) -> int:
    """An ISO-8601 time in UTC with any number of decimals, in ms since the epoch, floored; by whole numbers alone."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        return NOT_A_TIME
    year, month, day, hour, minute, second = (int(group) for group in match.groups()[:6])
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return NOT_A_TIME
    fraction = (match[7] or "").ljust(3, "0")[:3]
    return (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + int(fraction)


def market_of(message: Message) -> str | None:
    """Whether a recorded message proves itself to be from this feed: each names its type."""
    kind = message.get("type")
    known = isinstance(kind, str) and (kind in ("match", "last_match") or kind in _OTHER_KINDS)
    return "coinbase" if known else None


def subscriptions(products: Sequence[str]) -> list[str]:
    """The one message that subscribes to some products. Sent within 5 s of connecting, or the exchange hangs up."""
    return [json.dumps({"type": "subscribe", "product_ids": list(products), "channels": list(CHANNELS)})]


def products_of(listing: Any) -> Iterator[str]:
    """The products that `/products` lists as online."""
    rows: Iterable[Any] = listing
    return (row["id"] for row in rows if row.get("status", "online") == "online")


def page(product: str, first: int, last: int) -> Request:
    """The newest trades up to `last`: `after` means ids below it. `before` means the newest of all, not the next."""
    limit = min(last - first + 1, _ROWS_PER_PAGE)
    return Request(f"/products/{quote(product, safe='')}/trades?after={last + 1}&limit={limit}", 1)


def read_page(answer: Any, exchange: str, product: str, first: int, last: int, latest_ms: int) -> Page:
    """The page that `trades` answered, in ascending order. Raises ValueError where it is no list.

    Rows descend from the newest id below the cursor. A page may hold fewer rows than we asked for, and then speaks
    down to its last one; an empty one says that none is left.
    """
    rows = rows_of(answer)[::-1]
    outcomes = [outcome_of_trade(row, exchange, product, latest_ms) for row in rows]
    ids = [integer(row.get("trade_id")) if isinstance(row, dict) else -1 for row in rows]
    begin = first
    if rows:  # not one that can be read: all that such a page can have held is then counted as not there
        begin = max(first, min((number for number in ids if 0 <= number <= last), default=last - _ROWS_PER_PAGE + 1))
    return page_of(outcomes, ids, (begin, last), first, last)


def outcome_of_trade(row: Any, exchange: str, product: str, latest_ms: int) -> Outcome:
    """What one row of `trades` is: a match without its product. Its side is the maker's too."""
    return (
        _trade_of({**row, "product_id": product}, exchange, latest_ms)
        if isinstance(row, dict)
        else Outcome(rejected=Reason.MALFORMED)
    )


def newest(product: str) -> Request:
    """The newest trade."""
    return Request(f"/products/{quote(product, safe='')}/trades?limit=1", 1)


def newest_of(answer: Any) -> tuple[int, int] | None:
    """The id and time in ms of the newest trade."""
    row = answer[0] if isinstance(answer, list) and answer else None
    found = (integer(row.get("trade_id")), time_ms(row.get("time"))) if isinstance(row, dict) else (-1, NOT_A_TIME)
    return found if min(found) >= 0 else None


HISTORY = History(
    weight_per_minute=480,  # of 10 requests a second per address: others may share it
    page=page,
    read=read_page,
    newest=newest,
    newest_of=newest_of,
)


def _newest_told(beat: Message) -> tuple[str, int] | None:
    """A heartbeat's last trade. It was 0 for months once, with trades going on: 0 tells nothing."""
    symbol, number = symbol_of(beat.get("product_id")), integer(beat.get("last_trade_id"))
    return (symbol, number) if is_symbol(symbol) and 0 < number < TRADE_ID_LIMIT else None


def symbol_of(product: object) -> str:
    """A product as our symbol."""
    return text(product).replace("-", "")


def _trade_of(message: Message, exchange: str, latest_ms: int) -> Outcome:
    trade = Trade(
        exchange=exchange,
        symbol=symbol_of(message.get("product_id")),
        price=numeral(message.get("price")),
        quantity=numeral(message.get("size")),
        timestamp=time_ms(message.get("time")),
        trade_id=integer(message.get("trade_id")),
        is_buyer_maker=side({"buy": True, "sell": False}.get(text(message.get("side")))),
    )
    return judged(trade, latest_ms)


PROTOCOL = Protocol(
    outcome_of=outcome_of,
    stream_path="/",
    listing_path="/products",
    products_of=products_of,
    subscriptions=subscriptions,
    products_per_connection=PRODUCTS_PER_CONNECTION,
    greeting_interval_s=1.0,
    patience=Patience(silence_s=10),  # every product sends a heartbeat each second
    history=HISTORY,
    short_way=coinbase_match,
)
