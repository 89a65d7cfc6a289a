"""Jobs run as a user runs them: `./spark-submit.sh …` in a process of its own, with folders and ports of the test."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import deltalake
from deltalake.exceptions import TableNotFoundError

from local import processes
from market.bar import Bar
from market.settings import ROOT
from tests.bars.frames import bars_in
from tests.support import eventually, free_ports

PATIENCE_S = 300
"""What a first batch may take: minutes, where the machine does something else besides."""
END_S = 15.0
"""What a stop may take in all."""


class Job:
    """A running spark-submit.sh."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    def jvm(self) -> int | None:
        """The JVM's pid, once it is there. Under spark-submit it is the parent of the Python driver."""
        return next((pid for pid, name in processes.children(self.process.pid) if name == "java"), None)

    def log(self) -> str:
        """What the job has said so far."""
        return self._log.read_text(errors="replace")

    def kill_jvm(self) -> int:
        """SIGKILL, as the kernel or an operator would; the exit code of spark-submit.sh."""
        pid = eventually(self.jvm)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return self.process.wait(timeout=30)

    def driver(self) -> int | None:
        """The Python driver's pid, once it is there: a child of the JVM."""
        jvm = self.jvm()
        return next((pid for pid, name in processes.children(jvm) if name.startswith("python")), None) if jvm else None

    def kill_driver(self) -> None:
        """SIGKILL to the Python driver alone."""
        pid = eventually(self.driver)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ctrl-C, or another signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=END_S)


@contextmanager
def submitted(words: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[Job]:
    """Runs spark-submit.sh; kills it, if it still runs, at the end."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [ROOT / "spark-submit.sh", *words],
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    job = Job(process, log)
    try:
        yield job
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=2 * END_S)


def own_stack(folder: Path) -> dict[str, str]:
    """Settings of a local stack that meets no other: its folders and its ports."""
    kafka, controller, simulator, redis, serve, ui = free_ports(6)
    return {
        "KAFKA_BOOTSTRAP": "",
        "SOURCE": "simulator",
        "BARS_RUN_DIR": str(folder / "run"),
        "KAFKA_PORT": str(kafka),
        "KAFKA_CONTROLLER_PORT": str(controller),
        "SIMULATOR_PORT": str(simulator),
        "REDIS_PORT": str(redis),
        "REDIS_URL": "",
        "SERVE_PORT": str(serve),
        "ROLLUP_DIR": str(folder / "rollups"),
        "OUTPUT_DIR": str(folder / "data"),
        "CHECKPOINT_DIR": str(folder / "checkpoints"),
        "SPARK_UI_PORT": str(ui),
    }


def bars_at(table: Path) -> list[Bar]:
    """The table as a plain Delta reader sees it; empty while there is none."""
    try:
        return bars_in(deltalake.DeltaTable(table).to_pyarrow_table().to_pylist())
    except TableNotFoundError:
        return []
