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

from market.trade import Trade
from producer.exchanges.outcome import NOT_A_TIME, Message, Outcome, integer, judged, kind_of, numeral, side, text

CHANNELS = ("matches", "heartbeat")
PRODUCTS_PER_CONNECTION = 500

_TIME = re.compile(
    "([0-9]{4})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:[.]([0-9]{1,9}))?(?:Z|[+]00:00)"
)
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
        return Outcome(passed_over="heartbeat", clock_ms=None if clock_ms == NOT_A_TIME else clock_ms)
    if kind == "error":
        complaint = {field: message.get(field) for field in ("message", "reason")}
        return Outcome(passed_over="error", complaint=json.dumps(complaint, ensure_ascii=True)[:500])
    return Outcome(passed_over=kind_of(kind))


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
    return "coinbase" if kind in ("match", "last_match") or kind in _OTHER_KINDS else None


def subscriptions(products: Sequence[str]) -> list[str]:
    """The one message that subscribes to some products. Sent within 5 s of connecting, or the exchange hangs up."""
    return [json.dumps({"type": "subscribe", "product_ids": list(products), "channels": list(CHANNELS)})]


def products_of(listing: Any) -> Iterator[str]:
    """The products that `/products` lists as online."""
    rows: Iterable[Any] = listing
    return (row["id"] for row in rows if row.get("status", "online") == "online")


def _trade_of(message: Message, exchange: str, latest_ms: int) -> Outcome:
    trade = Trade(
        exchange=exchange,
        symbol=text(message.get("product_id")).replace("-", ""),
        price=numeral(message.get("price")),
        quantity=numeral(message.get("size")),
        timestamp=time_ms(message.get("time")),
        trade_id=integer(message.get("trade_id")),
        is_buyer_maker=side({"buy": True, "sell": False}.get(text(message.get("side")))),
    )
    return judged(trade, latest_ms)
