"""Upkeep beside the job: when a pass starts, and what is heard of it."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bars.locks import held
from bars.tables import create_tables
from bars.upkeep.background import Background, command
from bars.upkeep.passes import FEW
from market import settings as market_settings
from tests.bars.upkeep.kept import Kept, trade
from tests.support import eventually


@pytest.fixture
def kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Kept:
    caplog.set_level(logging.INFO)
    folders = {"output_dir": str(tmp_path / "data"), "checkpoint_dir": str(tmp_path / "checkpoints")}
    own = {"kafka_bootstrap": "none:1", "fold_after_days": "0", "upkeep_interval": "1ms"}
    settings = market_settings.load({}, None, folders | own)
    create_tables(settings)
    return Kept(settings)


@contextmanager
def beside(kept: Kept, **changed: int) -> Iterator[Background]:
    background = Background(replace(kept.settings, **changed))  # type: ignore[arg-type]
    try:
        yield background
    finally:
        background.close()


def heard(background: Background, caplog: pytest.LogCaptureFixture, beginning: str) -> str:
    """The first line of the log that begins so, once there is one."""

    def line() -> str | None:
        background.tend()
        return next((message for message in caplog.messages if message.startswith(beginning)), None)

    return eventually(line, within_s=120) or ""


def test_a_pass_runs_and_its_line_is_logged(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """With the job's settings, in a process of its own; the report lies beside the tables."""
    for second in range(FEW):
        kept.barred([trade(second, second)], written_ms=time.time_ns() // 1_000_000)
    with beside(kept) as background:
        assert "now 1 of 0.0 MiB; 8 files made 1" in heard(background, caplog, "upkeep: ")
    report = json.loads((kept.settings.tables / "upkeep.json").read_text())
    assert report["tables"][0]["compacted"] == FEW


def test_a_pass_that_fails_is_no_failure_of_the_job(kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    """It is said, and tried again at the next interval."""
    lock = kept.settings.tables / "upkeep.lock"
    with held(lock, patience_s=0), beside(kept) as background:
        said = heard(background, caplog, "upkeep has failed")
    assert said == (
        f"upkeep has failed (exit code 2): upkeep: {lock} was not free for 0 s: it is held by process {os.getpid()}"
    )


def test_none_runs_if_so_set(kept: Kept) -> None:
    """UPKEEP_INTERVAL=0s."""
    with beside(kept, upkeep_interval=0) as background:
        background.tend()
        assert background._process is None


def test_the_interval_counts_from_the_last_pass(kept: Kept) -> None:
    """Also of an earlier run: a job that is often started again gets its upkeep, and not at each start."""
    (kept.settings.tables / "upkeep.json").write_text("{}")
    with beside(kept, upkeep_interval=600_000) as background:
        assert 60 < background._due - time.monotonic() <= 600
    (kept.settings.tables / "upkeep.json").unlink()
    with beside(kept, upkeep_interval=600_000) as background:
        assert background._due - time.monotonic() <= 60


def test_a_pass_has_the_jobs_settings(kept: Kept) -> None:
    """The command line says them all, so that neither the environment nor `.env` can."""
    options = command(kept.settings)[3:]
    loaded = market_settings.load({}, None, dict(_pair(option) for option in options))
    assert replace(loaded, upkeep_interval=1) == kept.settings


def _pair(option: str) -> tuple[str, str]:
    name, _, value = option.removeprefix("--").partition("=")
    return name.replace("-", "_"), value
