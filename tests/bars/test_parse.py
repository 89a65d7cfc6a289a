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
from market.trade import Element, Heartbeat, Rejected, Trade, batch_record_of, read_record, record_of
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
CONTENT = st.one_of(ELEMENT, st.lists(ELEMENT, max_size=3))


@st.composite
def near_plain(draw: st.DrawFn) -> bytes:
    """A record as we write it, of one trade or of several, with up to two characters put in, taken out or changed."""
    prices = st.from_regex(r"(0|[1-9][0-9]{0,10})([.][0-9]{1,9})?", fullmatch=True)
    trades = st.builds(
        Trade,
        st.just("binance"),
        st.from_regex("[A-Z0-9]{1,21}", fullmatch=True),
        prices,
        prices,
        st.one_of(st.integers(KAFKA_MS - 10, KAFKA_MS + TOLERANCE_MS + 2), st.integers(0, 10**17)),
        st.integers(0, 2**54),
        st.booleans(),
    )
    several = draw(st.lists(trades, min_size=1, max_size=3))
    text = (record_of(several[0]) if draw(st.booleans()) else batch_record_of(several)).decode()
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(("", *'{}[],:"0 .e-x\\\n'))) + text[at + draw(st.integers(0, 1)) :]
    return text.encode()


VALUE = st.one_of(
    CONTENT.map(lambda content: json.dumps(content).encode()),
    CONTENT.map(lambda content: json.dumps(content, separators=(",", ":")).encode()),
    near_plain(),
    st.binary(max_size=20),
)


@given(st.lists(VALUE, min_size=30, max_size=60))
@settings(
    max_examples=16, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_spark_and_python_read_alike(spark: SparkSession, values: list[bytes | None]) -> None:
    """Whatever a record holds, Spark finds the same elements, values and reasons as `market.trade.read_record`."""
    expected = [[comparable(element) for element in read_record(value, KAFKA_MS, TOLERANCE_MS)] for value in values]
    assert read_by_spark(spark, values) == expected


def test_a_long_array_is_read_like_a_short_one(spark: SparkSession) -> None:
    """As many trades as a record can hold; one that is not plain among them changes how they are read, not what."""
    trades = [
        Trade("binance", "BTCUSDT", f"{number}.5", "1", KAFKA_MS - 1, number, False) for number in range(1, 6_001)
    ]
    plain = batch_record_of(trades)
    expected = [comparable(trade) for trade in trades]
    assert read_by_spark(spark, [plain, plain.replace(b'"1.5"', b"1.5", 1)]) == [expected, expected]


def test_a_record_of_very_many_elements_is_not_kept_with_each(spark: SparkSession) -> None:
    """A mebibyte of rejected elements is a few mebibytes of rows, each with its own text: else it would end the job."""
    late = Trade("binance", "BTCUSDT", "1.5", "1", KAFKA_MS + TOLERANCE_MS + 1, 7, False)
    values = [b"[" + b",".join([b"{}"] * 300_000) + b"]", batch_record_of([late] * 65), b'[{"price":1e9},{}]']
    frame = parse(records(spark, values, kafka_ms=KAFKA_MS), future_tolerance_ms=TOLERANCE_MS)
    kept = frame.groupBy("offset").agg(
        F.count("reason").alias("rejected"), F.sum(F.length("raw")).alias("size"), F.max("raw").alias("raw")
    )
    assert [tuple(row) for row in kept.orderBy("offset").collect()] == [
        (0, 300_000, 600_000, b"{}"),
        (1, 65, 65 * len(record_of(late)), record_of(late)),
        (2, 2, 2 * len(values[2]), values[2]),
    ]
