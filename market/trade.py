"""A trade: its form as a Kafka record, and the one rule of which trades are valid.

A record's value is UTF-8 JSON: one element, or an array of elements of one exchange and symbol. An element is a trade

    {"exchange":"binance","symbol":"BTCUSDT","price":"42150.50","quantity":"0.05234000",
     "timestamp":1762702223123,"trade_id":12345678,"is_buyer_maker":false}

or a heartbeat, which says how far the exchange's clock has come and is never a trade

    {"exchange":"binance","heartbeat":1762702224000}

Every consumer accepts both forms of a record and applies `problem_of`; `bars/parse.py` says the same in Spark's
functions, and `tests/bars/test_parse.py` holds the two together.

Almost every trade is plain: numerals without an exponent, fields as `record_of` writes them. Plain ones are accepted by
one pattern, which says no more than the rule does; whatever does not fit it is held to the rule itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

EXCHANGES = ("binance", "binance-usdm", "coinbase", "sim-binance", "sim-coinbase")

SYMBOL = "[A-Z0-9]{2,20}"
NUMERAL = "-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]{1,2})?"
"""A price or quantity as text: a JSON number. Two digits of exponent: 1e-999999999 would cost a gigabyte to round."""
NUMERAL_LENGTH = 20
"""Every numeral in range and written plainly fits: 11 digits, the point, 8 decimals."""
INTEGER = "0|[1-9][0-9]{0,15}"

DECIMALS = 8
PRICE_LIMIT = Decimal(10) ** 10  # DECIMAL(18,8)
QUANTITY_LIMIT = Decimal(10) ** 11  # DECIMAL(19,8); price times quantity is then exactly DECIMAL(38,16)
TRADE_ID_LIMIT = 2**53
EARLIEST_MS = 1_262_304_000_000  # 2010-01-01T00:00Z: a time in seconds, or none, is no trade time


class Trade(NamedTuple):
    """One trade, as the exchange printed it. Prices and quantities stay text: only text is exact everywhere."""

    exchange: str
    symbol: str
    price: str
    quantity: str
    timestamp: int
    """The exchange's trade time, milliseconds since the epoch (finer times floored)."""
    trade_id: int
    """Unique per exchange and symbol, and the tie-break within a millisecond."""
    is_buyer_maker: bool


class Heartbeat(NamedTuple):
    """The exchange's clock, milliseconds since the epoch: advances the watermark when nobody trades."""

    exchange: str
    heartbeat: int


class Rejected(NamedTuple):
    """An element that is neither a trade nor a heartbeat, and why."""

    reason: str


Element = Trade | Heartbeat | Rejected


class Reason:
    """Every reason for which an element is rejected, in the order in which they are looked for."""

    NO_VALUE = "the record has no value"
    MALFORMED = "not JSON, or not one object or an array of objects"
    EMPTY = "an array without elements"
    EXCHANGE = "exchange is missing or unknown"
    HEARTBEAT = "heartbeat is not a time in milliseconds"
    SYMBOL = "symbol is missing or not 2 to 20 of A-Z and 0-9"
    PRICE = "price is missing or not a decimal number of at most 20 characters"
    PRICE_SIGN = "price is not above zero"
    PRICE_SCALE = "price has more than 8 decimals"
    PRICE_RANGE = "price is not below 10^10"
    QUANTITY = "quantity is missing or not a decimal number of at most 20 characters"
    QUANTITY_SIGN = "quantity is not above zero"
    QUANTITY_SCALE = "quantity has more than 8 decimals"
    QUANTITY_RANGE = "quantity is not below 10^11"
    TRADE_ID = "trade_id is missing or not an integer in [0, 2^53)"
    SIDE = "is_buyer_maker is missing or not true or false"
    TIMESTAMP = "timestamp is missing or not an integer"
    TOO_OLD = "timestamp is before 2010 (milliseconds since the epoch are expected)"
    FUTURE = "timestamp is later than the record's Kafka time and the tolerance"


CONFLICT = "conflict: an earlier element has the same exchange, symbol and trade_id, and other content"
"""Why a valid trade is rejected: for another one, so that no element shows it alone."""


_PATTERNS = {
    name: re.compile(pattern) for name, pattern in (("symbol", SYMBOL), ("numeral", NUMERAL), ("integer", INTEGER))
}

_BELOW_ONE = "0[.](?=0*[1-9])[0-9]{1,8}"
_PLAIN_PRICE = f"(?:[1-9][0-9]{{0,9}}(?:[.][0-9]{{1,8}})?|{_BELOW_ONE})"
_PLAIN_QUANTITY = f"(?:[1-9][0-9]{{0,10}}(?:[.][0-9]{{1,8}})?|{_BELOW_ONE})"
_is_plain = re.compile(f"{SYMBOL} {_PLAIN_PRICE} {_PLAIN_QUANTITY}").fullmatch
"""One pattern for three fields, which a blank parts: no field can hold one."""
PLAIN = (
    f'\\{{"exchange":"({"|".join(EXCHANGES)})","symbol":"({SYMBOL})","price":"({_PLAIN_PRICE})",'
    f'"quantity":"({_PLAIN_QUANTITY})","timestamp":({INTEGER}),"trade_id":({INTEGER}),"is_buyer_maker":(true|false)\\}}'
)
"""A trade as `record_of` writes it, which is valid but for the bounds of its id and its time. Java reads it alike."""
_plain_elements = re.compile(f"({PLAIN})").findall


def read_record(value: bytes | None, kafka_time_ms: int, tolerance_ms: int) -> list[Element]:
    """The elements of one Kafka record, in order; an unreadable record is one `Rejected`.

    `kafka_time_ms` is the record's Kafka timestamp: a time later than it by more than `tolerance_ms` would run the
    watermark ahead of every other trade. Old is not invalid: recordings of years ago are replayed exactly.
    """
    if not value:
        return [Rejected(Reason.NO_VALUE)]
    text = value.decode("utf-8", errors="replace")
    if trades := _read_plain(text, kafka_time_ms + tolerance_ms):
        return trades
    try:
        content = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return [Rejected(Reason.MALFORMED)]
    if not isinstance(content, list | dict):
        return [Rejected(Reason.MALFORMED)]
    elements = content if isinstance(content, list) else [content]
    if not all(element is None or isinstance(element, dict) for element in elements):
        return [Rejected(Reason.MALFORMED)]
    if not elements:
        return [Rejected(Reason.EMPTY)]
    return [_read_element(element, kafka_time_ms + tolerance_ms) for element in elements]


def record_of(trade: Trade) -> bytes:
    """The value of a record of one valid trade, in the form of an object."""
    exchange, symbol, price, quantity, timestamp, trade_id, is_buyer_maker = trade
    # What is valid needs no escaping, and json.dumps takes seven times as long to find that out.
    return (
        f'{{"exchange":"{exchange}","symbol":"{symbol}","price":"{price}","quantity":"{quantity}","timestamp":{timestamp},'
        f'"trade_id":{trade_id},"is_buyer_maker":{"true" if is_buyer_maker else "false"}}}'
    ).encode()


def batch_record_of(trades: Sequence[Trade]) -> bytes:
    """The value of a record of valid trades of one exchange and symbol, in the form of an array."""
    exchange, symbol = trades[0][:2]
    head = f'{{"exchange":"{exchange}","symbol":"{symbol}","price":"'
    elements = [
        f'{head}{price}","quantity":"{quantity}","timestamp":{timestamp},"trade_id":{trade_id},'
        f'"is_buyer_maker":{"true" if is_buyer_maker else "false"}}}'
        for _, _, price, quantity, timestamp, trade_id, is_buyer_maker in trades
    ]
    return f"[{','.join(elements)}]".encode()


def is_symbol(value: object) -> bool:
    """Whether a value is a symbol as trades bear it."""
    return isinstance(value, str) and _is("symbol", value)


def problem_of(trade: Trade, latest_ms: int) -> str | None:
    """Why a trade is not valid, or None; `latest_ms` is the latest time it may bear."""
    exchange, symbol, price, quantity, timestamp, trade_id, is_buyer_maker = trade
    if (
        type(timestamp) is type(trade_id) is int
        and EARLIEST_MS <= timestamp <= latest_ms
        and 0 <= trade_id < TRADE_ID_LIMIT
        and (is_buyer_maker is True or is_buyer_maker is False)
        and type(symbol) is type(price) is type(quantity) is str
        and exchange in EXCHANGES
        and _is_plain(f"{symbol} {price} {quantity}")
    ):
        return None
    element = _read_element(trade._asdict(), latest_ms)
    return element.reason if isinstance(element, Rejected) else None


def _read_plain(text: str, latest_ms: int) -> list[Element]:
    """The trades of a record that is written as we write them, valid without exception; else none."""
    found = _plain_elements(text)
    written = ",".join([element[0] for element in found])
    if text != (written if len(found) == 1 and text[0] == "{" else f"[{written}]"):  # nothing else may stand there
        return []
    trades: list[Element] = []
    for _, exchange, symbol, price, quantity, timestamp, trade_id, side in found:
        time_ms, number = int(timestamp), int(trade_id)
        if not EARLIEST_MS <= time_ms <= latest_ms or number >= TRADE_ID_LIMIT:
            return []
        trades.append(Trade(exchange, symbol, price, quantity, time_ms, number, side == "true"))
    return trades


def _read_element(fields: dict[str, Any] | None, latest_ms: int) -> Element:
    if fields is None:
        return Rejected(Reason.MALFORMED)
    exchange = _text(fields.get("exchange"))
    if exchange not in EXCHANGES:
        return Rejected(Reason.EXCHANGE)
    if fields.get("heartbeat") is not None:
        return _read_heartbeat(exchange, _text(fields["heartbeat"]), latest_ms)
    symbol = _text(fields.get("symbol"))
    if not _is("symbol", symbol):
        return Rejected(Reason.SYMBOL)
    price, quantity = _text(fields.get("price")), _text(fields.get("quantity"))
    reason = _numeral_problem(
        price, PRICE_LIMIT, Reason.PRICE, Reason.PRICE_SIGN, Reason.PRICE_SCALE, Reason.PRICE_RANGE
    ) or _numeral_problem(
        quantity,
        QUANTITY_LIMIT,
        Reason.QUANTITY,
        Reason.QUANTITY_SIGN,
        Reason.QUANTITY_SCALE,
        Reason.QUANTITY_RANGE,
    )
    if reason:
        return Rejected(reason)
    trade_id = _text(fields.get("trade_id"))
    if not _is("integer", trade_id) or int(trade_id) >= TRADE_ID_LIMIT:
        return Rejected(Reason.TRADE_ID)
    side = _text(fields.get("is_buyer_maker"))
    if side not in ("true", "false"):
        return Rejected(Reason.SIDE)
    time = _text(fields.get("timestamp"))
    if not _is("integer", time):
        return Rejected(Reason.TIMESTAMP)
    reason = _time_problem(int(time), latest_ms)
    if reason:
        return Rejected(reason)
    return Trade(exchange, symbol, price, quantity, int(time), int(trade_id), side == "true")


def _read_heartbeat(exchange: str, time: str, latest_ms: int) -> Element:
    if not _is("integer", time):
        return Rejected(Reason.HEARTBEAT)
    reason = _time_problem(int(time), latest_ms)
    return Rejected(reason) if reason else Heartbeat(exchange, int(time))


def _time_problem(time_ms: int, latest_ms: int) -> str | None:
    if time_ms < EARLIEST_MS:
        return Reason.TOO_OLD
    return Reason.FUTURE if time_ms > latest_ms else None


def _numeral_problem(text: str, limit: Decimal, shape: str, sign: str, scale: str, range_: str) -> str | None:
    if not _is("numeral", text) or len(text) > NUMERAL_LENGTH:
        return shape
    number = Decimal(text)
    if number <= 0:
        return sign
    if number >= limit:
        return range_
    return scale if number % Decimal("1e-8") else None


def _is(kind: str, text: str) -> bool:
    return _PATTERNS[kind].fullmatch(text) is not None


def _text(value: object) -> str:
    """A JSON value as text; what is neither text nor number nor true nor false fits no pattern."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else ""
