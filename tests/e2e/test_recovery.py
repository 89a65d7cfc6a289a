"""The job's JVM is killed with SIGKILL while trades come in; afterwards the table is what it would have been.

The short form of this is `test_quickstart.py`: one kill, held to the exchange's klines and to the audit.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from market.bar import Bar, bars_of
from market.settings import ROOT
from tests import recordings
from tests.e2e.jobs import bars_at, submitted
from tests.support import eventually

pytestmark = pytest.mark.e2e

KILLS = 3
REPLAY_SPEED = 20
"""The recording of eleven minutes takes about 33 s."""


def run_with_kills(kafka: str, topic: str, folder: Path, *, kills: int, seed: int) -> list[Bar]:
    """Replays the spot recording into the running job, kills its JVM that often, and returns the final table."""
    environment = {
        "KAFKA_BOOTSTRAP": kafka,
        "KAFKA_TOPIC": topic,
        "OUTPUT_DIR": str(folder / "data"),
        "CHECKPOINT_DIR": str(folder / "checkpoints"),
    }
    table, log, chance = folder / "data/bars_1s", folder / "job.log", random.Random(seed)
    files = [str(recordings.path(name)) for name in recordings.SPOT]
    replay = subprocess.Popen(
        [sys.executable, "-m", "producer", "--replay", *files, "--speed", str(REPLAY_SPEED), "--close"],
        env=os.environ | environment,
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    job = ["--conf", "spark.ui.enabled=false", "jobs/ohlcv.py"]
    try:
        for _ in range(kills):
            before = len(bars_at(table))
            with submitted(job, environment, log) as running:
                # Killed at any moment from its first new bars on: in a batch, between two, between two commits. Where
                # a slow machine has replayed all before the last start, there are none, and the start itself is hit.
                grown = before + chance.randint(1, 60)
                eventually(
                    lambda grown=grown: len(bars_at(table)) >= grown or replay.poll() is not None,  # type: ignore[misc]
                    within_s=120,
                )
                assert running.kill_jvm() == 128 + 9, running.log()
        assert replay.wait(timeout=120) == 0
    finally:
        replay.kill()
        replay.wait()
    with submitted([*job, "--available-now"], environment, log) as running:
        assert running.process.wait(timeout=120) == 0, running.log()
    return bars_at(table)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_the_table_equals_the_oracle_after_many_kills(kafka: str, topic: str, tmp_path: Path, seed: int) -> None:
    """After kills at any moment and a start with the same command, no bar is missing, doubled or different."""
    assert run_with_kills(kafka, topic, tmp_path, kills=KILLS, seed=seed) == bars_of(recordings.spot_trades())
