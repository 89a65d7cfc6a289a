"""How long after the one command the first bar can be read, and what memory the job then takes.

Makes a fresh clone of the committed tree in a temporary folder, with an empty home, and runs `./spark-submit.sh
jobs/ohlcv.py` there: once with nothing set up (what it sets up is timed apart, for most of it is network), then, after
`scripts/setup` has made the class archive too, again. A bar counts when a plain Delta reader reads it. Memory is the
resident memory of the JVM and the Python driver, sampled each second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from bench import meters, result
from local import processes
from local.install import FOR_A_JOB
from market.settings import ROOT, described


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.first_bar", description=__doc__)
    parser.add_argument("--starts", type=int, default=3, help="later starts that are timed; default 3")
    parser.add_argument("--seconds", type=int, default=120, help="how long memory is watched; default 120")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clone, home = Path(folder) / "live-bars", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        environment = os.environ | {"HOME": str(home), "PIP_NO_CACHE_DIR": "1"}
        began = time.monotonic()
        subprocess.run([clone / "scripts/setup", FOR_A_JOB], env=environment, check=True)
        setup_s = time.monotonic() - began
        first_s, memory = _start(clone, environment, watch_s=arguments.seconds)
        began = time.monotonic()
        subprocess.run([clone / "scripts/setup"], env=environment, check=True)
        archive_s = time.monotonic() - began
        later = [_start(clone, environment, watch_s=0)[0] for _ in range(arguments.starts)]
    figures = {
        "setup_s": round(setup_s, 1),
        "first_bar_after_setup_s": round(first_s, 1),
        "first_bar_with_nothing_cached_s": round(setup_s + first_s, 1),
        "class_archive_s": round(archive_s, 1),
        "first_bar_later_starts_s": [round(seconds, 1) for seconds in later],
        "first_bar_later_starts_median_s": round(statistics.median(later), 1),
        "driver_resident_mib_max": max(memory),
        "driver_resident_mib_last": memory[-1],
    }
    settings = {name: environment.get(name, described()[name][0]) for name in ("SIMULATOR_RATE", "QUERIES")}
    print(result.write("first_bar", figures, settings=settings))
    for name, figure in figures.items():
        print(f"{name:34} {figure}")


def _start(clone: Path, environment: dict[str, str], *, watch_s: int) -> tuple[float, list[int]]:
    """Seconds from the command to a new bar, and the resident MiB of the driver in the seconds after it."""
    table = clone / "data/local/bars_1s"
    before = _bars(table)
    began = time.monotonic()
    with meters.job(clone, environment, clone.parent / "job.log") as process:
        while _bars(table) <= before:
            if process.poll() is not None or time.monotonic() - began > 120:
                said = (clone.parent / "job.log").read_text()
                raise SystemExit(f"no bar came (spark-submit.sh: {process.poll()}); it said:\n{said}")
            threading.Event().wait(0.1)
        first_s = time.monotonic() - began
        memory = []
        for _ in range(watch_s):
            memory.append(sum(_resident_mib(pid) for pid in _driver(process.pid)))
            threading.Event().wait(1)
    return first_s, memory


def _bars(table: Path) -> int:
    try:
        return int(DeltaTable(table).to_pyarrow_dataset().count_rows())
    except TableNotFoundError:
        return 0


def _driver(submit: int) -> list[int]:
    """The JVM below spark-submit.sh, and the Python driver below the JVM."""
    jvms = [pid for pid, name in processes.children(submit) if name == "java"]
    return jvms + [pid for jvm in jvms for pid, _ in processes.children(jvm)]


def _resident_mib(pid: int) -> int:
    shown = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return int(shown or 0) // 1024


if __name__ == "__main__":
    main()
