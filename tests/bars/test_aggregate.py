"""The Spark aggregation, held to the definition of a bar, to the exchange, and to its plan."""

from __future__ import annotations

from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, given, settings
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.aggregate import COLUMNS, to_bars
from bars.parse import parse, valid
from market.bar import Bar, bars_of
from market.trade import Trade
from tests import recordings
from tests.bars.frames import bars_in, elements, records
from tests.bars.strategies import trades

pytestmark = pytest.mark.spark

MANY = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def bars_by_spark(spark: SparkSession, some: list[Trade]) -> list[Bar]:
    return bars_in(to_bars(elements(spark, some), watermark_delay_ms=2_000).collect())


@given(trades())
@MANY
def test_spark_makes_the_defined_bars(spark: SparkSession, some: list[Trade]) -> None:
    """Of any trades in any order, with ties in time and repeated prices, Spark makes the bars of the definition."""
    assert bars_by_spark(spark, some) == bars_of(some)


@given(trades())
@MANY
def test_order_and_partitions_do_not_matter(spark: SparkSession, some: list[Trade]) -> None:
    """Trades in reverse and spread over seven partitions give the same bars."""
    there = to_bars(elements(spark, some), watermark_delay_ms=2_000)
    back = to_bars(elements(spark, some[::-1]).repartition(7), watermark_delay_ms=2_000)
    assert_df_equality(there, back, ignore_row_order=True)


def test_the_largest_numbers_fit(spark: SparkSession) -> None:
    """Trades at the limits of price and quantity are summed exactly and do not overflow."""
    some = [
        Trade("binance", "BTCUSDT", "9999999999.99999999", "99999999999.99999999", 1_723_161_599_000, number, False)
        for number in range(1000)
    ]
    assert bars_by_spark(spark, some) == bars_of(some)


def test_a_heartbeat_makes_no_bar(spark: SparkSession) -> None:
    """A heartbeat alone in its second leaves no row."""
    values = [b'{"exchange":"binance","heartbeat":1723161599000}']
    frame = valid(parse(records(spark, values, kafka_ms=1_723_161_599_000), future_tolerance_ms=0))
    assert to_bars(frame, watermark_delay_ms=2_000).collect() == []


def test_the_columns_are_the_bars_fields(spark: SparkSession) -> None:
    """`bars_1s` has the fields of a bar in their order, and the date."""
    assert list(COLUMNS) == [*Bar.__dataclass_fields__, "date"]
    assert to_bars(elements(spark, []), watermark_delay_ms=1).columns == list(COLUMNS)


def test_recorded_minutes_equal_the_exchanges_klines(spark: SparkSession) -> None:
    """The seconds of the recorded USD-M trades, rolled up to minutes, are the exchange's klines in nine fields."""
    minutes = to_bars(elements(spark, recordings.usdm_trades()), watermark_delay_ms=2_000).transform(rolled_up)
    found = {row["start"]: tuple(row)[1:] for row in minutes.collect()}
    klines = recordings.usdm_klines()
    assert {start: found[start] for start in klines} == klines


def test_recorded_spot_trades_make_complete_bars(spark: SparkSession) -> None:
    """The bars of the recorded spot trades are those of the definition, and no id is missing in any."""
    some = recordings.spot_trades()
    bars = bars_by_spark(spark, some)
    assert bars == bars_of(some)
    assert {bar.missing_trades for bar in bars} == {0}
    assert sum(bar.trade_count for bar in bars) == 9_757 + 10_147


def rolled_up(bars: DataFrame) -> DataFrame:
    """Minutes made of seconds, in the nine fields of a kline."""
    second = F.col("timestamp")
    return bars.groupBy((F.unix_seconds(F.date_trunc("minute", second)) * 1000).alias("start")).agg(
        F.min_by("open", second),
        F.max("high"),
        F.min("low"),
        F.max_by("close", second),
        F.sum("volume"),
        F.sum("quote_volume"),
        F.sum("trade_count"),
        F.sum("taker_buy_volume"),
        F.sum("taker_buy_quote_volume"),
    )


class TestPlan:
    """What the physical plan of the streaming query must be, because speed or exactness hangs on it."""

    @pytest.fixture
    def plan(self, spark: SparkSession, tmp_path: Any) -> str:
        """The plan of a batch of the stream, from the Kafka columns to the bars."""
        frame = records(spark, [b"{}"], kafka_ms=1_723_161_599_000)
        frame.write.parquet(str(tmp_path / "records"))
        stream = spark.readStream.schema(frame.schema).parquet(str(tmp_path / "records"))
        bars = to_bars(valid(parse(stream, future_tolerance_ms=2_000)), watermark_delay_ms=2_000)
        query = bars.writeStream.format("noop").option("checkpointLocation", str(tmp_path / "checkpoint")).start()
        try:
            query.processAllAvailable()
            return str(query._jsq.explainInternal(False))  # type: ignore[attr-defined]
        finally:
            query.stop()

    def test_bars_are_hash_aggregated(self, plan: str) -> None:
        """Every aggregation is a HashAggregate; a SortAggregate would sort every trade."""
        assert "HashAggregate" in plan
        assert "SortAggregate" not in plan

    def test_no_python_runs_on_executors(self, plan: str) -> None:
        """The plan evaluates no Python: executors need none of our code, and no trade leaves the JVM."""
        assert "Python" not in plan

    def test_one_shuffle(self, plan: str) -> None:
        """Trades are shuffled once, after the partial aggregation."""
        assert plan.count("Exchange hashpartitioning") == 1

    def test_heartbeats_reach_the_watermark(self, plan: str) -> None:
        """No filter under the watermark tells trades from heartbeats, so that a heartbeat can move it."""
        _, _, below = plan.partition("EventTimeWatermark")
        assert below
        conditions = [line for line in below.splitlines() if "- *" in line and " Filter " in line]
        assert conditions
        assert not [line for line in conditions if "heartbeat" in line or "trade_id" in line or "symbol" in line]
