"""The record of a gap: what is written is read back, and what is no gap is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.gap import STATUSES, Gap, gap_record, read_gap
from market.trade import EXCHANGES

GAP = Gap("binance", "BTCUSDT", 12_345, 12_399, "lost", "a cause", 1_762_702_223_123, 1_762_702_220_001, None)
FIELDS = GAP._asdict()


def test_the_record_is_the_documented_one() -> None:
    """Plain JSON with every field by name, and null for a time that is not known."""
    assert gap_record(GAP) == (
        b'{"exchange":"binance","symbol":"BTCUSDT","first_trade_id":12345,"last_trade_id":12399,"status":"lost",'
        b'"cause":"a cause","found":1762702223123,"after":1762702220001,"before":null}'
    )


TIMES = st.integers(0, 2**53)


@given(
    st.builds(
        lambda exchange, symbol, ids, *rest: Gap(exchange, symbol, min(ids), max(ids), *rest),
        st.sampled_from(EXCHANGES),
        st.from_regex("[A-Z0-9]{2,20}", fullmatch=True),
        st.tuples(*[st.integers(0, 2**53 - 1)] * 2),
        st.sampled_from(STATUSES),
        st.text(max_size=50),
        TIMES,
        st.none() | TIMES,
        st.none() | TIMES,
    )
)
def test_a_gap_is_read_back_as_it_was_written(gap: Gap) -> None:
    """Whatever its values, and whatever its cause says."""
    assert read_gap(gap_record(gap)) == gap


def test_times_may_be_left_out() -> None:
    """A record without the times around it is a gap."""
    short = {name: value for name, value in FIELDS.items() if name not in ("after", "before")}
    assert read_gap(json.dumps(short).encode()) == GAP._replace(after=None)


@pytest.mark.parametrize(
    "change",
    [
        {"exchange": "nyse"},
        {"exchange": ["binance"]},
        {"symbol": "BTC-USD"},
        {"symbol": None},
        {"first_trade_id": 12_400},
        {"first_trade_id": -1},
        {"first_trade_id": "12345"},
        {"first_trade_id": True},
        {"last_trade_id": 2**53},
        {"last_trade_id": 12_399.0},
        {"status": "closed"},
        {"status": {}},
        {"cause": 7},
        {"found": None},
        {"found": 1.5},
        {"after": "then"},
        {"before": False},
        {"more": 1},
    ],
    ids=str,
)
def test_a_wrong_field_makes_it_no_gap(change: dict[str, Any]) -> None:
    """One field of another kind, out of range or unknown, and the record is passed over."""
    assert read_gap(json.dumps(FIELDS | change).encode()) is None


@pytest.mark.parametrize("field", [field for field in FIELDS if field not in ("after", "before")])
def test_a_missing_field_makes_it_no_gap(field: str) -> None:
    """All but the times around it are needed."""
    assert read_gap(json.dumps({name: value for name, value in FIELDS.items() if name != field}).encode()) is None


@pytest.mark.parametrize(
    "value", [None, b"", b"{", b"7", b"null", b"[]", b'["binance"]', b"\xff", b"[" * 100_000, b'{"":1}']
)
def test_what_is_no_object_is_no_gap(value: bytes | None) -> None:
    """No value, no JSON, or JSON of another kind: none of it breaks the reader."""
    assert read_gap(value) is None
