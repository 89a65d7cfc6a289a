"""The streaming query as a whole, on files in place of Kafka: splits, repeats, crashes between two commits."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from bars.follow import follow
from bars.tables import BARS, REJECTED, TRADES
from market.bar import bars_of
from market.trade import Rejected, Trade
from tests.bars.frames import bars_in, record
from tests.bars.pipeline import CLOSE, CLOSE_LATER, SOME, Pipeline
from tests.bars.strategies import trades
from tests.elements import CASES, KAFKA_MS

pytestmark = pytest.mark.spark


@pytest.fixture(params=["delta", "parquet"])
def pipeline(request: pytest.FixtureRequest, spark: SparkSession, tmp_path: Path) -> Pipeline:
    return Pipeline(spark, tmp_path, request.param)


def split(values: Sequence[bytes], seed: int, parts: int) -> Iterator[list[bytes]]:
    """The records in any order, in that many parts."""
    chance = random.Random(seed)
    shuffled = chance.sample(list(values), len(values))
    cuts = sorted(chance.choices(range(len(values) + 1), k=parts - 1))
    yield from (shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True))


@given(trades(), st.integers(0, 10**6))
@hypothesis_settings(max_examples=2, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_split_into_batches_gives_the_defined_bars(spark: SparkSession, some: list[Trade], seed: int) -> None:
    """Trades in any order, split into any batches, single or several to a record, end in the bars of the definition."""
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(spark, Path(folder))
        for part in split([record(trade) for trade in some], seed, 3):
            pipeline.feed([b"[" + b",".join(part) + b"]"] if part else [])
        pipeline.feed([CLOSE])
        pipeline.run()
        assert bars_in(pipeline.rows()) == bars_of(some)


@pytest.mark.long
def test_a_second_run_adds_nothing(pipeline: Pipeline) -> None:
    """Run twice on the same records, the job leaves the same table."""
    pipeline.feed([*map(record, SOME), CLOSE])
    pipeline.run()
    first = bars_in(pipeline.rows())
    pipeline.run()
    assert first == bars_in(pipeline.rows()) == bars_of(SOME)


@pytest.mark.long
def test_a_crash_between_the_tables_commit_and_sparks_adds_nothing(pipeline: Pipeline) -> None:
    """A batch whose rows are in the tables, but which Spark has not noted as finished, is repeated without a trace."""
    pipeline.feed([*map(record, SOME), CLOSE])
    pipeline.run()
    for query in ("bars", "archive"):
        pipeline.forget(query)
    later = [trade._replace(timestamp=trade.timestamp + 100_000, trade_id=trade.trade_id + 200) for trade in SOME]
    pipeline.feed([*map(record, later), CLOSE_LATER])
    pipeline.run()
    assert bars_in(pipeline.rows()) == bars_of([*SOME, *later])
    assert len(pipeline.rows(TRADES)) == 400


@pytest.mark.long
def test_new_bars_can_be_followed(pipeline: Pipeline) -> None:
    """Who follows the table sees each bar that comes once, and none that was there, also past a compacted log."""
    pipeline.feed([*map(record, SOME), CLOSE])
    pipeline.run()
    follower = follow(BARS.path(pipeline.settings), pipeline.bar_format)
    later = [trade._replace(timestamp=trade.timestamp + 100_000, trade_id=trade.trade_id + 200) for trade in SOME]
    pipeline.feed([*map(record, later)])
    # Spark compacts the log of its Parquet sink at every tenth batch.
    for _ in range(8 if pipeline.bar_format == "parquet" else 1):
        pipeline.feed([CLOSE_LATER])
    pipeline.run()
    seen = sorted((row["timestamp"].timestamp() * 1000, row["trade_count"]) for row in follower.rows())
    assert seen == [(bar.timestamp, bar.trade_count) for bar in bars_of(later)]
    assert follower.rows() == []


def test_the_archive_holds_every_element(spark: SparkSession, tmp_path: Path) -> None:
    """Every trade is in `trades` and every rejected element in `rejected_trades`, with its place, bytes and reason."""
    pipeline = Pipeline(spark, tmp_path)
    pipeline.feed([case.value for case in CASES], KAFKA_MS)
    pipeline.run()
    expected_trades, expected_rejected = [], []
    for offset, case in enumerate(CASES):
        for index, element in enumerate(case.elements):
            if isinstance(element, Trade):
                numbers = Decimal(element.price), Decimal(element.quantity)
                expected_trades.append((offset, index, element.trade_id, element.timestamp, *numbers))
            elif isinstance(element, Rejected):
                expected_rejected.append((offset, case.value, element.reason))
    stored = [
        (
            row["offset"],
            row["index"],
            row["trade_id"],
            round(row["timestamp"].timestamp() * 1000),
            row["price"],
            row["quantity"],
        )
        for row in pipeline.rows(TRADES)
    ]
    refused = [
        (row["offset"], None if row["raw"] is None else bytes(row["raw"]), row["reason"])
        for row in pipeline.rows(REJECTED)
    ]
    assert sorted(stored) == sorted(expected_trades)
    assert sorted(refused, key=repr) == sorted(expected_rejected, key=repr)
