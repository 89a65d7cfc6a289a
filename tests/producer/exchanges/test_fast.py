"""The short ways, against the mappers: sure of the usual frames, and never of anything the mapper says otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from market.trade import Reason, Trade
from producer.exchanges import binance, coinbase
from producer.exchanges.fast import ShortWay, binance_trade, coinbase_match
from producer.exchanges.outcome import Mapper, Outcome, message_of

LATEST_MS = 1_800_000_000_000
NEVER_MS = 2**63
BINANCE: dict[str, Any] = {
    "e": "trade",
    "E": 1723161255343,
    "s": "BTCUSDT",
    "t": 3735683259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1723161255342,
    "m": True,
    "M": True,
}
MATCH: dict[str, Any] = {
    "type": "match",
    "trade_id": 280232,
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "side": "sell",
    "size": "985",
    "price": "0.00001305",
    "product_id": "SKL-BTC",
    "sequence": 177100030,
    "time": "2021-04-17T16:43:37.089723Z",
}
FRAMES: list[dict[str, Any]] = [
    BINANCE,
    BINANCE | {"X": "MARKET"},
    {"stream": "btcusdt@trade", "data": BINANCE},
    {"stream": "btcusdt@trade", "data": BINANCE | {"T": 1723161255342999, "b": 1, "a": 2}},
    MATCH,
]


def compact(message: object) -> str:
    """A message as the exchanges write it."""
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


def by_mapper(frame: str | bytes, mapper: Mapper, latest_ms: int) -> Outcome:
    """What the mapper makes of a frame."""
    message = message_of(frame)
    return Outcome(rejected=Reason.MALFORMED) if message is None else mapper(message, "binance", latest_ms)


def agree(frame: str | bytes, latest_ms: int) -> None:
    """Whatever a short way answers is the mapper's answer."""
    short_ways: list[tuple[ShortWay, Mapper]] = [
        (binance_trade, binance.outcome_of),
        (coinbase_match, coinbase.outcome_of),
    ]
    for short_way, mapper in short_ways:
        answer = short_way(frame, "binance", latest_ms)
        if answer is not None:
            assert answer == by_mapper(frame, mapper, latest_ms)
            assert [type(field) for field in answer.trades[0]] == [str, str, str, str, int, int, bool]


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("time", [1723161255342, 1723161255342999])
def test_usual_frames_of_binance_take_the_short_way(wrapped: bool, as_bytes: bool, time: int) -> None:
    """A trade, raw or wrapped, in text or bytes, in ms or µs, is answered: with the trade, its time floored."""
    data = BINANCE | {"T": time}
    frame = compact({"stream": "btcusdt@trade", "data": data} if wrapped else data)
    trade = Trade("binance", "BTCUSDT", "61837.63000000", "0.02000000", 1723161255342, 3735683259, True)
    assert binance_trade(frame.encode() if as_bytes else frame, "binance", LATEST_MS) == Outcome(trades=(trade,))


@pytest.mark.parametrize(("side", "buyer_made"), [("buy", True), ("sell", False)])
@pytest.mark.parametrize("decimals", ["089", "0897", "089723", "089999999"])
def test_usual_matches_of_coinbase_take_the_short_way(side: str, buyer_made: bool, decimals: str) -> None:
    """A match is answered with its trade, the time floored, the side the maker's."""
    frame = compact(MATCH | {"side": side, "time": f"2021-04-17T16:43:37.{decimals}Z"})
    trade = Trade("coinbase", "SKLBTC", "0.00001305", "985", 1618677817089, 280232, buyer_made)
    assert coinbase_match(frame, "coinbase", LATEST_MS) == Outcome(trades=(trade,))


@pytest.mark.parametrize(
    "frame",
    [
        MATCH | {"type": "last_match"},
        MATCH | {"type": "heartbeat"},
        MATCH | {"time": "2021-04-17T16:43:37Z"},
        MATCH | {"time": "2021-04-17T16:43:37.08Z"},
        MATCH | {"time": "2021-04-17T16:43:37.0897231234Z"},
        MATCH | {"time": "2021-04-17T16:43:37.0897"},
        MATCH | {"time": "2021-04-17T16:43:37,0897Z"},
        MATCH | {"time": "2021-04-17T16:43:37.0897aZ"},
        MATCH | {"time": "2021-04-17T16:43:37.0²9Z"},
        MATCH | {"time": "2021-04-17T16:43:37.0٣9Z"},
        MATCH | {"time": ""},
        MATCH | {"time": "2021-W15-6T16:43:37.089Z"},
        MATCH | {"time": "2021-04-17 16:43:37.089Z"},
        MATCH | {"time": "2021-02-30T16:43:37.089Z"},
        MATCH | {"time": "2021-04-17T16:43:37.089²Z"},
        MATCH | {"time": "2009-04-17T16:43:37.089Z"},
        MATCH | {"side": "SELL"},
        BINANCE | {"X": "INSURANCE_FUND"},
        BINANCE | {"X": None},
        BINANCE | {"e": "aggTrade"},
        BINANCE | {"stream": "btcusdt@trade"},
        BINANCE | {"T": 10**14},
        BINANCE | {"T": 10**15 - 1},
        BINANCE | {"T": 10**17},
        BINANCE | {"t": -1},
        BINANCE | {"t": 1.0},
        BINANCE | {"p": "0.00000000"},
        BINANCE | {"E": "x" * 500},
        {"stream": "btcusdt@aggTrade", "data": BINANCE},
        {"stream": "!serverShutdown", "data": BINANCE},
        {"stream": "btcusdt@trade", "data": None},
    ],
)
def test_what_is_not_sure_is_left_to_the_mapper(frame: dict[str, Any]) -> None:
    """Other kinds, retold trades, odd times and numerals, and everything to be rejected: no short way answers."""
    for short_way in (binance_trade, coinbase_match):
        assert short_way(compact(frame), "binance", NEVER_MS) is None
        assert short_way(json.dumps(frame), "binance", NEVER_MS) is None


def test_a_time_from_the_future_is_left_to_the_mapper() -> None:
    """The latest time that a trade may bear is valid, one later is not sure."""
    assert binance_trade(compact(BINANCE), "binance", BINANCE["T"]) is not None
    assert binance_trade(compact(BINANCE), "binance", BINANCE["T"] - 1) is None


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**12, 2 * 10**17),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["trade", "MARKET", "BTC-USD", "B-T-C", "buy", "sell", "match", "last_match", "1e-8", "1.0", "5"]),
    st.sampled_from(["btcusdt@trade", "x@aggTrade", "!serverShutdown", "@trade", "trade", "x@y@trade"]),
    st.sampled_from(["2024-02-29T23:59:59.999Z", "2024-02-29T24:00:00.000Z", "2016-12-31T23:59:60.5Z", "2024-W01-1"]),
    st.sampled_from(["2024-02-29T23:59:59.9999999999Z", "2024-02-29T23:59:59.123+00:00", "0000-01-01T00:00:00.000Z"]),
    st.lists(st.none(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=1),
)
NAMES = st.sampled_from([*BINANCE, "X", "stream", "data", "b", *MATCH])
PIECES = st.one_of(
    st.sampled_from(['"', "\\", "{", "}", "[", "]", ",", ":", " ", "\n", "\x00", "\x7f", "null", "NaN", "1e5", "-0"]),
    st.sampled_from(
        ["0", "٣", "é", "\ud800", "\\u0074", "\\ud800", "\\u00b2", "\\n", ',"X":"ADL"', ',"t":5', ',"stream":"a@trade"']
    ),
    st.text(max_size=3),
)


@st.composite
def frames(draw: st.DrawFn) -> str | bytes:
    """A usual frame with some fields changed or added, and its text damaged or not."""
    message = draw(st.sampled_from(FRAMES))
    changes = draw(st.dictionaries(NAMES, VALUES, max_size=2))
    where = draw(st.sampled_from([message, message.get("data", message)]))
    changed = where | changes if where is message else message | {"data": where | changes}
    text = json.dumps(changed, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), None])))
    for _ in range(draw(st.integers(0, 2))):
        place, width = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
        text = text[:place] + draw(PIECES) + text[place + width :]
    return text.encode("utf-8", "surrogatepass") if draw(st.booleans()) else text


@settings(max_examples=2000, deadline=None)
@given(frames(), st.sampled_from([LATEST_MS, NEVER_MS]))
@example(compact(BINANCE)[:-1] + ',"t":5}', LATEST_MS)
@example(compact(BINANCE)[:-1] + ',"stream":"btcusdt@trade"}', LATEST_MS)
@example(compact(BINANCE | {"E": 0}).replace('"E":0', '"E":' + "1" * 5000), LATEST_MS)
@example(compact(BINANCE | {"E": 0}).replace('"E":0', '"E":' + "[" * 150 + "]" * 150), LATEST_MS)
@example(compact(BINANCE).encode().replace(b'"M":true', b'"M":"\xff"'), LATEST_MS)
@example(compact(BINANCE).encode("utf-16"), LATEST_MS)
@example(b"\xef\xbb\xbf" + compact(BINANCE).encode(), LATEST_MS)
@example("", LATEST_MS)
def test_a_short_way_answers_as_the_mapper_does(frame: str | bytes, latest_ms: int) -> None:
    """Over usual, changed and damaged frames: where a short way answers, the mapper says the same."""
    agree(frame, latest_ms)


@given(st.binary(max_size=600) | st.text(max_size=600))
def test_no_frame_breaks_a_short_way(frame: str | bytes) -> None:
    """Whatever comes in, it answers or leaves it to the mapper."""
    agree(frame, NEVER_MS)
