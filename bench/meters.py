"""Processes that are measured: the job as its users start it, what a process has taken, and what clients waited."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def job(tree: Path, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The job of a tree, until the block is left; what it says goes to the log."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tree / "spark-submit.sh", "jobs/ohlcv.py"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def cpu_s(pid: int) -> float:
    """CPU seconds of a process so far; not a number where the system does not tell."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return float("nan")
    fields = stat.read_text().rpartition(")")[2].split()  # proc(5): the name, in parentheses, may hold blanks
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited(waits_ms: Sequence[float]) -> dict[str, float]:
    """How long it took, for half of those who waited, for most, and at worst."""
    cuts = statistics.quantiles(waits_ms, n=1_000)
    return {
        "p50_ms": round(cuts[499], 2),
        "p99_ms": round(cuts[989], 2),
        "p999_ms": round(cuts[998], 2),
        "max_ms": round(max(waits_ms), 2),
    }
