"""Records, good and odd, each with what a reader must make of it: written down by hand, for every reader."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from market.trade import Element, Heartbeat, Reason, Rejected, Trade

KAFKA_MS = 1_762_702_224_000
TOLERANCE_MS = 2_000
GOOD: dict[str, Any] = {
    "exchange": "binance",
    "symbol": "BTCUSDT",
    "price": "42150.50",
    "quantity": "0.05234000",
    "timestamp": 1_762_702_223_123,
    "trade_id": 12_345_678,
    "is_buyer_maker": False,
}
TRADE = Trade(**GOOD)


class Case(NamedTuple):
    """A record's value and the elements it holds."""

    name: str
    value: bytes | None
    elements: list[Element]


def _bad(name: str, reason: str, **fields: Any) -> Case:
    return Case(name, json.dumps(GOOD | fields).encode(), [Rejected(reason)])


def _good(name: str, expected: Trade, **fields: Any) -> Case:
    return Case(name, json.dumps(GOOD | fields).encode(), [expected])


def _raw(name: str, value: bytes | None, *elements: Element) -> Case:
    return Case(name, value, list(elements))


def _priced(literal: str) -> bytes:
    """The good trade, with its price written as this literal and without quotes."""
    return json.dumps(GOOD).replace('"42150.50"', literal).encode()


_ONE = json.dumps(GOOD).encode()
_MALFORMED = Rejected(Reason.MALFORMED)

CASES = [
    _good("price as a number", TRADE._replace(price="42150.5"), price=42150.5),
    _raw(
        "a number of 16 digits, which no double holds",
        _priced("12345678.12345678"),
        TRADE._replace(price="12345678.12345678"),
    ),
    _raw("a number of 18 digits", _priced("9999999999.99999999"), TRADE._replace(price="9999999999.99999999")),
    _raw("a number with an exponent", _priced("1e-8"), TRADE._replace(price="1e-8")),
    _good("text with an exponent", TRADE._replace(price="1E2"), price="1E2"),
    _good("largest quantity", TRADE._replace(quantity="99999999999.99999999"), quantity="99999999999.99999999"),
    _good("largest id", TRADE._replace(trade_id=2**53 - 1), trade_id=2**53 - 1),
    _good("id as text", TRADE._replace(trade_id=7), trade_id="7"),
    _good("time as text", TRADE, timestamp="1762702223123"),
    _good("side as text", TRADE._replace(is_buyer_maker=True), is_buyer_maker="true"),
    _good("fields nobody knows", TRADE, stream={"price": "5"}, ratio=0.1, list=[1, {"quantity": 2}]),
    _good("2010 is not too old", TRADE._replace(timestamp=1_262_304_000_000), timestamp=1_262_304_000_000),
    _raw("space around", b" \t\r\n" + _ONE + b"\n ", TRADE),
    _raw("the last of two equal keys", _priced('"1","price":"2"'), TRADE._replace(price="2")),
    _raw("an array of two", b"[" + _ONE + b"," + _ONE + b"]", TRADE, TRADE),
    _raw("an array of one", b"[" + _ONE + b"]", TRADE),
    _raw("a heartbeat", b'{"exchange":"coinbase","heartbeat":1762702224000}', Heartbeat("coinbase", 1_762_702_224_000)),
    _raw(
        "bad ones among good ones",
        json.dumps([GOOD, GOOD | {"price": "x"}, GOOD | {"price": 0.30000000000000004}, None]).encode(),
        TRADE,
        Rejected(Reason.PRICE),
        Rejected(Reason.PRICE_SCALE),
        _MALFORMED,
    ),
    _raw("no value", None, Rejected(Reason.NO_VALUE)),
    _raw("an empty value", b"", Rejected(Reason.NO_VALUE)),
    _raw("space alone", b"  ", _MALFORMED),
    _raw("an empty array", b"[]", Rejected(Reason.EMPTY)),
    _raw("an empty object", b"{}", Rejected(Reason.EXCHANGE)),
    _raw("a number", b"5", _MALFORMED),
    _raw("text", b'"x"', _MALFORMED),
    _raw("null", b"null", _MALFORMED),
    _raw("an array of numbers", b"[1]", _MALFORMED),
    _raw("an array in an array", b"[[" + _ONE + b"]]", _MALFORMED),
    _raw("cut off", _ONE[:-1], _MALFORMED),
    _raw("an array cut off", b"[" + _ONE + b"," + _ONE[:9], _MALFORMED),
    _raw("two objects in a row", _ONE + _ONE, _MALFORMED),
    _raw("two objects on two lines", _ONE + b"\n" + _ONE, _MALFORMED),
    _raw("two objects and a comma", _ONE + b"," + _ONE, _MALFORMED),
    _raw("an object and a key", _ONE + b',"x":1', _MALFORMED),
    _raw("an array and a key", b"[" + _ONE + b'],"x":1', _MALFORMED),
    _raw("words behind", _ONE + b" x", _MALFORMED),
    _raw("words behind an array", b"[" + _ONE + b"] x", _MALFORMED),
    _raw("a byte order mark", b"\xef\xbb\xbf" + _ONE, _MALFORMED),
    _raw("no UTF-8 in the symbol", _ONE.replace(b"BTC", b"\xff"), Rejected(Reason.SYMBOL)),
    _raw("a thousand levels", b'{"a":' * 1200 + b"1" + b"}" * 1200, _MALFORMED),
    _raw("a number with a leading zero", _priced("01.5"), _MALFORMED),
    _bad("unknown exchange", Reason.EXCHANGE, exchange="kraken"),
    _bad("exchange in capitals", Reason.EXCHANGE, exchange="BINANCE"),
    _bad("no exchange", Reason.EXCHANGE, exchange=None),
    _bad("heartbeat as a word", Reason.HEARTBEAT, heartbeat="x"),
    _bad("heartbeat from the future", Reason.FUTURE, heartbeat=KAFKA_MS + TOLERANCE_MS + 1),
    _bad("heartbeat of the most digits", Reason.FUTURE, heartbeat=9_999_999_999_999_999),
    _bad("heartbeat in seconds", Reason.TOO_OLD, heartbeat=1_762_702_224),
    _bad("symbol in lower case", Reason.SYMBOL, symbol="btcusdt"),
    _bad("symbol with a dash", Reason.SYMBOL, symbol="BTC-USD"),
    _bad("symbol with a line end", Reason.SYMBOL, symbol="BTCUSDT\n"),
    _bad("symbol too long", Reason.SYMBOL, symbol="A" * 21),
    _bad("no symbol", Reason.SYMBOL, symbol=None),
    _bad("a word for a price", Reason.PRICE, price="x"),
    _bad("a comma in a price", Reason.PRICE, price="42,150.50"),
    _bad("a decimal comma", Reason.PRICE, price="1,5"),
    _bad("an empty price", Reason.PRICE, price=""),
    _bad("a price with a space", Reason.PRICE, price=" 1"),
    _bad("a price with a plus", Reason.PRICE, price="+1"),
    _bad("a price without digits behind the point", Reason.PRICE, price="1."),
    _bad("a price without digits before the point", Reason.PRICE, price=".5"),
    _bad("digits of another script", Reason.PRICE, price="٣"),
    _bad("NaN as text", Reason.PRICE, price="NaN"),
    _bad("NaN", Reason.PRICE, price=float("nan")),
    _bad("infinity", Reason.PRICE, price=float("inf")),
    _bad("an object for a price", Reason.PRICE, price={"price": 5}),
    _bad("an array for a price", Reason.PRICE, price=[1]),
    _bad("true for a price", Reason.PRICE, price=True),
    _bad("no price", Reason.PRICE, price=None),
    _bad("a price too long", Reason.PRICE, price="1.00000000000000000000000001"),
    _raw("a number too long", _priced("1" + "0" * 500), Rejected(Reason.PRICE)),
    _raw("an exponent too large", _priced("1e999999999"), Rejected(Reason.PRICE)),
    _raw("an exponent too small", _priced("1e-999999999"), Rejected(Reason.PRICE)),
    _bad("a price of zero", Reason.PRICE_SIGN, price="0.00"),
    _bad("a negative price", Reason.PRICE_SIGN, price="-1"),
    _bad("a price with nine decimals", Reason.PRICE_SCALE, price="1.123456789"),
    _bad("a price of almost nothing", Reason.PRICE_SCALE, price="1e-40"),
    _bad("a price of ten thousand millions", Reason.PRICE_RANGE, price="10000000000"),
    _bad("a price of 10^40", Reason.PRICE_RANGE, price="1e40"),
    _bad("a word for a quantity", Reason.QUANTITY, quantity="much"),
    _bad("a quantity of zero", Reason.QUANTITY_SIGN, quantity=0),
    _bad("a quantity with nine decimals", Reason.QUANTITY_SCALE, quantity="0.000000001"),
    _bad("a quantity of 10^11", Reason.QUANTITY_RANGE, quantity="100000000000"),
    _bad("an id of 2^53", Reason.TRADE_ID, trade_id=2**53),
    _bad("a negative id", Reason.TRADE_ID, trade_id=-1),
    _bad("an id with a fraction", Reason.TRADE_ID, trade_id=1.5),
    _bad("an id with a line end", Reason.TRADE_ID, trade_id="1\n"),
    _bad("no id", Reason.TRADE_ID, trade_id=None),
    _bad("no side", Reason.SIDE, is_buyer_maker=None),
    _bad("one for true", Reason.SIDE, is_buyer_maker=1),
    _bad("no time", Reason.TIMESTAMP, timestamp=None),
    _bad("a time with a fraction", Reason.TIMESTAMP, timestamp=1762702223123.0),
    _bad("a time in words", Reason.TIMESTAMP, timestamp="2025-11-09T15:30:23Z"),
    _bad("a time in seconds", Reason.TOO_OLD, timestamp=1_762_702_223),
    _bad("a time in microseconds", Reason.FUTURE, timestamp=1_762_702_223_123_000),
    _bad("a time of the most digits", Reason.FUTURE, timestamp=9_999_999_999_999_999),
    _bad("a time from the future", Reason.FUTURE, timestamp=KAFKA_MS + TOLERANCE_MS + 1),
    _good(
        "a time at the tolerance", TRADE._replace(timestamp=KAFKA_MS + TOLERANCE_MS), timestamp=KAFKA_MS + TOLERANCE_MS
    ),
]
