"""The Spark aggregation, held to the definition of a bar, to the exchange, and to its plan."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, given, settings
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.aggregate import COLUMNS, closed_bars, gathered, spread, streamed_bars, to_bars
from bars.parse import parse, valid
from bars.unique import unique
from market.bar import Bar, bars_of
from market.trade import Trade
from tests import recordings
from tests.bars.frames import bars_in, elements, records
from tests.bars.strategies import exact_copies, firsts, repeating, trades

pytestmark = pytest.mark.spark

TRADE = Trade("binance", "BTCUSDT", "100.5", "0.25", 1_723_161_599_003, 7, True)
MANY = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))


def bars_by_spark(spark: SparkSession, some: list[Trade]) -> list[Bar]:
    return bars_in(to_bars(elements(spark, some)).collect())


@given(trades())
@MANY
def test_spark_makes_the_defined_bars(spark: SparkSession, some: list[Trade]) -> None:
    """Of any trades in any order, with ties in time and repeated prices, Spark makes the bars of the definition."""
    assert bars_by_spark(spark, some) == bars_of(some)


@given(trades())
@MANY
@pytest.mark.long
def test_order_and_partitions_do_not_matter(spark: SparkSession, some: list[Trade]) -> None:
    """Trades in reverse and spread over seven partitions give the same bars."""
    there = to_bars(elements(spark, some))
    back = to_bars(elements(spark, some[::-1]).repartition(7))
    assert_df_equality(there, back, ignore_row_order=True)


@given(repeating())
@MANY
def test_gathered_trades_are_all_there_with_their_place(spark: SparkSession, some: list[Trade]) -> None:
    """What is gathered and spread again is what was put in, copies and all, each with its place in the topic."""
    fields = ("exchange", "symbol", "trade_id", "time_ms", "price", "quantity", "is_buyer_maker")
    place = ("partition", "offset", "index")
    frame = elements(spark, some)
    back = spread(gathered(frame, watermark_delay_ms=2_000))
    assert_df_equality(back.select(*fields, *place), frame.select(*fields, *place), ignore_row_order=True)


@given(repeating())
@MANY
def test_copies_are_counted_in_each_second(spark: SparkSession, some: list[Trade]) -> None:
    """Each second tells how many of its trades bear an id that another one bears."""
    seconds: defaultdict[tuple[str, str, int], list[int]] = defaultdict(list)
    for trade in some:
        seconds[trade.exchange, trade.symbol, trade.timestamp // 1000].append(trade.trade_id)
    rows = gathered(elements(spark, some), watermark_delay_ms=2_000).collect()
    found = {(row["exchange"], row["symbol"], int(row["window"]["start"].timestamp())): row["copies"] for row in rows}
    assert found == {second: len(ids) - len(set(ids)) for second, ids in seconds.items()}


@given(repeating())
@MANY
def test_both_ways_to_bars_make_the_defined_ones(spark: SparkSession, some: list[Trade]) -> None:
    """Each trade counts once, in the stream and behind it, and makes the bars of the definition."""
    frame, once = elements(spark, exact_copies(some)), bars_of(firsts(some).values())
    behind = gathered(frame, watermark_delay_ms=2_000).transform(spread).transform(unique, "window")
    assert bars_in(to_bars(behind).collect()) == once
    assert bars_in(streamed_bars(frame, watermark_delay_ms=2_000).collect()) == once


def test_the_largest_numbers_fit(spark: SparkSession) -> None:
    """Trades at the limits of price and quantity are summed exactly and do not overflow."""
    some = [
        Trade("binance", "BTCUSDT", "9999999999.99999999", "99999999999.99999999", 1_723_161_599_000, number, False)
        for number in range(1000)
    ]
    assert bars_by_spark(spark, some) == bars_of(some)


def test_a_heartbeat_makes_no_bar(spark: SparkSession) -> None:
    """A heartbeat alone in its second leaves no row, whether bars are made in the stream or behind it."""
    values = [b'{"exchange":"binance","heartbeat":1723161599000}']
    frame = valid(parse(records(spark, values, kafka_ms=1_723_161_599_000), future_tolerance_ms=0))
    assert gathered(frame, watermark_delay_ms=2_000).collect() == []
    assert streamed_bars(frame, watermark_delay_ms=2_000).collect() == []


def test_the_columns_are_the_bars_fields(spark: SparkSession) -> None:
    """`bars_1s` has the fields of a bar in their order, and the date."""
    assert list(COLUMNS) == [*Bar.__dataclass_fields__, "date"]
    assert to_bars(elements(spark, [])).columns == list(COLUMNS)
    assert streamed_bars(elements(spark, []), watermark_delay_ms=1).columns == list(COLUMNS)


def test_what_lies_in_the_state_is_fixed(spark: SparkSession) -> None:
    """These fields of a trade are in every checkpoint: with others, Spark could not go on with one that is there."""
    frame = gathered(elements(spark, []), watermark_delay_ms=1)
    assert frame.schema["trades"].dataType.simpleString() == (
        "array<struct<trade_id:bigint,time_ms:bigint,price:decimal(18,8),quantity:decimal(19,8),"
        "is_buyer_maker:boolean,partition:int,position:bigint>>"
    )


def test_recorded_minutes_equal_the_exchanges_klines(spark: SparkSession) -> None:
    """The seconds of the recorded USD-M trades, rolled up to minutes, are the exchange's klines in nine fields."""
    minutes = to_bars(elements(spark, recordings.usdm_trades())).transform(rolled_up)
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

    @pytest.fixture(params=[gathered, streamed_bars], ids=["gathered", "streamed_bars"])
    def plan(self, request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Any) -> str:
        """The plan of a batch of the stream, from the Kafka columns on."""
        frame = records(spark, [b"{}"], kafka_ms=1_723_161_599_000)
        frame.write.parquet(str(tmp_path / "records"))
        stream = spark.readStream.schema(frame.schema).parquet(str(tmp_path / "records"))
        bars = request.param(valid(parse(stream, future_tolerance_ms=2_000)), watermark_delay_ms=2_000)
        query = bars.writeStream.format("noop").option("checkpointLocation", str(tmp_path / "checkpoint")).start()
        try:
            query.processAllAvailable()
            return str(query._jsq.explainInternal(False))  # type: ignore[attr-defined]
        finally:
            query.stop()

    def test_nothing_is_sorted(self, plan: str) -> None:
        """Every aggregation goes by hashes; a SortAggregate would sort every trade."""
        assert "HashAggregate" in plan
        assert "SortAggregate" not in plan
        assert "Sort [" not in plan

    def test_no_python_runs_on_executors(self, plan: str) -> None:
        """The plan evaluates no Python: executors need none of our code, and no trade leaves the JVM."""
        assert "Python" not in plan

    def test_as_few_shuffles_as_can_be(self, plan: str) -> None:
        """Gathered trades are shuffled once; where Spark removes copies, a second time, for it does so by the id."""
        assert plan.count("Exchange hashpartitioning") == (1 if "collect_list" in plan else 2)

    def test_heartbeats_reach_the_watermark(self, plan: str) -> None:
        """No filter under the watermark tells trades from heartbeats, so that a heartbeat can move it."""
        _, _, below = plan.partition("EventTimeWatermark")
        assert below
        conditions = [line for line in below.splitlines() if "- *" in line and " Filter " in line]
        assert conditions
        assert not [line for line in conditions if "heartbeat" in line or "trade_id" in line or "symbol" in line]


class TestPlanBehindTheStream:
    """The same of the batch that makes bars of what was gathered."""

    @pytest.fixture
    def plan(self, spark: SparkSession) -> str:
        """The plan from gathered seconds to bars of unique trades, as the seconds come: by their key in partitions."""
        seconds = gathered(elements(spark, [TRADE]), watermark_delay_ms=2_000).persist()
        try:
            bars = to_bars(unique(spread(seconds), "window"))
            plan = str(bars._jdf.queryExecution().executedPlan().toString())  # type: ignore[operator]
        finally:
            seconds.unpersist()
        return plan.partition("InMemoryTableScan")[0]

    def test_nothing_is_sorted(self, plan: str) -> None:
        """Every aggregation is a HashAggregate."""
        assert plan.count("HashAggregate") == 4
        assert "SortAggregate" not in plan
        assert "ObjectHash" not in plan

    def test_nothing_is_shuffled_where_all_are_unique(self, spark: SparkSession) -> None:
        """The usual case: the trades of a second become a bar where they are, by hash."""
        seconds = gathered(elements(spark, [TRADE]), watermark_delay_ms=2_000).persist()
        try:
            plan = str(closed_bars(seconds)._jdf.queryExecution().executedPlan().toString())  # type: ignore[operator]
        finally:
            seconds.unpersist()
        plan = plan.partition("InMemoryTableScan")[0]
        assert plan.count("HashAggregate") == 2
        assert "Sort" not in plan
        assert "ObjectHash" not in plan
        assert "Exchange" not in plan

    def test_trades_are_not_shuffled(self, plan: str) -> None:
        """What is shuffled is partial bars: the trades of a second are all in one partition already."""
        assert plan.count("Exchange") == 1
        assert plan.index("Exchange") < plan.index("Generate inline")
        below = plan.partition("Exchange")[2]
        assert below.count("HashAggregate") == 3
