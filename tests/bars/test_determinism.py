"""The same trades, the same table: read again, in other batches, in another order, with copies or without."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bars.tables import BARS
from market.trade import Trade, record_of
from tests.bars.runs import START_MS, Job, configured, heartbeat, new_topic, some

pytestmark = pytest.mark.spark

WATERMARK_MS = 2_000
TRADES = sorted(
    [*some(150), *some(150, symbol="ETHUSDT", start_ms=START_MS + 50)],
    key=lambda trade: (trade.timestamp, trade.symbol),
)


def table(job: Job) -> list[dict[str, object]]:
    """Every row of the bars, all revisions and columns."""
    return sorted(job.rows(BARS), key=lambda row: (row["symbol"], row["timestamp"], row["revision"]))  # type: ignore[arg-type,return-value]


def shuffled(trades: list[Trade], seed: int) -> list[Trade]:
    """Trades as far out of order as the watermark allows, and some of them twice."""
    chance = random.Random(seed)
    late = {id(trade): trade.timestamp + chance.uniform(0, WATERMARK_MS - 1) for trade in trades}
    moved = sorted(trades, key=lambda trade: late[id(trade)])
    return [trade for trade in moved for _ in range(1 + (chance.random() < 0.1))]


def test_replays_and_shuffles_leave_the_same_table(spark: SparkSession, kafka: str, tmp_path: Path) -> None:
    """One topic read twice, in other batches, and one of the same trades shuffled within the watermark: equal rows."""

    def job(topic: str, name: str, per_batch: int) -> Job:
        options = {"max_offsets_per_trigger": str(per_batch), "queries": "bars"}
        return Job(configured(kafka, topic, tmp_path / name, **options), spark)

    topic, other = new_topic(kafka, partitions=1), new_topic(kafka, partitions=1)
    jobs = [job(topic, "first", 10_000), job(topic, "again", 170), job(other, "shuffled", 190)]
    for source, trades in ((jobs[0], TRADES), (jobs[2], shuffled(TRADES, seed=7))):
        source.send([*map(record_of, trades), heartbeat(START_MS + 100_000)])
    assert [one.process() for one in jobs] == [0, 0, 0]
    tables = [table(one) for one in jobs]
    assert tables[1] == tables[0]
    assert tables[2] == tables[0]
    assert jobs[0].bars() == jobs[0].expected()
    assert len(tables[0]) == 30
