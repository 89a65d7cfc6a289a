"""Trades and records as DataFrames, and rows as bars."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from bars.parse import parse, valid
from market.bar import Bar
from market.trade import Trade
from tests.elements import TOLERANCE_MS

RECORD = "topic string, partition int, offset bigint, timestamp timestamp, value binary"


def record(trade: Trade) -> bytes:
    """A trade as a record's value."""
    return json.dumps(trade._asdict()).encode()


def records(spark: SparkSession, values: Iterable[bytes | None], *, kafka_ms: int, first: int = 0) -> DataFrame:
    """Records as Spark's Kafka source gives them, one partition, offsets from `first`."""
    time = datetime.fromtimestamp(kafka_ms / 1000, UTC)
    rows = [("trades", 0, offset, time, value and bytearray(value)) for offset, value in enumerate(values, first)]
    return spark.createDataFrame(rows, RECORD)


def elements(spark: SparkSession, trades: Iterable[Trade]) -> DataFrame:
    """Trades as the parsed, valid elements of records that came long after them."""
    frame = records(spark, map(record, trades), kafka_ms=4_000_000_000_000)
    return valid(parse(frame, future_tolerance_ms=TOLERANCE_MS))


def placed(spark: SparkSession, places: Iterable[tuple[int, int]]) -> DataFrame:
    """Rows with an offset and an index."""
    return spark.createDataFrame(list(places), "offset bigint, index int")


def bars_in(rows: Iterable[Any]) -> list[Bar]:
    """Rows of `bars_1s` (Spark's, or dictionaries of another reader) as bars, sorted."""
    bars = []
    for row in rows:
        fields = dict(row) if isinstance(row, dict) else row.asDict()
        assert fields.pop("date") == fields["timestamp"].astimezone(UTC).date()
        fields["timestamp"] = round(fields["timestamp"].astimezone(UTC).timestamp() * 1000)
        bars.append(Bar(**fields))
    return sorted(bars, key=lambda bar: (bar.exchange, bar.symbol, bar.timestamp, bar.revision))
