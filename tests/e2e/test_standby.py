"""A second run stands by and takes over; the table is what it would have been, and there is one writer at any time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bars.tables import BARS
from tests.bars.runs import START_MS, InTopic, configured, some
from tests.e2e.jobs import PATIENCE_S, Job, bars_at, submitted
from tests.support import eventually

pytestmark = pytest.mark.e2e

JOB = ["--conf", "spark.ui.enabled=false", "jobs/ohlcv.py"]


class Scene:
    """Runs on one checkpoint, and the trades that come one group after the other."""

    def __init__(self, kafka: str, topic: str, folder: Path) -> None:
        self.settings = configured(kafka, topic, folder)
        self.trades, self.table = InTopic(self.settings), BARS.path(self.settings)
        self.environment = {
            "KAFKA_BOOTSTRAP": kafka,
            "KAFKA_TOPIC": topic,
            "OUTPUT_DIR": self.settings.output_dir,
            "CHECKPOINT_DIR": self.settings.checkpoint_dir,
            "BARS_RUN_DIR": str(folder / "run"),
        }
        self._scratch = folder / "run" / "spark"
        self._groups = 0

    def bars_of_more_trades_come(self) -> None:
        """Sends further trades; returns when their bars are in the table."""
        number = self._groups
        self._groups += 1
        self.trades.send_trades(some(100, first_id=1_000 * number, start_ms=START_MS + 100_000 * number))
        eventually(lambda: len(bars_at(self.table)) == 10 * self._groups, within_s=PATIENCE_S)

    def rehearses(self) -> None:
        """Returns when one who stands by is in the middle of its rehearsal."""
        batches = "*/rehearsal-*/checkpoints/ohlcv/bars/commits/[0-9]*"
        eventually(lambda: any(self._scratch.glob(batches)), within_s=PATIENCE_S)

    def stands_by(self, standby: Job, holder: Job) -> None:
        """Returns when one run stands by for another."""
        eventually(lambda: f"(process {holder.jvm()} {holder.driver()})" in standby.log(), within_s=PATIENCE_S)


@pytest.mark.long
@pytest.mark.parametrize("is_warm", [True, False])
def test_a_standby_takes_over_when_the_jvm_is_killed(kafka: str, topic: str, tmp_path: Path, is_warm: bool) -> None:
    """It writes nothing while it waits, and goes on where the killed one was cut off, be it in its rehearsal still."""
    scene = Scene(kafka, topic, tmp_path)
    with submitted(JOB, scene.environment, tmp_path / "first.log") as first:
        scene.bars_of_more_trades_come()
        with submitted([*JOB, "--standby"], scene.environment, tmp_path / "second.log") as second:
            scene.stands_by(second, first) if is_warm else scene.rehearses()
            first.kill_jvm()
            scene.bars_of_more_trades_come()
            assert ("standing by" in second.log()) is is_warm
            assert second.end() == 0, second.log()
    assert bars_at(scene.table) == scene.trades.expected()


@pytest.mark.long
def test_one_run_after_the_other(kafka: str, topic: str, tmp_path: Path) -> None:
    """A standby takes over from a killed driver; a stopped run blocks the next until --take-over ends it."""
    scene = Scene(kafka, topic, tmp_path)
    with submitted(JOB, scene.environment, tmp_path / "first.log") as first:
        scene.bars_of_more_trades_come()
        with submitted([*JOB, "--standby"], scene.environment, tmp_path / "second.log") as second:
            scene.stands_by(second, first)
            first.kill_driver()
            scene.bars_of_more_trades_come()
            stopped = [second.jvm(), second.driver()]
            with submitted([*JOB, "--standby"], scene.environment, tmp_path / "third.log") as third:
                scene.stands_by(third, second)
                for pid in stopped:
                    assert pid
                    os.kill(pid, signal.SIGSTOP)
                eventually(lambda: "While it is stopped, this one can only wait" in third.log())
                assert third.end() == 0, third.log()
            with submitted([*JOB, "--take-over"], scene.environment, tmp_path / "fourth.log") as fourth:
                scene.bars_of_more_trades_come()
                assert second.process.wait(timeout=30) == 128 + signal.SIGKILL
                assert "--take-over: ending the run that holds the checkpoint" in fourth.log()
                assert fourth.end() == 0, fourth.log()
    assert bars_at(scene.table) == scene.trades.expected()
