"""Trades that come more than once: in the streaming query as a whole, on files in place of Kafka."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from bars.sink import Repeats
from bars.tables import REJECTED, TRADES, create_tables
from market.bar import bars_of
from market.trade import CONFLICT, Trade
from tests.bars.frames import bars_in, record
from tests.bars.pipeline import CLOSE, CLOSE_LATER, DELAY_MS, SOME, Pipeline
from tests.bars.strategies import START_MS, exact_copies, firsts, repeating

pytestmark = pytest.mark.spark


@pytest.fixture(params=["delta", "parquet"])
def pipeline(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Pipeline:
    return Pipeline(spark, tmp_path, request.param)


@given(repeating(), st.integers(1, 39))
@hypothesis_settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
def test_each_trade_counts_once_across_batches_and_starts(spark: SparkSession, some: list[Trade], cut: int) -> None:
    """Copies and conflicts, wherever the topic is cut into batches and starts, leave the bars of the first ones."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(spark, Path(folder))
        for part in (some[:cut], some[cut:]):
            pipeline.feed([*map(record, part)])
            pipeline.run(archive=False)
        pipeline.feed([CLOSE])
        pipeline.run(archive=False)
        assert bars_in(pipeline.rows()) == bars_of(firsts(some).values())
        lost = [offset for offset, trade in enumerate(some) if trade != exact_copies(some)[offset]]
        assert sorted(row["offset"] for row in pipeline.rows(REJECTED)) == lost
        assert sum(told.conflicts for told in pipeline.repeats) == len(lost)
        assert sum(told.copies for told in pipeline.repeats) == len(some) - len(firsts(some)) - len(lost)


@pytest.mark.long
def test_copies_never_count_in_either_format(pipeline: Pipeline) -> None:
    """Records that come twice, in one batch, in the next and after a restart, leave the bars of one."""
    pipeline.feed([*map(record, [*SOME, *SOME[:50]])])
    pipeline.feed([*map(record, SOME[100:])])
    pipeline.run(archive=False)
    pipeline.feed([*map(record, SOME[::2])])
    pipeline.feed([CLOSE])
    pipeline.run(archive=False)
    assert bars_in(pipeline.rows()) == bars_of(SOME)


@pytest.mark.long
def test_repeats_are_counted_for_each_market(spark: SparkSession, tmp_path: Path) -> None:
    """Copies and conflicts are told apart, for each exchange and symbol that has some, once their second closes."""
    pipeline, other = Pipeline(spark, tmp_path), SOME[0]._replace(symbol="ETHUSD")
    changed = SOME[1]._replace(price="7")
    pipeline.feed([*map(record, [*SOME, SOME[0], SOME[0], changed, other, other, other._replace(symbol="LTCUSD")])])
    pipeline.run(archive=False)
    assert pipeline.repeats == []
    pipeline.feed([CLOSE])
    pipeline.run(archive=False)
    told = sorted(pipeline.repeats, key=lambda repeats: repeats.symbol)
    assert told == [Repeats("binance", "BTCUSDT", 2, 1), Repeats("binance", "ETHUSD", 1, 0)]


def test_a_conflict_is_rejected_with_its_place_once(spark: SparkSession, tmp_path: Path) -> None:
    """Of two contents of an id, the one of the lowest offset is in the bar, the other in `rejected_trades`: once."""
    pipeline, changed = Pipeline(spark, tmp_path), SOME[7]._replace(price="99.5")
    pipeline.feed([*map(record, SOME)])
    pipeline.feed([b"[" + record(SOME[8]) + b"," + record(changed) + b"]", CLOSE])
    pipeline.run()
    pipeline.forget("bars")
    pipeline.run(archive=False)
    (row,) = pipeline.rows(REJECTED)
    place = row["topic"], row["partition"], row["offset"], row["index"], row["kafka_time"]
    assert place == ("crypto-trades", 0, 200, 1, None)
    assert (row["raw"], row["reason"], f"{row['date']}") == (None, CONFLICT, "2024-08-08")
    assert len(pipeline.rows(TRADES)) == 202


def test_conflicts_find_their_table_without_the_archive(spark: SparkSession, tmp_path: Path) -> None:
    """The bars query alone creates the table that it appends conflicts to; bars in Parquet need none."""
    alone = replace(Pipeline(spark, tmp_path).settings, queries=("bars",))
    create_tables(replace(alone, bar_format="parquet"))
    assert not REJECTED.path(alone).exists()
    create_tables(alone)
    assert spark.read.format("delta").load(str(REJECTED.path(alone))).collect() == []
    assert not TRADES.path(alone).exists()


@pytest.mark.long
def test_a_copy_that_comes_after_its_second_changes_nothing(pipeline: Pipeline) -> None:
    """Once a second is closed, a copy of one of its trades is late, like every trade: its bar stays, and stays one."""
    pipeline.feed([*map(record, SOME), CLOSE])
    pipeline.run(archive=False)
    pipeline.feed([*map(record, SOME[:20]), CLOSE_LATER])
    pipeline.run(archive=False)
    assert bars_in(pipeline.rows()) == bars_of(SOME)
    assert pipeline.repeats == []


def test_one_id_in_two_seconds_counts_in_both(pipeline: Pipeline) -> None:
    """Seconds close apart, so an id is known within its own; the same one in another second is left to the audit."""
    twice = [SOME[0], SOME[0]._replace(timestamp=START_MS + 5_000)]
    pipeline.feed([*map(record, twice), CLOSE])
    pipeline.run(archive=False)
    assert bars_in(pipeline.rows()) == bars_of(twice)


@pytest.mark.long
def test_a_trade_counts_as_long_as_its_second_is_open(pipeline: Pipeline) -> None:
    """A trade that the watermark has passed counts while its second is open, and its copies count as little as ever."""
    early, late = SOME[0]._replace(timestamp=START_MS + 100), SOME[1]._replace(timestamp=START_MS + 200)
    heartbeat = json.dumps({"exchange": "binance", "heartbeat": START_MS + DELAY_MS + 500}).encode()
    for values in ([record(early), heartbeat], [heartbeat], [record(late), record(early), record(late)], [CLOSE]):
        pipeline.feed(values)
    pipeline.run(archive=False)
    assert bars_in(pipeline.rows()) == bars_of([early, late])


@pytest.mark.long
def test_repeats_are_looked_for_without_running_the_query_again(spark: SparkSession, tmp_path: Path) -> None:
    """Whatever is looked for in a batch, its plan runs once: each second leaves the state once, not once per look."""
    pipeline = Pipeline(spark, tmp_path)
    pipeline.feed([*map(record, [*SOME, *SOME[:9], SOME[9]._replace(price="7")]), CLOSE])
    pipeline.run(archive=False)
    assert len(pipeline.rows(REJECTED)) == 1
    assert pipeline.removed == len(bars_of(SOME))
