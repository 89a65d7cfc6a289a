"""Which trades came too late: told from the checkpoint, and held to what Spark has really left out."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer
from pyspark.sql import DataFrame, SparkSession

from bars.aggregate import gathered, spread
from bars.late import Span, Stretch, possible, stretches, suspects, unread
from bars.parse import parse, trades, valid
from bars.recovery.checkpoint import Batch, committed
from bars.source import kafka_stream, kafka_table
from market import settings
from market.settings import Settings
from market.trade import Heartbeat, Trade
from tests.bars.frames import record
from tests.bars.strategies import START_MS

DELAY_MS = 2_000
TOPIC = "crypto-trades"


def batch(number: int, watermark_ms: int, **offsets: int) -> Batch:
    """A batch that ends at these offsets: p0=5 is offset 5 of partition 0."""
    return Batch(number, watermark_ms, {}, {TOPIC: {int(name[1:]): offset for name, offset in offsets.items()}})


class TestStretches:
    """What a row of batches says of every record, worked out by hand."""

    def test_a_batch_is_late_by_the_watermark_of_the_one_before(self) -> None:
        """Batch 0 leaves out nothing; each further one goes by the watermark of its predecessor."""
        assert stretches(
            [batch(0, 0, p0=5, p1=7), batch(1, 4_000, p0=9, p1=7), batch(2, 6_000, p0=9, p1=8)], TOPIC
        ) == [
            Stretch(0, 0, 5, 0, -1, True),
            Stretch(1, 0, 7, 0, -1, True),
            Stretch(0, 5, 9, 0, 0, True),
            Stretch(1, 7, 8, 4_000, 1, True),
        ]

    def test_what_purged_batches_have_read_was_late_by_no_more_than_the_next_watermark(self) -> None:
        """Before the oldest batch that is kept, and across a hole, the next one that is known bounds lateness."""
        assert stretches([batch(5, 1_000, p0=50), batch(6, 2_000, p0=60), batch(9, 3_000, p0=90)], TOPIC) == [
            Stretch(0, 0, 50, 1_000, 5, False),
            Stretch(0, 50, 60, 1_000, 5, True),
            Stretch(0, 60, 90, 3_000, 9, False),
        ]

    def test_a_partition_that_was_added_begins_at_0(self) -> None:
        """A partition that the batch before did not have has all its records read by this one."""
        assert stretches([batch(3, 1_000, p0=5), batch(4, 2_000, p0=5, p1=2)], TOPIC)[1:] == [
            Stretch(1, 0, 2, 1_000, 3, True)
        ]

    def test_nothing_is_read_before_the_first_batch(self) -> None:
        """Without a finished batch there is no stretch."""
        assert stretches([], TOPIC) == []

    def test_only_the_stretches_of_some_records_are_wanted(self) -> None:
        """Of all stretches, those that hold a record of the spans."""
        of = [Stretch(0, start, start + 10, 9_000, 0, True) for start in (0, 10, 20)]
        of += [Stretch(1, 0, 10, 9_000, 0, True)]
        assert possible(of, {0: Span(10, 20, 0)}) == [of[1]]
        assert possible(of, {0: Span(9, 21, 0), 1: Span(9, 10, 0)}) == of
        assert possible(of, {1: Span(10, 11, 0)}) == []

    def test_only_the_stretches_that_can_have_left_something_out_are_wanted(self) -> None:
        """A stretch concerns a span if its watermark has reached the end of the second of the span's first trade."""
        of = [Stretch(0, 0, 10, watermark_ms, 0, True) for watermark_ms in (2_999, 3_000, 9_000)]
        assert possible(of, {0: Span(0, 10, 2_000)}) == of[1:]
        assert possible(of, {0: Span(0, 10, 2_999)}) == of[1:]
        assert possible(of, {0: Span(0, 10, 3_000)}) == of[2:]

    def test_what_is_not_read_yet(self) -> None:
        """The partitions in which a query is short, with where it is and where it must be."""
        assert unread(batch(0, 0, p0=5, p1=7), TOPIC, {0: 5, 1: 8, 2: 1}) == {1: (7, 8), 2: (0, 1)}
        assert unread(None, TOPIC, {0: 1}) == {0: (0, 1)}
        assert unread(batch(0, 0, p0=5), TOPIC, {0: 5}) == {}


@pytest.mark.spark
def test_the_seconds_of_late_trades_are_found_with_how_late(spark: SparkSession) -> None:
    """Per exchange, symbol and second: how many were late for certain, by how much, and the batch that closed it."""
    rows = [
        ("binance", "A", 1_999, 0, 5),  # the second ends at 2000, the watermark: late by 0
        ("binance", "A", 1_000, 0, 6),
        ("binance", "A", 2_000, 0, 7),  # not late: its second ends at 3000
        ("binance", "B", 0, 1, 3),  # read by a batch that is purged: perhaps late
        ("binance", "B", 8_000, 1, 4),  # its second is open still
        ("coinbase", "A", 500, 0, 8),  # late by 1000
        ("coinbase", "A", 600, 0, 12),  # late by 3000, a batch later
    ]
    some = spark.createDataFrame(rows, "exchange string, symbol string, time_ms bigint, partition int, offset bigint")
    found = suspects(
        some.selectExpr("*", "timestamp_millis(time_ms) AS timestamp"),
        [Stretch(0, 0, 10, 2_000, 3, True), Stretch(0, 10, 20, 4_000, 4, True), Stretch(1, 0, 9, 5_000, 7, False)],
    )
    assert sorted(map(tuple, found.collect())) == [
        ("binance", "A", 1_000, 2, 0, 3),
        ("binance", "B", 0, 0, None, 7),
        ("coinbase", "A", 0, 2, 3_000, 4),
    ]
    assert suspects(some.selectExpr("*", "timestamp_millis(time_ms) AS timestamp"), []).collect() == []


@pytest.mark.spark
@pytest.mark.e2e
class TestSpark:
    """The rule itself, on a real topic: whatever order trades come in, what Spark leaves out is what we say is late."""

    @pytest.fixture
    def configured(self, kafka: str, topic: str, tmp_path: Path) -> Settings:
        """A topic and a checkpoint of the test's own; five records of each partition to a batch."""
        own = {"kafka_bootstrap": kafka, "kafka_topic": topic, "checkpoint_dir": str(tmp_path / "checkpoints")}
        return replace(settings.load({}, None, own), max_offsets_per_trigger=20)

    @pytest.mark.long
    @pytest.mark.parametrize("seed", range(2))
    def test_late_are_the_trades_that_no_bar_has(self, spark: SparkSession, configured: Settings, seed: int) -> None:
        """Through first batches, batches without data, restarts and batches that are repeated after a crash."""
        chance, checkpoint, counted = random.Random(seed), configured.checkpoints, set[int]()
        numbers = iter(range(10**6))
        lag_s = [0, 1, chance.randint(3, 30), chance.randint(30, 10_000)]
        for run in range(4):
            elements = [
                (partition, disorderly(chance, number, lag_s[partition], run))
                for number, partition in ((next(numbers), chance.randrange(4)) for _ in range(chance.randint(10, 70)))
            ]
            if run == 2:
                crash_before_the_commit(checkpoint)
            publish(configured, elements)
            counted |= in_bars(spark, configured, checkpoint)
        publish(configured, [(0, Heartbeat("binance", START_MS + 10**9))])
        counted |= in_bars(spark, configured, checkpoint)

        batches = committed(checkpoint, {})
        assert [found.id for found in batches] == list(range(len(batches))), "none is purged yet"
        every = archive(spark, configured, batches[-1])
        left_out = {row["trade_id"] for row in every.collect()} - counted
        places = {row["trade_id"]: (row["partition"], row["offset"], row["time_ms"]) for row in every.collect()}
        by_the_rule = late_by(places, stretches(batches, configured.kafka_topic))
        assert len(left_out) > 5
        assert by_the_rule == left_out
        found = suspects(every, stretches(batches, configured.kafka_topic)).agg({"late": "sum"}).collect()
        assert found[0][0] == len(left_out)
        # The experiment tells the two watermarks apart: by the batch's own, other trades would be late.
        own = [
            replace(one, watermark_ms=following.watermark_ms)
            for one, following in zip(batches, [*batches[1:], batches[-1]], strict=True)
        ]
        assert late_by(places, stretches(own, configured.kafka_topic)) > left_out


def late_by(places: Mapping[int, tuple[int, int, int]], stretches: Iterable[Stretch]) -> set[int]:
    """The trades (id to partition, offset and time) that stretches say are late, in plain Python."""
    return {
        trade_id
        for trade_id, (partition, offset, time_ms) in places.items()
        for part in stretches
        if (part.partition == partition and part.start <= offset < part.end)
        and time_ms // 1000 * 1000 + 1000 <= part.watermark_ms
    }


def disorderly(chance: random.Random, number: int, lag_s: int, run: int) -> Trade:
    """A trade that is behind by its partition's lag, give or take some seconds, in a stream that goes on by 10 s."""
    time_ms = START_MS + run * 10_000 + chance.randint(-5_000, 5_000) - lag_s * 1000
    return Trade("binance", f"S{chance.randrange(3)}X", "1", "1", time_ms, number, False)


def publish(configured: Settings, elements: Iterable[tuple[int, Trade | Heartbeat]]) -> None:
    """Appends elements to the topic, each to its partition."""
    producer = KafkaProducer(bootstrap_servers=configured.kafka_bootstrap)
    try:
        for partition, element in elements:
            producer.send(configured.kafka_topic, record(element), partition=partition)  # type: ignore[arg-type]
        producer.flush()
    finally:
        producer.close()


def in_bars(spark: SparkSession, configured: Settings, checkpoint: Path) -> set[int]:
    """Runs the bars query's own plan on what the topic holds; the ids of the trades that its bars are made of."""
    seen = set[int]()

    def take(batch: DataFrame, _: int) -> None:
        seen.update(row["trade_id"] for row in spread(batch).select("trade_id").collect())

    elements = kafka_stream(spark, configured).transform(parse, future_tolerance_ms=4 * 10**12).transform(valid)
    query = (
        gathered(elements, watermark_delay_ms=DELAY_MS)
        .writeStream.foreachBatch(take)
        .option("checkpointLocation", str(checkpoint))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return seen


def crash_before_the_commit(checkpoint: Path) -> None:
    """Leaves what a crash right before the end of the newest batch leaves: it is planned, and not finished."""
    newest = max((checkpoint / "commits").glob("[0-9]*"), key=lambda file: int(file.name))
    newest.unlink()
    (newest.parent / f".{newest.name}.crc").unlink()


def archive(spark: SparkSession, configured: Settings, batch: Batch) -> DataFrame:
    """Every trade of the topic that the query has read, with its place and time."""
    until: Mapping[str, Any] = batch.offsets[configured.kafka_topic]
    since = dict.fromkeys(until, 0)
    rows = (
        kafka_table(spark, configured, since, until).transform(parse, future_tolerance_ms=4 * 10**12).transform(trades)
    )
    return rows.withColumnRenamed("event_time", "timestamp").cache()
