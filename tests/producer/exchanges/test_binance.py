"""Binance's frames and archive rows, against the exchange's documentation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from market.trade import Reason, Trade
from producer.exchanges import binance
from producer.exchanges.outcome import Outcome, read

LATEST_MS = 1_800_000_000_000


def trade_frame(**changes: Any) -> dict[str, Any]:
    """The trade of Binance's documentation of the trade stream, at a time that can be."""
    frame = {
        "e": "trade",
        "E": 1672515782136,
        "s": "BNBBTC",
        "t": 12345,
        "p": "0.001",
        "q": "100",
        "T": 1672515782136,
        "m": True,
        "M": True,
    }
    return frame | changes


def outcome(message: object, exchange: str = "binance") -> Outcome:
    """What the mapper makes of a message."""
    return read(json.dumps(message), binance.outcome_of, exchange=exchange, latest_ms=LATEST_MS)


TRADE = Trade("binance", "BNBBTC", "0.001", "100", 1672515782136, 12345, True)


def test_a_trade_keeps_the_exchanges_text_and_trade_time() -> None:
    """A raw trade frame becomes the trade it documents: `t` the id, `T` the time, `m` the side, prices as printed."""
    assert outcome(trade_frame(E=1672515782999)) == Outcome(trades=(TRADE,))


def test_the_combined_streams_wrapper_changes_nothing() -> None:
    """A frame of the combined stream is the frame in it."""
    assert outcome({"stream": "bnbbtc@trade", "data": trade_frame()}) == Outcome(trades=(TRADE,))


def test_order_ids_of_old_frames_are_tolerated() -> None:
    """Fields that were removed in 2024, or that may come, are no reason to reject."""
    assert outcome(trade_frame(b=88, a=50, new={"x": 1})) == Outcome(trades=(TRADE,))


@pytest.mark.parametrize(("maker", "expected"), [(True, True), (False, False)])
def test_m_says_whether_the_buyer_is_the_maker(maker: bool, expected: bool) -> None:
    """`m` is taken over as it is."""
    assert outcome(trade_frame(m=maker)).trades[0].is_buyer_maker is expected


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (1672515782136, 1672515782136),
        (1672515782136000, 1672515782136),
        (1672515782136999, 1672515782136),  # floored, not rounded
        ("1735689600123456", 1735689600123),
    ],
)
def test_times_in_microseconds_are_floored_to_milliseconds(printed: object, expected: int) -> None:
    """A time of 16 digits is in µs, whatever the stream was asked for."""
    assert outcome(trade_frame(T=printed)).trades[0].timestamp == expected


@pytest.mark.parametrize("printed", [10**14, 10**15 - 1, 10**17, 1672515782136000000, 1.5, "now", None, True, [], {}])
def test_a_time_of_neither_unit_is_rejected(printed: object) -> None:
    """Nanoseconds, fractions and what is no number are no trade time, even where no clock bounds them."""
    found = read(json.dumps(trade_frame(T=printed)), binance.outcome_of, exchange="binance", latest_ms=2**63)
    assert found == Outcome(rejected=Reason.TIMESTAMP)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"p": None}, Reason.PRICE),
        ({"p": "NaN"}, Reason.PRICE),
        ({"p": "0.00000000"}, Reason.PRICE_SIGN),
        ({"p": "0.000000001"}, Reason.PRICE_SCALE),
        ({"q": "-1"}, Reason.QUANTITY_SIGN),
        ({"q": [1]}, Reason.QUANTITY),
        ({"t": -1}, Reason.TRADE_ID),
        ({"t": 1.0}, Reason.TRADE_ID),
        ({"t": 2**53}, Reason.TRADE_ID),
        ({"t": True}, Reason.TRADE_ID),
        ({"m": "true"}, Reason.SIDE),
        ({"m": 1}, Reason.SIDE),
        ({"s": 12}, Reason.SYMBOL),
        ({"s": "bnbbtc"}, Reason.SYMBOL),
        ({"T": LATEST_MS + 1}, Reason.FUTURE),
        ({"T": 1672515782}, Reason.TOO_OLD),
    ],
)
def test_a_trade_frame_that_is_no_valid_trade_is_rejected_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    """Each field is held to the one rule of valid trades, and its type to what the exchange prints."""
    assert outcome(trade_frame(**changes)) == Outcome(rejected=reason)


def test_a_frame_of_the_trade_stream_without_its_type_is_rejected() -> None:
    """What comes on a trade stream should be a trade: it is rejected, not passed over."""
    assert outcome({"stream": "bnbbtc@trade", "data": {}}).rejected == Reason.SYMBOL
    assert outcome({"stream": "bnbbtc@trade", "data": None}).rejected == Reason.MALFORMED


@pytest.mark.parametrize("frame", ["", "{", '{"e":"trade"', "null", "[]", '"text"', "1", b"\xff\xfe", "[" * 100_000])
def test_what_is_not_a_json_object_is_rejected(frame: str | bytes) -> None:
    """A truncated or foreign frame is rejected as malformed."""
    found = read(frame, binance.outcome_of, exchange="binance", latest_ms=LATEST_MS)
    assert found == Outcome(rejected=Reason.MALFORMED)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"e": "aggTrade", "s": "BNBBTC"}, "aggTrade"),
        ({"e": "blockTrade", "s": "BNBBTC"}, "blockTrade"),
        ({"stream": "btcusdt@bookTicker", "data": {"u": 1, "s": "BTCUSDT"}}, "bookTicker"),
        ({"stream": "!ticker@arr", "data": [{"e": "24hrTicker"}]}, "arr"),
        ({"result": None, "id": 1}, "reply"),
        ({"lastUpdateId": 1, "bids": []}, "snapshot"),
        ({"e": "\u202e\n"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_frames_that_are_no_trades_are_passed_over_by_their_kind(message: object, kind: str) -> None:
    """Whatever is not a trade is counted under the name the exchange gives it, if that can be a name."""
    assert outcome(message) == Outcome(passed_over=kind)


@pytest.mark.parametrize(
    "message",
    [
        {"e": "serverShutdown", "E": 1770123456789},
        {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}},
        {"stream": "!serverShutdown", "data": {"E": 1770123456789}},
        {"stream": "!serverShutdown", "data": None},
    ],
)
def test_a_servers_farewell_is_heard_in_every_shape(message: object) -> None:
    """A server that goes away says so on raw and on combined streams; nothing in it is a trade."""
    assert outcome(message) == Outcome(passed_over="serverShutdown", farewell=True)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (
            {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19},
            '{"code": 4, "msg": "Too many subscriptions"}',
        ),
        ({"code": 2, "msg": "Invalid request"}, '{"code": 2, "msg": "Invalid request"}'),
        ({"error": {"code": 2, "msg": {"nested": []}}}, '{"code": 2, "msg": "unknown"}'),
        (
            {"error": {"code": 3, "msg": "Invalid JSON: " + "x" * 600}, "id": None},
            '{"code": 3, "msg": "Invalid JSON: ' + "x" * (500 - 34),
        ),
    ],
)
def test_the_exchanges_errors_are_told(message: object, complaint: str) -> None:
    """An error that answers one of our requests, wrapped or not, is passed over, and said in at most 500 characters."""
    assert outcome(message) == Outcome(passed_over="error", complaint=complaint)


@pytest.mark.parametrize("kind", ["INSURANCE_FUND", "ADL", "NA", None, 1])
def test_trades_outside_the_market_stay_out(kind: object) -> None:
    """A futures trade whose `X` is there and is not MARKET is passed over: the exchange's own bars leave it out."""
    assert outcome(trade_frame(X=kind), "binance-usdm") == Outcome(passed_over="non-market trade")


def test_market_trades_of_futures_are_trades() -> None:
    """A futures trade with `X` MARKET is a trade of the exchange it was read for."""
    assert outcome(trade_frame(X="MARKET"), "binance-usdm").trades == (TRADE._replace(exchange="binance-usdm"),)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "3735683259,61837.63000000,0.02000000,1236.75260000,1723161255342,True,True",
            Trade("binance", "BTCUSDT", "61837.63000000", "0.02000000", 1723161255342, 3735683259, True),
        ),
        (
            "4359792353,93548.79000000,0.00006000,5.61292740,1735689600123456,false,true\r\n",
            Trade("binance", "BTCUSDT", "93548.79000000", "0.00006000", 1735689600123, 4359792353, False),
        ),
    ],
)
def test_archive_rows_are_trades_in_either_unit_of_time(row: str, expected: Trade) -> None:
    """Rows of the public archives: times in ms until 2024, in µs since."""
    assert binance.outcome_of_row(row, "binance", "BTCUSDT", LATEST_MS) == Outcome(trades=(expected,))


def test_an_archives_header_is_passed_over() -> None:
    """Some archives begin with the names of their columns."""
    header = "id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch"
    assert binance.outcome_of_row(header, "binance", "BTCUSDT", LATEST_MS) == Outcome(passed_over="header")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,2", "a row of 2 columns; expected are id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch"),
        ("1,2,3,6,1723161255342,maybe,True", Reason.SIDE),
        ("x,2,3,6,1723161255342,True,True", Reason.TRADE_ID),
    ],
)
def test_damaged_archive_rows_are_rejected(row: str, reason: str) -> None:
    """A row that is no trade is rejected with the reason."""
    assert binance.outcome_of_row(row, "binance", "BTCUSDT", LATEST_MS) == Outcome(rejected=reason)


def test_subscriptions_are_in_lower_case_and_in_chunks() -> None:
    """1,024 streams, all one connection may have, are subscribed once each, in messages of at most 200 streams."""
    messages = [json.loads(message) for message in binance.subscriptions([f"S{n}USDT" for n in range(1024)])]
    assert [message["id"] for message in messages] == [1, 2, 3, 4, 5, 6]
    assert {message["method"] for message in messages} == {"SUBSCRIBE"}
    assert max(len(message["params"]) for message in messages) == 200
    assert [name for message in messages for name in message["params"]] == [f"s{n}usdt@trade" for n in range(1024)]


def test_control_messages_stay_below_five_a_second() -> None:
    """With one ping a second for the heartbeats, subscriptions come slowly enough not to be cut off."""
    assert 1 / binance.CONTROL_INTERVAL_S + 1 < 5


def test_only_products_that_trade_are_listed() -> None:
    """Of exchangeInfo, the symbols whose status is TRADING."""
    listing = {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING"}, {"symbol": "OLD", "status": "BREAK"}]}
    assert list(binance.products_of(listing)) == ["BTCUSDT"]
