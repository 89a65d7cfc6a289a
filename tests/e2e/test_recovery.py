"""What a job meets that finds another one at work, or its checkpoint gone.

Kills at any moment are `test_job_chaos.py`'s.
"""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from deltalake import DeltaTable

from bars.tables import BARS, TRADES
from tests.bars.runs import START_MS, InTopic, configured, some
from tests.e2e.jobs import PATIENCE_S, bars_at, submitted
from tests.support import eventually

pytestmark = pytest.mark.e2e


@pytest.mark.long
def test_a_stopped_job_and_one_that_starts_over(kafka: str, topic: str, tmp_path: Path) -> None:
    """Beside a stopped job none other starts; without its checkpoint none starts; --rebuild makes the table anew."""
    settings = configured(kafka, topic, tmp_path)
    environment = {
        "KAFKA_BOOTSTRAP": kafka,
        "KAFKA_TOPIC": topic,
        "OUTPUT_DIR": settings.output_dir,
        "CHECKPOINT_DIR": settings.checkpoint_dir,
    }
    trades, table = InTopic(settings), BARS.path(settings)
    job = ["--conf", "spark.ui.enabled=false", "jobs/ohlcv.py"]
    trades.send_trades(some(100))
    with submitted(job, environment, tmp_path / "first.log") as first:
        eventually(lambda: len(bars_at(table)) == 10, within_s=PATIENCE_S)
        both = first.jvm(), first.driver()
        for pid in both:
            assert pid
            os.kill(pid, signal.SIGSTOP)
        with submitted([*job, "--available-now"], environment, tmp_path / "second.log") as second:
            assert second.process.wait(timeout=PATIENCE_S) == 2
            pids = " ".join(map(str, both))
            assert (
                f"another run holds the checkpoint {settings.checkpoints / 'ohlcv'} (process {pids}, which is "
                f"stopped: kill -CONT {pids} lets it go on, kill -9 {pids} ends it)"
            ) in second.log()
        for pid in both:
            os.kill(pid, signal.SIGCONT)  # type: ignore[arg-type]
        trades.send_trades(some(50, first_id=1_000, start_ms=START_MS + 100_000))
        eventually(lambda: len(bars_at(table)) == 15, within_s=PATIENCE_S)
        eventually(lambda: DeltaTable(TRADES.path(settings)).to_pyarrow_table().num_rows == 150, within_s=PATIENCE_S)
        assert first.end() == 0
    assert bars_at(table) == trades.expected()

    shutil.rmtree(settings.checkpoints / "ohlcv/bars")
    with submitted([*job, "--available-now"], environment, tmp_path / "refused.log") as refused:
        assert refused.process.wait(timeout=PATIENCE_S) == 2
        assert "has rows, but its checkpoint" in refused.log()
        assert "run jobs/ohlcv.py once with --rebuild" in refused.log()
    with submitted([*job, "--available-now", "--rebuild"], environment, tmp_path / "again.log") as again:
        assert again.process.wait(timeout=PATIENCE_S) == 0, again.log()
        assert f"--rebuild: topic {topic} at {kafka} holds 152 records in 4 partitions" in again.log()
        assert "--rebuild: all 150 rows of the archive are still in the topic; nothing is lost" in again.log()
    assert bars_at(table) == trades.expected()
