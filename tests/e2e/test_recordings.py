"""Recorded frames of real exchanges through the whole line: producer → Kafka → job → table, read without Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import deltalake
import pytest
from pyspark.sql import SparkSession

from bars import pairing, reconcile, run
from bars.checkpoint import last_committed
from bars.sink import BARS, REJECTED, TRADES
from market import settings
from market.bar import Bar, bars_of
from market.settings import ROOT, Settings
from market.trade import Trade
from tests import recordings
from tests.bars.frames import bars_in

pytestmark = [pytest.mark.e2e, pytest.mark.spark]


@pytest.fixture
def configured(kafka: str, topic: str, tmp_path: Path) -> Settings:
    """A topic, tables and checkpoints of the test's own."""
    return settings.load({}, None, environment(kafka, topic, tmp_path))


def environment(kafka: str, topic: str, folder: Path) -> dict[str, str]:
    folders = {"OUTPUT_DIR": str(folder / "data"), "CHECKPOINT_DIR": str(folder / "checkpoints")}
    return {"KAFKA_BOOTSTRAP": kafka, "KAFKA_TOPIC": topic} | folders


def replay(configured: Settings, *files: str, **changes: str) -> str:
    """What the producer says of replaying recordings as fast as it can."""
    own = {
        "KAFKA_BOOTSTRAP": configured.kafka_bootstrap,
        "KAFKA_TOPIC": configured.kafka_topic,
    }
    paths = [str(recordings.path(name)) for name in files]
    done = subprocess.run(
        [sys.executable, "-m", "producer", "--replay", *paths, "--speed", "max", "--close"],
        env=os.environ | own | changes,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def process(spark: SparkSession, configured: Settings) -> list[Bar]:
    """Runs the job on what the topic holds; the table as a plain Delta reader sees it."""
    assert run.run(spark, configured, run.Stop(), available_now=True) == 0
    return read(configured)


def read(configured: Settings) -> list[Bar]:
    return bars_in(deltalake.DeltaTable(BARS.path(configured)).to_pyarrow_table().to_pylist())


@pytest.mark.parametrize(
    ("files", "trades", "batch_size"),
    [
        (recordings.SPOT, recordings.spot_trades, 1),
        ((recordings.USDM,), recordings.usdm_trades, 32),
        ((recordings.COINBASE,), recordings.coinbase_trades, 1),
    ],
    ids=["spot", "usdm", "coinbase"],
)
def test_recorded_frames_become_the_bars_of_their_trades(
    spark: SparkSession,
    configured: Settings,
    files: tuple[str, ...],
    trades: Callable[[], list[Trade]],
    batch_size: int,
) -> None:
    """The table equals, bar for bar, what plain Python computes from the file; every trade is in the archive once."""
    replay(configured, *files, BATCH_SIZE=str(batch_size))
    expected = trades()
    if files == recordings.SPOT:
        configured = replace(configured, max_offsets_per_trigger=5_000)
    bars = process(spark, configured)
    last = last_committed(pairing.checkpoint_of(configured, "bars"))
    # 19,904 records of spot are four batches of 5,000, the closing heartbeat comes with the last, one more closes.
    assert last is not None
    assert last.id == (4 if files == recordings.SPOT else 1)
    assert bars == bars_of(expected)
    assert {bar.missing_trades for bar in bars} == {0}
    archive = deltalake.DeltaTable(TRADES.path(configured)).to_pyarrow_table().to_pylist()
    assert sorted((row["symbol"], row["trade_id"]) for row in archive) == sorted(
        (trade.symbol, trade.trade_id) for trade in expected
    )
    assert deltalake.DeltaTable(REJECTED.path(configured)).to_pyarrow_table().num_rows == 0


def test_the_audit_agrees_and_notices_a_changed_table(spark: SparkSession, configured: Settings) -> None:
    """reconcile finds the table equal to the topic, and no longer when a bar is written over or one is taken away."""
    replay(configured, recordings.COINBASE)
    bars = process(spark, configured)
    proof = reconcile.reconcile(spark, configured, sample=5, seed=1)
    assert proof.holds, proof.text()
    assert (proof.bars, proof.trades, proof.in_bars, proof.different) == (len(bars), 107, 107, 0)
    assert proof.sampled > 0

    path = str(BARS.path(configured))
    one = spark.read.format("delta").load(path).limit(1).cache()
    one.write.format("delta").mode("append").save(path)
    doubled = reconcile.reconcile(spark, configured, sample=0, seed=1)
    assert (doubled.doubled, doubled.holds) == (1, False)

    rows = spark.read.format("delta").load(path).limit(1)
    amended = rows.selectExpr("* EXCEPT (revision, close)", "close + 1 AS close", "1 AS revision").select(rows.columns)
    amended.selectExpr(*(f"CAST({name} AS {kind}) AS {name}" for name, kind in BARS.columns.items())).write.format(
        "delta"
    ).mode("append").save(path)
    proof = reconcile.reconcile(spark, configured, sample=100, seed=1)
    assert not proof.holds
    assert (proof.doubled, proof.different, len(proof.sample_differences)) == (1, 1, 1)
    assert "close" in proof.differences[0]
