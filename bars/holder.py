"""Who holds a lock: its processes, recognised again by pid and start, and what the lock's file says of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, recognisable after its pid has been given to another one."""

    pid: int
    started: str
    """When it started, as the system tells it."""

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return bool(self.started) and seen(self.pid)[1] == self.started

    @property
    def is_stopped(self) -> bool:
        """Whether it neither works nor ends, until somebody lets it go on (SIGSTOP, SIGTSTP)."""
        return self.is_alive and seen(self.pid)[0] in "Tt"


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says: the JVM and its driver, or Python alone. Empty where nobody has yet."""

    processes: tuple[Process, ...] = ()

    @property
    def pids(self) -> str:
        """The pids, those of processes that have ended left out."""
        return " ".join(str(process.pid) for process in self.processes if process.is_alive)

    def __str__(self) -> str:
        """For a person to find. A process that is stopped neither works nor ends, and nothing else would say so."""
        pids = self.pids
        if not pids:
            return "process unknown"
        stopped = any(process.is_stopped for process in self.processes)
        mend = f", which is stopped: kill -CONT {pids} lets it go on, kill -9 {pids} ends it" if stopped else ""
        return f"process {pids}{mend}"

    def end(self) -> None:
        """SIGKILL to each process that still is the one it was."""
        for process in self.processes:
            if process.is_alive:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)


def holder_of(path: Path) -> Holder:
    """Who holds the lock of this file, or held it last."""
    try:
        said = json.loads(path.read_text())
        return Holder(tuple(Process(int(pid), str(started)) for pid, started in said["processes"]))
    except (OSError, ValueError, LookupError, TypeError):
        return Holder()  # not written yet, or by an earlier version


def said_by(pids: Sequence[int]) -> str:
    """What these processes write into the file of a lock that they hold; never the same twice."""
    return json.dumps({"processes": [(pid, seen(pid)[1]) for pid in pids], "token": str(uuid.uuid4())})


def seen(pid: int) -> tuple[str, str]:
    """A process's state, one letter, and when it started; both empty for one that has ended, a zombie included."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return "", ""
        fields = stat.rpartition(")")[2].split()  # proc(5): the name, in parentheses, may hold blanks
        state, started = fields[0], fields[19]
    else:
        shown = subprocess.run(["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout
        state, _, started = (part.strip() for part in shown.strip().partition(" "))
    return ("", "") if state[:1] in "ZX" else (state[:1], started)
