"""Recorded frames of real exchanges through the whole line: producer → Kafka → job → table, read without Spark."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import deltalake
import pytest
from pyspark.sql import SparkSession

from bars import run
from bars.audit import program as audit
from bars.audit import reconcile
from bars.recovery.checkpoint import last_committed
from bars.recovery.identity import checkpoint_of
from bars.tables import BARS, REJECTED, TRADES
from market import settings
from market.bar import Bar, bars_of, current
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
        pytest.param((recordings.USDM,), recordings.usdm_trades, 32, marks=pytest.mark.long),
        pytest.param((recordings.COINBASE,), recordings.coinbase_trades, 1, marks=pytest.mark.long),
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
    last = last_committed(checkpoint_of(configured, "bars"))
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


@pytest.mark.long
def test_the_audit_agrees_and_amends_a_changed_table(spark: SparkSession, configured: Settings) -> None:
    """reconcile finds the table equal to the topic, says what was written over in it, and puts it right again."""
    replay(configured, recordings.COINBASE)
    bars = process(spark, configured)
    proof = reconcile.reconcile(spark, configured, check=True, sample=5, seed=1)
    assert proof.holds, proof.text()
    total = proof.total
    assert (total.bars, total.consumed, total.in_bars, total.different) == (len(bars), 107, 107, 0)
    assert proof.sampled > 0

    path = str(BARS.path(configured))
    row = spark.read.format("delta").load(path).limit(1)
    wrong = row.selectExpr("* EXCEPT (revision, close)", "close + 1 AS close", "1 AS revision").select(row.columns)
    wrong.selectExpr(*(f"CAST({name} AS {kind}) AS {name}" for name, kind in BARS.columns.items())).write.format(
        "delta"
    ).mode("append").save(path)
    proof = reconcile.reconcile(spark, configured, check=True, sample=100, seed=1, patience_s=0)
    assert not proof.holds
    assert (proof.total.different, len(proof.sample_differences)) == (1, 1)
    assert "close" in proof.differences[0]

    proof = reconcile.reconcile(spark, configured, check=False, sample=100, seed=1)
    assert proof.holds, proof.text()
    assert proof.total.amended_now == 1
    amended = [replace(bar, revision=0) for bar in current(read(configured))]
    assert amended == bars


@pytest.mark.long
def test_recorded_futures_equal_the_exchanges_klines(
    spark: SparkSession, configured: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole line, from recorded frames to the table, held to the exchange's own file of klines by the program."""
    klines = recordings.path("matched_usdm/BTCUSDT_um_1m_klines_2024-08-08T2355-2359.csv")
    replay(configured, recordings.USDM, BATCH_SIZE="32")
    process(spark, configured)
    parser = argparse.ArgumentParser()
    audit.add_options(parser)
    capsys.readouterr()
    assert (
        audit.audit(spark, configured, parser.parse_args(["--klines", str(klines), "--symbol", "BTCUSDT", "--json"]))
        == 0
    )
    (proof,) = json.loads(capsys.readouterr().out)["klines"]
    assert (proof["exchange"], proof["equal"], proof["different"], proof["edges"]) == ("binance-usdm", 5, 0, 0)
