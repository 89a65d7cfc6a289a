"""Latest prices in Redis: its keys, and how a trade is written there. `prices` writes them, `serve` reads them.

    price:{exchange}:{symbol}    hash: the newest trade of a symbol, by (timestamp, trade_id)
    trades:{exchange}:{symbol}   stream: its last trades, in the order in which they came, each once
    prices                       set: "{exchange}:{symbol}" of each that has a price
    prices:news                  stream: one entry for each write, with the trades that were new in it, for followers
    prices:positions             hash: "{topic}:{partition}" → the offset before which every record is in here
    prices:topics                hash: "{topic}:{partition}" → the id of the topic that this position is one of
    prices:heartbeats            hash: "{exchange}:{topic}:{partition}" → the newest heartbeat of an exchange in it

A trade is one line there: `timestamp trade_id price quantity is_buyer_maker kafka_time`. Decimals are the exchange's
own text; only exponents are written out, so that no reader meets one.

Redis is a cache: all of this can be made again from the topic. `prices:positions` is written together with the prices,
so that it tells whether Redis has lost something, be it everything or the last minutes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlsplit

from market.trade import Trade

KNOWN = "prices"
NEWS = "prices:news"
POSITIONS = "prices:positions"
TOPICS = "prices:topics"
HEARTBEATS = "prices:heartbeats"

TRADE = "trade"
"""The one field of an entry in a stream of trades; an entry of the news has a field for each symbol."""

PRICE_FIELDS = ("price", "quantity", "timestamp", "trade_id", "is_buyer_maker", "kafka_time")
"""Of the hash of a price, what it tells of its trade. The others tell which ids have come."""
NEWEST_ID = "newest_id"
"""The highest one that has come, since the exchange's numbers began."""

_is_decimal = re.compile("(?:0|[1-9][0-9]{0,19})(?:[.][0-9]{1,20})?").fullmatch


class Price(NamedTuple):
    """The newest trade of one symbol, by (timestamp, trade_id)."""

    exchange: str
    symbol: str
    price: str
    quantity: str
    timestamp: int
    """The exchange's trade time, milliseconds since the epoch."""
    trade_id: int
    is_buyer_maker: bool
    kafka_time: int
    """When Kafka got it, milliseconds since the epoch."""


def name_of(exchange: str, symbol: str) -> str:
    """A symbol of an exchange, as keys and fields bear it."""
    return f"{exchange}:{symbol}"


def price_key(exchange: str, symbol: str) -> str:
    """The hash of a symbol's newest trade."""
    return f"price:{exchange}:{symbol}"


def trades_key(exchange: str, symbol: str) -> str:
    """The stream of a symbol's last trades."""
    return f"trades:{exchange}:{symbol}"


def position_field(topic: str, partition: int) -> str:
    """Where the position of a partition stands in `POSITIONS`, and the id of its topic in `TOPICS`."""
    return f"{topic}:{partition}"


def heartbeat_field(exchange: str, position: str) -> str:
    """Where an exchange's heartbeat of the partition with this position stands in `HEARTBEATS`."""
    return f"{exchange}:{position}"


def line_of(trade: Trade, kafka_time: int) -> str:
    """A trade as a line."""
    _, _, price, quantity, timestamp, trade_id, is_buyer_maker = trade
    side = "true" if is_buyer_maker else "false"
    return f"{timestamp} {trade_id} {_plain(price)} {_plain(quantity)} {side} {kafka_time}"


def trade_of(exchange: str, symbol: str, line: str) -> Trade:
    """The trade of a line. Raises `ValueError` for what is none."""
    timestamp, trade_id, price, quantity, side, _ = line.split(" ")
    return Trade(exchange, symbol, _decimal(price), _decimal(quantity), int(timestamp), int(trade_id), _is_true(side))


def price_of(exchange: str, symbol: str, values: Sequence[str | None]) -> Price | None:
    """The price that the values of `PRICE_FIELDS` tell; None where there is none. Raises `ValueError` for nonsense."""
    if values[0] is None:
        return None
    price, quantity, timestamp, trade_id, side, kafka_time = (value or "" for value in values)
    return Price(
        exchange,
        symbol,
        _decimal(price),
        _decimal(quantity),
        int(timestamp),
        int(trade_id),
        _is_true(side),
        int(kafka_time),
    )


def address_of(url: str) -> str:
    """A Redis's URL as it may be shown: without user, password and options."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{place}{parts.path}"


def _plain(text: str) -> str:
    """A decimal without an exponent."""
    return format(Decimal(text), "f") if "e" in text or "E" in text else text


def _decimal(text: str) -> str:
    if not _is_decimal(text):
        raise ValueError(f"{text[:50]!r} is no decimal")
    return text


def _is_true(side: str) -> bool:
    if side not in ("true", "false"):
        raise ValueError(f"{side!r} is neither true nor false")
    return side == "true"
