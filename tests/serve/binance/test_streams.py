"""Streams by name, control messages, and events, as binance-spot-api-docs, "WebSocket Streams for Binance", has them.

The form of errors is as clients have recorded it: `{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}`
(unicorn-binance-websocket-api#17).
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.bar import bars_of
from market.trade import Trade
from serve.binance import frames
from serve.binance.shapes import Day
from serve.binance.streams import MAX_STREAMS, Session, Stream, read_stream
from serve.marks import quiet
from tests.serve.binance.made import START_MS

HOUR_MS = 3_600_000

TRADE = Trade("binance", "BNBBTC", "0.001", "100", START_MS + 1, 12345, True)
(BAR,) = bars_of([TRADE, TRADE._replace(price="0.002", trade_id=12346, is_buyer_maker=False)])


@pytest.mark.parametrize(
    ("name", "stream"),
    [
        ("bnbbtc@trade", Stream("trade", "BNBBTC")),
        ("bnbbtc@kline_1s", Stream("kline", "BNBBTC", "1s")),
        ("bnbbtc@kline_12h", Stream("kline", "BNBBTC", "12h")),
        ("bnbbtc@kline_1d@+08:00", Stream("kline", "BNBBTC", "1d", 16 * HOUR_MS)),
        ("bnbbtc@kline_1h@+08:00", Stream("kline", "BNBBTC", "1h", 0)),
        ("bnbbtc@miniTicker", Stream("miniTicker", "BNBBTC")),
        ("bnbbtc@ticker", Stream("ticker", "BNBBTC")),
        ("!miniTicker@arr", Stream("!miniTicker@arr")),
        ("BNBBTC@trade", None),
        ("bnbbtc@kline_1w", None),
        ("bnbbtc@kline_7m", None),
        ("bnbbtc@kline_1d@+09:00", None),
        ("bnbbtc@aggTrade", None),
        ("bnbbtc@depth", None),
        ("bnbbtc@miniticker", None),
        ("0", None),  # what ccxt.pro puts into the address of a connection
        ("", None),
    ],
)
def test_a_name_says_what_is_streamed(name: str, stream: Stream | None) -> None:
    """Symbols in lower case; what is not there is taken without a word."""
    assert read_stream(name) == stream


def said(session: Session, message: Any) -> Any:
    """The reply to a message."""
    return json.loads(session.answer(message if isinstance(message, str) else json.dumps(message)))


def test_streams_can_be_asked_for_left_and_listed() -> None:
    """A stream counts once; `result` null means success."""
    session = Session(["btcusdt@trade"], combined=False)
    asked = {"method": "SUBSCRIBE", "params": ["btcusdt@kline_1s", "btcusdt@trade", "nope@trade"], "id": 1}
    assert said(session, asked) == {"result": None, "id": 1}
    left = {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade", "never@trade"], "id": 312}
    assert said(session, left) == {"result": None, "id": 312}
    listed = {"method": "LIST_SUBSCRIPTIONS", "id": 3}
    assert said(session, listed) == {"result": ["btcusdt@kline_1s", "nope@trade"], "id": 3}


def test_the_form_of_events_can_be_asked_for_and_changed() -> None:
    """SET_PROPERTY and GET_PROPERTY know `combined`."""
    session = Session([], combined=False)
    get = {"method": "GET_PROPERTY", "params": ["combined"], "id": 2}
    assert said(session, get) == {"result": False, "id": 2}
    assert said(session, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 5}) == {"result": None, "id": 5}
    assert said(session, get) == {"result": True, "id": 2}
    assert session.combined


@pytest.mark.parametrize("number", [7, -(2**63), 2**63 - 1, "a-b_C9", "x" * 36, None])
def test_ids_of_every_kind_come_back(number: Any) -> None:
    """64-bit integers, up to 36 letters and digits, null."""
    reply = said(Session([], combined=False), {"method": "LIST_SUBSCRIPTIONS", "id": number})
    assert reply == {"result": [], "id": number}


VARIANTS = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "Invalid value type: expected Boolean"),
        ({"method": "SET_PROPERTY", "params": ["combined"], "id": 1}, 1, "Invalid value type: expected Boolean"),
        ({"method": "GET_PROPERTY", "params": [1], "id": 1}, 2, "Invalid request: property name must be a string"),
        ({"method": "GET_PROPERTY", "id": 1}, 2, "Invalid request: property name must be a string"),
        ({"method": "GET_PROPERTY", "params": ["combined", 1], "id": 1}, 2, "Invalid request: too many parameters"),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "Invalid request: property name must be a string"),
        (
            {"method": "SUBSCRIBE", "params": [], "id": 1.5},
            2,
            "Invalid request: request ID must be an unsigned integer",
        ),
        (
            {"method": "SUBSCRIBE", "params": [], "id": "x" * 37},
            2,
            "Invalid request: request ID must be an unsigned integer",
        ),
        (
            '{"method":"subscribe","id":1}',
            2,
            f"Invalid request: unknown variant `subscribe`, expected one of {VARIANTS} at line 1 column 29",
        ),
        ('{"params":["btcusdt@trade"],"id":1}', 2, "Invalid request: missing field `method` at line 1 column 35"),
        ("[1]", 2, "Invalid request: invalid type, expected an object at line 1 column 3"),
        (
            '{"method":"SUBSCRIBE","params":"x"}',
            2,
            "Invalid request: invalid type, expected a sequence at line 1 column 35",
        ),
        ("hello", 3, "Invalid JSON: expected value at line 1 column 1"),
        ("", 3, "Invalid JSON: expected value at line 1 column 1"),
        ("[" * 100_000, 3, "Invalid JSON: expected value at line 1 column 1"),
    ],
)
def test_each_mistake_has_its_documented_code_and_words(message: Any, code: int, text: str) -> None:
    """And changes nothing."""
    session = Session(["btcusdt@trade"], combined=False)
    reply = said(session, message)
    assert reply["error"] == {"code": code, "msg": text}
    assert (list(session.names), session.combined) == (["btcusdt@trade"], False)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
methods = st.sampled_from(["SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY"]) | values
messages = st.fixed_dictionaries({}, optional={"method": methods, "params": st.lists(values) | values, "id": values})


@settings(max_examples=500)
@given(messages.map(json.dumps) | values.map(json.dumps) | st.text())
def test_whatever_is_sent_is_answered_in_binances_form(text: str) -> None:
    """A result or an error with a code and words; and the client goes on."""
    session = Session([], combined=False)
    reply = json.loads(session.answer(text))
    if "error" in reply:
        assert reply["error"].keys() == {"code", "msg"}
    else:
        assert reply.keys() == {"result", "id"}
    assert json.loads(session.answer('{"method":"LIST_SUBSCRIPTIONS","id":1}')) == {
        "result": list(session.names),
        "id": 1,
    }


def test_a_client_may_have_1024_streams_and_no_more() -> None:
    """Code 4; what was asked for before stays."""
    session = Session([f"s{number}@trade" for number in range(MAX_STREAMS)], combined=False)
    reply = said(session, {"method": "SUBSCRIBE", "params": ["one@trade"], "id": 19})
    assert reply == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}
    assert len(session.names) == MAX_STREAMS
    long = Session([], combined=False)
    assert "error" in said(long, {"method": "SUBSCRIBE", "params": ["x" * 100_001], "id": 1})


def test_a_trade_event_has_every_field() -> None:
    """Trade Streams. Order ids were removed in 2024."""
    event = json.loads(frames.trade_event(TRADE, START_MS + 2, 1_000))
    assert list(event.items()) == [
        ("e", "trade"),
        ("E", START_MS + 2),
        ("s", "BNBBTC"),
        ("t", 12345),
        ("p", "0.00100000"),
        ("q", "100.00000000"),
        ("T", START_MS + 1),
        ("m", True),
        ("M", True),
    ]
    micro = json.loads(frames.trade_event(TRADE, START_MS + 2, 1))
    assert (micro["E"], micro["T"]) == (1_000 * (START_MS + 2), 1_000 * (START_MS + 1))


def test_a_kline_event_has_every_field() -> None:
    """Kline/Candlestick Streams."""
    event = json.loads(frames.kline_event(BAR, "1m", 60_000, START_MS + 9, 1_000, closed=False))
    assert (event["e"], event["E"], event["s"]) == ("kline", START_MS + 9, "BNBBTC")
    assert list(event["k"].items()) == [
        ("t", START_MS),
        ("T", START_MS + 59_999),
        ("s", "BNBBTC"),
        ("i", "1m"),
        ("f", 12345),
        ("L", 12346),
        ("o", "0.00100000"),
        ("c", "0.00200000"),
        ("h", "0.00200000"),
        ("l", "0.00100000"),
        ("v", "200.00000000"),
        ("n", 2),
        ("x", False),
        ("q", "0.30000000"),
        ("V", "100.00000000"),
        ("Q", "0.20000000"),
        ("B", "0"),
    ]


def test_an_empty_second_has_ids_of_minus_one() -> None:
    """As recorded frames of the exchange have them."""
    event = json.loads(frames.kline_event(quiet(START_MS + 1_000, BAR), "1s", 1_000, START_MS, 1, closed=True))["k"]
    assert (event["f"], event["L"], event["n"], event["x"]) == (-1, -1, 0, True)
    assert {event[name] for name in "ohlc"} == {"0.00200000"}
    assert {event[name] for name in "vqVQ"} == {"0.00000000"}
    assert event["T"] == (START_MS + 1_999) * 1_000 + 999


DAY = Day("BNBBTC", START_MS - 1, START_MS, BAR, Decimal("0.0009"), Decimal("0.0025"), Decimal("10"))


def test_a_mini_ticker_has_every_field() -> None:
    """Individual Symbol Mini Ticker Stream."""
    assert list(json.loads(frames.mini_ticker_event(DAY, START_MS + 5, 1_000)).items()) == [
        ("e", "24hrMiniTicker"),
        ("E", START_MS + 5),
        ("s", "BNBBTC"),
        ("c", "0.00250000"),
        ("o", "0.00100000"),
        ("h", "0.00200000"),
        ("l", "0.00100000"),
        ("v", "200.00000000"),
        ("q", "0.30000000"),
    ]


def test_a_ticker_has_the_last_quantity_and_an_empty_book() -> None:
    """Individual Symbol Ticker Streams."""
    event = json.loads(frames.ticker_event(DAY, START_MS + 5, 1_000))
    assert "".join(event) == "eEspPwxcQbBaAohlvqOCFLn"
    assert (event["Q"], event["b"], event["A"]) == ("10.00000000", "0.00000000", "0.00000000")
    assert (event["p"], event["P"], event["w"], event["x"]) == ("0.00150000", "150.000", "0.00150000", "0.00090000")
    assert (event["O"], event["C"], event["F"], event["L"], event["n"]) == (START_MS - 1, START_MS, 12345, 12346, 2)


def test_combined_events_bear_the_name_of_their_stream() -> None:
    """`{"stream":"<streamName>","data":<rawPayload>}`."""
    assert frames.combined("bnbbtc@trade", "{}") == '{"stream":"bnbbtc@trade","data":{}}'
