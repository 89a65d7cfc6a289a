"""What a record may hold and which trades are valid. `tests/bars/test_parse.py` holds Spark to the same."""

from __future__ import annotations

import json

import pytest

from market.trade import Heartbeat, Reason, Rejected, Trade, problem_of, read_record
from tests.elements import CASES, GOOD, KAFKA_MS, TOLERANCE_MS, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_case_is_read_as_written_down(case: Case) -> None:
    """Each odd record gives exactly the trades, heartbeats and reasons that stand beside it."""
    assert read_record(case.value, KAFKA_MS, TOLERANCE_MS) == case.elements


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
