"""Upkeep beneath Spark: the query amend's stream of the archive, and Spark's own reading of what upkeep has made."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.recovery.identity import checkpoint_of
from bars.sink import writer_of
from bars.source import trades_stream
from bars.tables import BARS, TRADES
from bars.upkeep import passes as upkeep
from market.bar import bars_of
from tests.bars.frames import bars_in
from tests.bars.scene import Scene
from tests.bars.test_amend import trade

pytestmark = pytest.mark.spark
DAY_MS = 86_400_000


@pytest.fixture
def scene(spark: SparkSession, tmp_path: Path) -> Scene:
    return Scene(spark, tmp_path)


def read(scene: Scene, *, fail: bool = False) -> list[int]:
    """The ids of the rows that the stream of the archive brings since its last batch; `fail` has its batch fail."""
    ids: list[int] = []

    def take(batch: DataFrame, batch_id: int) -> None:
        ids.extend(row["trade_id"] for row in batch.select("trade_id").collect())
        if fail:
            raise OSError("the end")

    path = TRADES.path(scene.settings)
    frame = trades_stream(scene.spark, path)
    writer = writer_of(frame, "amend", checkpoint_of(scene.settings, "amend"), 0, True)
    query = writer.foreachBatch(take).start()
    if fail:
        with pytest.raises(StreamingQueryException, match="the end"):
            query.awaitTermination()
    else:
        query.awaitTermination()
    return sorted(ids)


def archive(scene: Scene, *numbers: int) -> None:
    """Appends rows to the archive, each in a file of its own."""
    for number in numbers:
        scene.archived([trade(number, number)], first=number)


def keep(scene: Scene, *, after_ms: int = 0, **changed: Any) -> upkeep.Did:
    """A pass, some time after now; what it has done to the archive."""
    now_ms = time.time_ns() // 1_000_000 + after_ms
    settings = replace(scene.settings, **({"fold_after_days": 1} | changed))
    return {did.table: did for did in upkeep.upkeep(settings, now_ms=now_ms)}["trades"]


@pytest.mark.long
def test_the_stream_of_the_archive_goes_on(scene: Scene) -> None:
    """Every row comes once, whatever upkeep does before, between and after: files rewritten, old ones removed, a batch
    cut off, whole days deleted."""
    (checkpoint_of(scene.settings, "amend") / "metadata").unlink()
    archive(scene, 0, 1, 2)
    assert read(scene) == [0, 1, 2]
    archive(scene, *range(3, 15))
    assert keep(scene).compacted == 0  # not before the stream has read on
    assert read(scene) == [*range(3, 15)]
    archive(scene, *range(15, 24))
    assert keep(scene, after_ms=2 * DAY_MS).waits_for_amend == 12 + 9  # it may list its newest batch again
    assert read(scene, fail=True) == [*range(15, 24)]
    assert keep(scene, after_ms=2 * DAY_MS).waits_for_amend == 9 + 1  # and what upkeep has made of three
    assert read(scene) == [*range(15, 24)]
    scene.spark.read.format("delta").load(str(TRADES.path(scene.settings))).count()
    archive(scene, 24)
    assert read(scene) == [24]
    did = keep(scene, after_ms=4 * DAY_MS)
    assert did.compacted > 9
    assert did.deleted_files > 9
    assert read(scene) == []
    archive(scene, 25)
    assert read(scene) == [25]
    for number in (DAY_MS, DAY_MS + 1):  # it may list its newest batch again, of two versions
        archive(scene, number)
        assert read(scene) == [number]
    assert keep(scene, after_ms=9 * DAY_MS, archive_days=1).deleted_days == 1
    archive(scene, DAY_MS + 2)
    assert read(scene) == [DAY_MS + 2]


@pytest.mark.long
def test_spark_reads_what_upkeep_has_made(scene: Scene) -> None:
    """All columns of the bars, filtered and not, and the smallest and largest, which Delta takes from the log."""
    trades = [trade(number, 250 * number) for number in range(40)]
    for first in range(0, 40, 4):
        scene.barred(trades[first : first + 4])
    keep(scene, after_ms=4 * DAY_MS)
    frame = scene.spark.read.format("delta").load(str(BARS.path(scene.settings)))
    assert bars_in(frame.collect()) == bars_of(trades)
    ends = frame.agg(F.min("timestamp").alias("first"), F.max("timestamp").alias("last")).collect()[0]
    times = [datetime.fromtimestamp(bar.timestamp / 1000, UTC) for bar in bars_of(trades)]
    assert [found.astimezone(UTC) for found in ends] == [times[0], times[-1]]
    assert frame.filter(F.col("timestamp") == F.lit(times[3])).count() == 1
