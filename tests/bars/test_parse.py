"""Spark's reading of records, held to the definition in `market/trade.py`."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bars.parse import parse
from market.trade import Element, Heartbeat, Rejected, Trade, read_record
from tests.bars.frames import records
from tests.elements import CASES, GOOD, KAFKA_MS, TOLERANCE_MS

pytestmark = pytest.mark.spark


def read_by_spark(spark: SparkSession, values: list[bytes | None]) -> list[list[Any]]:
    """The elements of each record, comparable with `comparable` of the plain-Python reading."""
    frame = parse(records(spark, values, kafka_ms=KAFKA_MS), future_tolerance_ms=TOLERANCE_MS)
    read: list[list[Any]] = [[] for _ in values]
    shown = frame.withColumn("event_ms", F.unix_millis("event_time")).drop("event_time")
    for row in shown.orderBy("offset", "index").collect():
        assert row["index"] in (None, len(read[row["offset"]]))
        assert row["reason"] or row["event_ms"] == row["time_ms"]
        if row["reason"]:
            read[row["offset"]].append(Rejected(row["reason"]))
        elif row["is_heartbeat"]:
            read[row["offset"]].append(Heartbeat(row["exchange"], row["time_ms"]))
        else:
            names = ("exchange", "symbol", "price", "quantity", "time_ms", "trade_id", "is_buyer_maker")
            read[row["offset"]].append(tuple(row[name] for name in names))
    return read


def comparable(element: Element) -> Any:
    """A trade with its decimals as numbers; anything else as it is."""
    if isinstance(element, Trade):
        return tuple(element._replace(price=Decimal(element.price), quantity=Decimal(element.quantity)))  # type: ignore[arg-type]
    return element


def test_each_case_is_read_as_written_down(spark: SparkSession) -> None:
    """Spark makes of each odd record what stands beside it, as the plain-Python reading does."""
    read = read_by_spark(spark, [case.value for case in CASES])
    expected = [[comparable(element) for element in case.elements] for case in CASES]
    assert {case.name: got for case, got in zip(CASES, read, strict=True)} == {
        case.name: want for case, want in zip(CASES, expected, strict=True)
    }


FIELD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 2**64),
    st.floats(),
    st.text(max_size=8),
    st.from_regex(r"-?[0-9]{1,12}([.][0-9]{1,10})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.lists(st.integers(), max_size=2),
)
ELEMENT = st.builds(
    lambda changes: GOOD | changes, st.dictionaries(st.sampled_from([*GOOD, "heartbeat", "other"]), FIELD, max_size=2)
)
VALUE = st.one_of(
    ELEMENT.map(lambda element: json.dumps(element).encode()),
    st.lists(ELEMENT, max_size=3).map(lambda many: json.dumps(many).encode()),
    st.binary(max_size=20),
)


@given(st.lists(VALUE, min_size=30, max_size=60))
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_spark_and_python_read_alike(spark: SparkSession, values: list[bytes | None]) -> None:
    """Whatever a record holds, Spark finds the same elements, values and reasons as `market.trade.read_record`."""
    expected = [[comparable(element) for element in read_record(value, KAFKA_MS, TOLERANCE_MS)] for value in values]
    assert read_by_spark(spark, values) == expected
