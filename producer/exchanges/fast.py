"""The short way for the frames that come most: a trade, read by a decoder that knows its form.

A short way answers only where it is sure, and then says what the mapper says: a valid trade, written as the exchange
writes it. Everything else gets None, and is the mapper's to judge; so no rule stands here, nor any reason.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec

from market.trade import Trade, problem_of
from producer.exchanges.outcome import Outcome

ShortWay = Callable[[str | bytes, str, int], Outcome | None]
"""(frame, exchange, latest_ms) → what the mapper makes of it, or None where that is not sure."""

_LONGEST_FRAME = 512
"""Characters; 150 to 300 are usual. Nothing so short nests too deep, or holds a number too long, for the mapper."""
_MICROSECONDS_FROM = 10**15
_MILLISECONDS_BELOW = 10**14


class _BinanceTrade(msgspec.Struct, gc=False):
    kind: Literal["trade"] = msgspec.field(name="e")
    symbol: str = msgspec.field(name="s")
    price: str = msgspec.field(name="p")
    quantity: str = msgspec.field(name="q")
    trade_id: int = msgspec.field(name="t")
    time: int = msgspec.field(name="T")
    is_buyer_maker: bool = msgspec.field(name="m")
    market: Literal["MARKET"] = msgspec.field(name="X", default="MARKET")
    stream: None = None  # only the wrapper has one


class _Combined(msgspec.Struct, gc=False):
    stream: str
    data: _BinanceTrade


class _CoinbaseMatch(msgspec.Struct, gc=False):
    kind: Literal["match"] = msgspec.field(name="type")
    product: str = msgspec.field(name="product_id")
    price: str
    size: str
    trade_id: int
    time: str
    side: Literal["buy", "sell"]


_raw = msgspec.json.Decoder(_BinanceTrade).decode
_combined = msgspec.json.Decoder(_Combined).decode
_match = msgspec.json.Decoder(_CoinbaseMatch).decode


def binance_trade(frame: str | bytes, exchange: str, latest_ms: int) -> Outcome | None:
    """A trade frame of Binance, raw or wrapped by the combined stream, with times in ms or µs."""
    if len(frame) > _LONGEST_FRAME or not frame.isascii():  # the decoder passes over what it need not know, unread
        return None
    try:
        if frame[2:8] in ("stream", b"stream"):
            combined = _combined(frame)
            if not combined.stream.endswith("@trade"):
                return None
            data = combined.data
        else:
            data = _raw(frame)
    except msgspec.DecodeError:
        return None
    time_ms = data.time
    if time_ms >= _MILLISECONDS_BELOW:
        if not _MICROSECONDS_FROM <= time_ms < _MILLISECONDS_BELOW * 1000:
            return None
        time_ms //= 1000
    return _judged(
        Trade(exchange, data.symbol, data.price, data.quantity, time_ms, data.trade_id, data.is_buyer_maker), latest_ms
    )


def coinbase_match(frame: str | bytes, exchange: str, latest_ms: int) -> Outcome | None:
    """A match of Coinbase Exchange."""
    if len(frame) > _LONGEST_FRAME or not frame.isascii():
        return None
    try:
        match = _match(frame)
    except msgspec.DecodeError:
        return None
    time = match.time
    decimals = time[20:-1]
    if time[19:20] != "." or time[-1] != "Z" or not 3 <= len(decimals) <= 9:
        return None
    if not (decimals.isascii() and decimals.isdigit()):  # an escape may have brought a digit of another script
        return None
    second_ms = _second_ms(time[:19])
    if second_ms is None:
        return None
    return _judged(
        Trade(
            exchange,
            match.product.replace("-", ""),
            match.price,
            match.size,
            second_ms + int(decimals[:3]),
            match.trade_id,
            match.side == "buy",
        ),
        latest_ms,
    )


def _judged(trade: Trade, latest_ms: int) -> Outcome | None:
    return Outcome((trade,)) if problem_of(trade, latest_ms) is None else None


@lru_cache(maxsize=64)
def _second_ms(text: str) -> int | None:
    """A second such as 2021-04-17T16:43:37, UTC, in ms since the epoch. Trades of one second share it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Other ways to write a time are read too: only the one that is written back the same is sure.
    return int(moment.replace(tzinfo=UTC).timestamp()) * 1000 if moment.isoformat() == text else None
