"""Every frame becomes exactly one thing, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.trade import problem_of
from producer.completeness.ids import SeenIds
from producer.exchanges.outcome import Mapper, read
from producer.exchanges.venues import BINANCE, COINBASE
from producer.ledger import Ledger

LATEST_MS = 1_800_000_000_000
FRAMES: dict[str, tuple[str, Mapper, dict[str, Any]]] = {
    "binance": (
        "binance",
        BINANCE.outcome_of,
        {"e": "trade", "s": "BNBBTC", "t": 1, "p": "0.001", "q": "100", "T": 1672515782136, "m": True, "X": "MARKET"},
    ),
    "coinbase": (
        "coinbase",
        COINBASE.outcome_of,
        {
            "type": "match",
            "trade_id": 10,
            "time": "2014-11-07T08:19:27.028459Z",
            "product_id": "BTC-USD",
            "size": "5.2",
            "price": "400.23",
            "side": "sell",
        },
    ),
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn, frame: dict[str, Any]) -> bytes:
    """A trade's frame with some fields changed or gone, wrapped or not, and perhaps cut or with bytes changed."""
    changed = frame | draw(st.dictionaries(st.sampled_from(sorted(frame)), JSON, max_size=3))
    for field in draw(st.sets(st.sampled_from(sorted(frame)), max_size=2)):
        del changed[field]
    message: Any = draw(st.sampled_from([changed, {"stream": "x@trade", "data": changed}, [changed]]))
    text = bytearray(json.dumps(message).encode())
    for place in draw(st.lists(st.integers(0, len(text) - 1), max_size=3)):
        text[place] = draw(st.integers(0, 255))
    return bytes(text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text)


@pytest.mark.parametrize("name", sorted(FRAMES))
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_a_mutated_frame_is_one_thing_and_a_trade_from_it_is_valid(name: str, data: st.DataObject) -> None:
    """No frame breaks a mapper; each is trades, rejected or passed over; and what it calls a trade is one."""
    exchange, mapper, frame = FRAMES[name]
    outcome = read(data.draw(mutated(frame)), mapper, exchange=exchange, latest_ms=LATEST_MS)
    assert [bool(outcome.trades), outcome.rejected is not None, outcome.passed_over is not None].count(True) == 1
    for trade in outcome.trades:
        assert problem_of(trade, LATEST_MS) is None
        assert list(map(type, trade)) == [str, str, str, str, int, int, bool]


@given(st.lists(st.binary(max_size=30) | mutated(FRAMES["binance"][2]), max_size=30))
@settings(max_examples=50, deadline=None)
def test_the_account_always_balances(frames: list[bytes]) -> None:
    """received = new trades + rejected + passed over + duplicates, after every frame."""
    ledger = Ledger()
    handed_on = 0
    for count, frame in enumerate([*frames, *frames], start=1):
        outcome = read(frame, BINANCE.outcome_of, exchange="binance", latest_ms=LATEST_MS)
        handed_on += len(ledger.enter("binance", outcome, frame))
        assert ledger.received == count
        assert count == handed_on + ledger.rejected.total() + ledger.passed_over.total() + ledger.duplicates


@given(st.lists(st.integers(0, 60)))
def test_each_id_is_new_once(numbers: list[int]) -> None:
    """Ids in any order are new the first time only, and the ranges between them are their runs."""
    seen, known = SeenIds(), set[int]()
    for number in numbers:
        assert seen.add(number) == (number not in known)
        known.add(number)
    assert [number for first, last in seen.ranges() for number in range(first, last + 1)] == sorted(known)
    assert all(later[0] > earlier[1] + 1 for earlier, later in zip(seen.ranges(), seen.ranges()[1:], strict=False))


def test_ids_with_gaps_do_not_fill_the_memory() -> None:
    """Of ids that never touch, the lowest are forgotten, and would be published again rather than held back."""
    seen = SeenIds()
    for number in range(0, 10_000, 2):
        seen.add(number)
    assert len(seen.ranges()) == 1_000
    assert seen.add(0)
    assert not seen.add(9_998)


def test_the_ledger_passes_each_trade_once_and_reports_in_one_line() -> None:
    """A trade that comes twice is a duplicate; the report has every count and the rate since the last one."""
    now_s = [100.0]
    ledger = Ledger(lambda: now_s[0])
    exchange, mapper, frame = FRAMES["coinbase"]
    text = json.dumps(frame)
    outcome = read(text, mapper, exchange=exchange, latest_ms=LATEST_MS)
    assert ledger.enter(exchange, outcome, text) == list(outcome.trades)
    assert ledger.enter(exchange, outcome, text) == []
    ledger.enter(exchange, read("{", mapper, exchange=exchange, latest_ms=LATEST_MS), "{")
    ledger.enter(exchange, read('{"type":"ticker"}', mapper, exchange=exchange, latest_ms=LATEST_MS), "…")
    now_s[0] = 100.5
    assert ledger.report(1, 0) == (
        "received 4, published 1, un-acked 0, rejected 1, passed over 1, duplicates 1; trades: coinbase 2/s"
    )
    assert ledger.details() == (
        "rejected (not JSON, or not one object or an array of objects: 1); passed over (ticker: 1)"
    )
