"""What a record may hold and which trades are valid. `tests/bars/test_parse.py` holds Spark to the same."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import trade as module
from market.trade import Heartbeat, Reason, Rejected, Trade, batch_record_of, problem_of, read_record, record_of
from tests.elements import CASES, GOOD, KAFKA_MS, TOLERANCE_MS, TRADE, Case

LATEST_MS = KAFKA_MS + TOLERANCE_MS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_is_read_as_written_down(case: Case) -> None:
    """Each odd record gives exactly the trades, heartbeats and reasons that stand beside it."""
    assert read_record(case.value, KAFKA_MS, TOLERANCE_MS) == case.elements


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_blanks_between_the_fields_change_nothing(case: Case) -> None:
    """The same records, written without blanks as the producer writes, are read the same."""
    value = case.value and case.value.replace(b'": ', b'":').replace(b', "', b',"').replace(b", {", b",{")
    assert read_record(value, KAFKA_MS, TOLERANCE_MS) == case.elements


def test_the_wire_form_is_read_back() -> None:
    """A trade written as the design's example is read as that trade, its decimals as printed."""
    assert read_record(json.dumps(GOOD).encode(), KAFKA_MS, TOLERANCE_MS) == [
        Trade("binance", "BTCUSDT", "42150.50", "0.05234000", 1_762_702_223_123, 12_345_678, False)
    ]


def test_a_heartbeat_is_no_trade() -> None:
    """A heartbeat is read as the exchange's time alone."""
    value = b'{"exchange":"binance","heartbeat":1762702224000}'
    assert read_record(value, KAFKA_MS, TOLERANCE_MS) == [Heartbeat("binance", 1_762_702_224_000)]


def test_the_tolerance_is_inclusive() -> None:
    """A time exactly the tolerance after the Kafka time is valid, a millisecond more is not."""
    trade = Trade("binance", "BTCUSDT", "1", "1", KAFKA_MS, 1, True)
    assert problem_of(trade, KAFKA_MS) is None
    assert problem_of(trade, KAFKA_MS - 1) == Reason.FUTURE


def test_every_reason_has_a_case() -> None:
    """No reason stands in the list without a record that is rejected for it."""
    told = {element.reason for case in CASES for element in case.elements if isinstance(element, Rejected)}
    assert told == {text for name, text in vars(Reason).items() if name.isupper()}


NUMERALS = st.one_of(
    st.sampled_from(["0", "-0", "0.0", "0.00000000", "0.00000001", "1e-8", "1E+2", "1e10", "1e11", "01", "1.", ".5"]),
    st.sampled_from(["1.100000000", "9999999999.99999999", "99999999999.99999999", "10000000000", "100000000000"]),
    st.sampled_from(["", " 1", "1 ", "1\n", "1 1", "٣", "NaN", "1_0", "1,5", "+1", "1.5\x00", "\ud800"]),
    st.decimals(0, 10**12, places=8).map(str),
    st.integers(0, 10**12).map(str),
    st.text("0123456789.-eE ", max_size=22),
)
ODD = st.one_of(
    st.none(), st.booleans(), st.just(1.5), st.floats(), st.binary(max_size=3), st.lists(st.integers(), max_size=1)
)
INTEGERS = st.one_of(
    st.sampled_from([0, -1, 1, 2**53 - 1, 2**53, module.EARLIEST_MS - 1, module.EARLIEST_MS, LATEST_MS, LATEST_MS + 1]),
    st.integers(),
    st.integers(module.EARLIEST_MS, LATEST_MS),
    st.sampled_from(["1", "1762702223123", "-1", "1.0"]),
)
SIDES = st.one_of(st.booleans(), st.sampled_from(["true", "false", "True", 0, 1]))
SYMBOLS = st.one_of(
    st.sampled_from(["BTCUSDT", "A", "AB", "A" * 20, "A" * 21, "btcusdt", "BTC USDT", "BTC 1", "BTCUSDT\n", "", "ÄB"]),
    st.text("AZ09 ", max_size=21),
)
EXCHANGES = st.one_of(st.sampled_from([*module.EXCHANGES, "kraken", "BINANCE", "binance\n", ""]))


def any_trades() -> st.SearchStrategy[Trade]:
    """Trades of which at most some fields are odd, in value or in type."""
    usual = st.builds(Trade, EXCHANGES, SYMBOLS, NUMERALS, NUMERALS, INTEGERS, INTEGERS, SIDES)

    def changed(change: tuple[Trade, str, Any]) -> Trade:
        trade, field, value = change
        return trade._replace(**{field: value})

    one_field = st.sampled_from(Trade._fields).flatmap(
        lambda field: st.tuples(st.just(TRADE), st.just(field), _of(field) | ODD).map(changed)
    )
    return usual | one_field


def _of(field: str) -> st.SearchStrategy[Any]:
    return {
        "exchange": EXCHANGES,
        "symbol": SYMBOLS,
        "price": NUMERALS | INTEGERS,
        "quantity": NUMERALS | INTEGERS,
        "is_buyer_maker": SIDES,
    }.get(field, INTEGERS)


@settings(max_examples=1000)
@given(any_trades())
def test_the_short_way_to_accept_a_trade_says_what_the_rule_says(trade: Trade) -> None:
    """With and without the pattern of plain trades, a trade has the same problem or none."""
    with patch.object(module, "_is_plain", lambda _: None):
        by_the_rule = problem_of(trade, LATEST_MS)
    assert problem_of(trade, LATEST_MS) == by_the_rule


@given(
    st.lists(any_trades().filter(lambda trade: not any(isinstance(field, bytes) for field in trade)), max_size=3),
    st.booleans(),
    st.text('[]{}, \n"x', max_size=2),
    st.integers(0, 200),
)
def test_the_short_way_to_read_a_record_says_what_the_rule_says(
    trades: list[Trade], one: bool, noise: str, place: int
) -> None:
    """With and without the pattern of plain elements, a record holds the same, whole or damaged at any place."""
    contents: Any = [trade._asdict() for trade in trades]
    text = json.dumps(contents[0] if one and contents else contents, separators=(",", ":"))
    value = (text[:place] + noise + text[place:]).encode()
    with patch.object(module, "_plain_elements", lambda _: []):
        by_the_rule = read_record(value, KAFKA_MS, TOLERANCE_MS)
    assert read_record(value, KAFKA_MS, TOLERANCE_MS) == by_the_rule


@given(st.lists(any_trades(), min_size=1, max_size=40))
def test_records_are_written_as_json_writes_them(trades: list[Trade]) -> None:
    """Valid trades, alone or together, become the very bytes of compact JSON: text is never escaped, side is a word."""
    valid = [
        trade._replace(exchange="coinbase", symbol="BTCUSD")
        for trade in trades
        if problem_of(trade, LATEST_MS) is None and [type(field) for field in trade] == [type(field) for field in TRADE]
    ] or [TRADE]
    written = [json.dumps(trade._asdict(), separators=(",", ":")) for trade in valid]
    assert [record_of(trade) for trade in valid] == [text.encode() for text in written]
    assert batch_record_of(valid) == f"[{','.join(written)}]".encode()


def test_records_are_read_back_as_they_were_written() -> None:
    """What was written, alone or together, is what is read."""
    trades = [TRADE._replace(trade_id=number, is_buyer_maker=number % 2 == 0) for number in range(3)]
    assert read_record(batch_record_of(trades), KAFKA_MS, TOLERANCE_MS) == trades
    assert read_record(record_of(TRADE), KAFKA_MS, TOLERANCE_MS) == [TRADE]
