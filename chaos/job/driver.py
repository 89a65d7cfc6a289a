"""The job as a tree of processes: spark-submit.sh, the driver's JVM, its Python driver, and the executors."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from local import processes
from market.settings import ROOT

MASTER = "local-cluster[2,1,1024]"
"""Two executors with a core and 1,024 MiB each, as processes of their own."""


class Job:
    """One submission of a job. It ends with us."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], log: Path, *, in_cluster: bool) -> None:
        """`words`: what follows spark-submit's own options."""
        self.log, self.in_cluster = log, in_cluster
        self._log_from = log.stat().st_size if log.exists() else 0
        options = ["--conf", "spark.ui.enabled=false", *(["--master", MASTER] if in_cluster else [])]
        with log.open("ab") as output:
            self._process = processes.start(
                [ROOT / "spark-submit.sh", *options, *words],
                environment={**os.environ, **environment},
                output=output,
                working_directory=ROOT,
                signal_on_our_death=signal.SIGTERM,
            )

    @property
    def code(self) -> int | None:
        """The exit code of spark-submit.sh, None while it runs."""
        return self._process.poll()

    def said(self) -> str:
        """What this submission has said."""
        with self.log.open("rb") as log:
            log.seek(self._log_from)
            return log.read().decode(errors="replace")

    def jvm(self) -> int | None:
        """The driver's JVM. Under spark-submit it is the parent of the Python driver."""
        return next((pid for pid, name in processes.children(self._process.pid) if name == "java"), None)

    def python(self) -> int | None:
        """The Python driver."""
        jvm = self.jvm()
        return next((pid for pid, name in processes.children(jvm) if name.startswith("python")), None) if jvm else None

    def executors(self) -> list[int]:
        """The executors that run, in the order of their pids; none without a cluster of their own."""
        jvm = self.jvm()
        return [pid for pid, name in processes.children(jvm) if name == "java"] if jvm else []

    def tree(self) -> list[int]:
        """Every process of the job, parents first."""
        found, left = [], [self._process.pid]
        while left:
            found.append(left.pop(0))
            left += [pid for pid, _ in processes.children(found[-1])]
        return found

    def wait(self, within_s: float) -> int | None:
        """The exit code when it ends in time; else None, and all of it is killed."""
        try:
            return self._process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def ask(self) -> None:
        """SIGTERM, which the job takes as a wish to end."""
        if self.code is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> list[int]:
        """SIGKILL to all of it; the pids."""
        pids = self.tree()
        send(signal.SIGKILL, *pids)
        self._process.wait()
        return pids


def send(number: signal.Signals, *pids: int) -> None:
    """Signals processes, those that are gone excepted."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
