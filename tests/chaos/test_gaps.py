"""What the gaps topic says is understood: what is lost, what is open, and what was filled."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.truth import Key
from chaos.verify import Gaps


def gap(status: str, first: int, last: int, symbol: str = "BTCUSDT") -> bytes:
    """A gap record, as far as it is looked at."""
    fields = {"exchange": "sim-binance", "symbol": symbol, "first_trade_id": first, "last_trade_id": last}
    return json.dumps(fields | {"status": status, "cause": "", "found": 0}).encode()


def gaps(*values: bytes, since: Mapping[Key, int] | None = None) -> list[str]:
    """What is wrong after these records."""
    told = Gaps(since)
    for value in values:
        told.take(value)
    assert told.records == len(values)
    return told.failures()


def test_gaps_that_were_filled_are_no_failure() -> None:
    """In one piece, in several, and reported twice."""
    assert gaps() == []
    assert gaps(gap("open", 5, 9), gap("filled", 5, 9)) == []
    assert (
        gaps(gap("open", 5, 9), gap("open", 5, 9), gap("filled", 8, 9), gap("filled", 5, 5), gap("filled", 6, 7)) == []
    )


def test_gaps_that_are_lost_or_left_open_are_told() -> None:
    """What remains of an open range, of its own symbol alone; and every loss."""
    assert gaps(gap("open", 5, 9), gap("filled", 6, 7)) == [
        "left open: sim-binance BTCUSDT 5–5",
        "left open: sim-binance BTCUSDT 8–9",
    ]
    assert gaps(gap("open", 5, 9), gap("filled", 5, 9, "ETHUSDT")) == ["left open: sim-binance BTCUSDT 5–9"]
    assert gaps(gap("filled", 5, 9), gap("open", 5, 9)) == ["left open: sim-binance BTCUSDT 5–9"]
    assert gaps(gap("open", 5, 9), gap("lost", 5, 9)) == ["reported lost: sim-binance BTCUSDT 5–9"]


def test_what_is_open_from_some_ids_on_can_be_left_out() -> None:
    """A producer that was stopped while it fetched its newest trades says so, and the next one goes on."""
    told = Gaps()
    for value in (gap("open", 5, 9), gap("open", 20, 29), gap("open", 3, 4, "ETHUSDT")):
        told.take(value)
    young = told.open_from({Key("sim-binance", "BTCUSDT"): 9, Key("sim-binance", "ETHUSDT"): 3})
    assert [str(left) for left in young] == ["sim-binance BTCUSDT 20–29", "sim-binance ETHUSDT 3–4"]
    assert told.failures(young) == ["left open: sim-binance BTCUSDT 5–9"]


def test_what_lies_before_the_run_is_an_edge_and_no_loss() -> None:
    """A record may say that nothing is known before it; a range that reaches into the run is a failure."""
    since = {Key("sim-binance", "BTCUSDT"): 10}
    assert gaps(gap("lost", 5, 9), gap("open", 8, 9), since=since) == []
    assert gaps(gap("lost", 5, 10), since=since) == ["reported lost: sim-binance BTCUSDT 5–10"]
    assert gaps(gap("lost", 5, 9, "ETHUSDT"), since=since) == ["reported lost: sim-binance ETHUSDT 5–9"]


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b"17", gap("mended", 5, 9)])
def test_what_is_no_gap_record_is_told(value: bytes) -> None:
    """An unreadable record in the gaps topic is a failure."""
    assert gaps(value) == [f"no gap record: {value!r}"]


@given(st.lists(st.tuples(st.sampled_from(["open", "filled"]), st.integers(0, 30), st.integers(0, 12)), max_size=25))
def test_what_is_open_is_what_was_opened_and_not_filled_since(told: list[tuple[str, int, int]]) -> None:
    """Whatever the ranges, the ids left open are those of plain sets."""
    expected: set[int] = set()
    for status, first, more in told:
        ids = set(range(first, first + more + 1))
        expected = expected | ids if status == "open" else expected - ids
    failures = gaps(*(gap(status, first, first + more) for status, first, more in told))
    found: set[int] = set()
    for failure in failures:
        first_id, _, last_id = failure.rpartition(" ")[2].partition("–")
        found |= set(range(int(first_id), int(last_id) + 1))
    assert found == expected
