"""Trades, and records of Kafka's with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from market.latest import line_of
from market.trade import Trade
from prices.chunks import Chunk

NOW_MS = 1_762_702_223_000
BTC = ("binance", "BTCUSDT")


@dataclass
class Record:
    """A record as the consumer hands it over."""

    offset: int
    value: bytes | None
    timestamp: int = NOW_MS


def trade(number: int, *, at: int | None = None, price: str = "", symbol: str = "BTCUSDT") -> Trade:
    """A trade whose time and price follow from its number, unless they are given."""
    time = NOW_MS + 10 * number if at is None else at
    return Trade("binance", symbol, price or f"{40_000 + number}.50", "0.10", time, number, number % 2 == 0)


def record(offset: int, *content: Any, at: int | None = None) -> Record:
    """A record of trades or of anything else, as one object or as an array of several."""
    plain = [one._asdict() if isinstance(one, Trade) else one for one in content]
    value = json.dumps(plain[0] if len(plain) == 1 else plain).encode()
    latest = max((one.timestamp for one in content if isinstance(one, Trade)), default=NOW_MS)
    return Record(offset, value, latest if at is None else at)


def chunk(trades: Sequence[Trade], *, start: int = 0, end: int | None = None) -> Chunk:
    """A chunk of trades, each a record of its own."""
    made = Chunk(start, start + len(trades) if end is None else end)
    for one in trades:
        made.add(one, one.timestamp + 5)
    return made


def line(one: Trade) -> str:
    """As `chunk` writes it."""
    return line_of(one, one.timestamp + 5)
