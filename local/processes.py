"""Child processes that cannot outlive us unnoticed: started, recognised and ended by their ids, never by a name."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessId(NamedTuple):
    """A process, recognisable after its pid has been given to another one."""

    pid: int
    started: str
    """When it started, as the system tells it; empty when it had ended before we asked."""


def children(parent: int) -> list[tuple[int, str]]:
    """Pid and name of a process's children, the lowest pid first; none where it has ended.

    Most Linux kernels tell them for each thread, at little cost; elsewhere `ps` is asked.
    """
    try:
        threads = list(Path(f"/proc/{parent}/task").iterdir())
        pids = [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]
        return sorted((pid, Path(f"/proc/{pid}/comm").read_text().strip()) for pid in pids)
    except OSError:  # not Linux, or one of them has just ended
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,comm="], capture_output=True, text=True).stdout
        rows = (line.split(None, 2) for line in listing.splitlines())
        return sorted((int(pid), Path(name).name) for pid, above, name in rows if int(above) == parent)


def start(
    command: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    output: IO[bytes] | None = None,
    working_directory: Path | None = None,
    signal_on_our_death: signal.Signals = signal.SIGKILL,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Starts a child in a process group of its own, so that the terminal's Ctrl-C reaches it only through us.

    On Linux the kernel sends it `signal_on_our_death` when we die, however we die. Without `output` it inherits ours.
    """
    us = os.getpid()

    def prepare() -> None:
        if _LIBC:
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal_on_our_death))
            if os.getppid() != us:  # we died before the call
                os._exit(1)

    return subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=working_directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        process_group=0,
        pass_fds=pass_fds,
        preexec_fn=prepare,
    )


def identify(pid: int) -> ProcessId:
    return ProcessId(pid, _start_time(pid) or "")


def is_alive(process: ProcessId) -> bool:
    """Whether this very process, and no later one with its pid, still runs."""
    return bool(process.started) and _start_time(process.pid) == process.started


def end(process: ProcessId, *, within_s: float) -> bool:
    """Ends a process that need not be our child, and its group: SIGTERM, then SIGKILL. Whether it had to be killed."""
    for number, patience_s in ((signal.SIGTERM, within_s), (signal.SIGKILL, 5.0)):
        if not is_alive(process):
            return False
        signal_group(process.pid, number)
        if wait_until_gone(process, within_s=patience_s):
            return number is signal.SIGKILL
    raise RuntimeError(f"process {process.pid} still runs, 5 s after SIGKILL")


def wait_until_gone(process: ProcessId, *, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def signal_group(pid: int, number: signal.Signals) -> None:
    """Signals the process group that `start` made; it may be gone already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _start_time(pid: int) -> str | None:
    """None for a process that has ended, a zombie included."""
    if sys.platform == "linux":
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = stat.rpartition(")")[2].split()  # proc(5): the name, in parentheses, may hold blanks
        return None if fields[0] in "ZX" else fields[19]
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    state, _, started = shown.partition(" ")
    return None if not shown or state.startswith("Z") else started.strip()
