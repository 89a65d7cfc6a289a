"""Which spark-submit.sh runs live, and the scratch folder of each: known by pid and start time, cleared by the next."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from local import processes, stack
from local.processes import ProcessId

RUNS = stack.FOLDER / "jobs"


@contextlib.contextmanager
def registered() -> Iterator[Path]:
    """A file that says that this run lives, so that another run's end does not take the stack away from it."""
    RUNS.mkdir(parents=True, exist_ok=True)
    live = {run.stem for run in live_runs()}
    for file in RUNS.iterdir():
        if file.stem not in live:
            file.unlink(missing_ok=True)
    us = processes.identify(os.getpid())
    run = RUNS / f"{us.pid}.run"
    run.write_text(us.started)
    try:
        yield run
    finally:
        run.unlink(missing_ok=True)


def live_runs() -> list[Path]:
    live = []
    for file in RUNS.glob("*.run"):
        with contextlib.suppress(FileNotFoundError):  # its run has just ended
            if processes.is_alive(ProcessId(int(file.stem), file.read_text())):
                live.append(file)
    return live


@contextlib.contextmanager
def spark_folder() -> Iterator[Path]:
    """Spark's scratch folder, away with the run; a killed run's goes with the next."""
    folders = stack.FOLDER / "spark"
    live = {run.stem for run in live_runs()}
    for left in folders.glob("*"):
        if left.name not in live:
            shutil.rmtree(left, ignore_errors=True)
    folder = folders / str(os.getpid())
    shutil.rmtree(folder, ignore_errors=True)  # in a container, pids come again
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
