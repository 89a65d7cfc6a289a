"""From SIGKILL under load to the first new correct bar in the table, and until nothing is behind any more.

A real broker, an open-loop load (bench/load.py), and the job as a user starts it. Its JVM is killed at a random moment;
then the same command is given again (cold), or a standby takes over (`--standby`). Times are from the signal:

- `first_bar`: a commit is in the table that was not there when the JVM had died, it has bars, and each of them is what
  plain Python makes of the load. What WATERMARK_DELAY holds back is not waited for: any newly written bar counts.
- `lag_gone`: after a commit, the newest bar is no older than it was before the kill (the median, and one trigger more).

At the end the whole table is held to plain Python: nothing missing, doubled or different. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench import broker, result
from bench.load import Load
from bench.watch import Table
from local import processes
from market.settings import ROOT

START_S = 600.0
WARM_S = 30.0
"""How long the first job runs before the first kill."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("--standby", action="store_true", help="a standby takes over, instead of a new start")
    parser.add_argument("--rate", type=int, default=2_000, help="trades per second; default 2000")
    parser.add_argument("--kills", type=int, default=20, help="default 20")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills; default 1")
    parser.add_argument("--keep", type=Path, help="a folder for logs and tables, which then stay")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends what it has started, too
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-recovery-")))
        folder.mkdir(parents=True, exist_ok=True)
        figures = _measured(arguments, folder)
    name = f"recovery-{'standby' if arguments.standby else 'cold'}-{arguments.rate}"
    settings = {name: value for name, value in vars(arguments).items() if name != "keep"}
    print(result.write(name, figures, settings=settings, module="recovery"))
    for name, figure in figures.items():
        if name != "kills":
            print(f"{name:24} {figure}")
    if figures["wrong"]:
        sys.exit("the table is not what plain Python makes of the load")


class Runs:
    """The runs of the job, each a spark-submit.sh of its own."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder, self._environment = folder, environment
        self._count = 0
        self.live: list[Run] = []

    def start(self, *options: str) -> Run:
        """The job with these options."""
        self._count += 1
        log = self._folder / f"job-{self._count}.log"
        with log.open("wb") as output:
            command = [str(ROOT / "spark-submit.sh"), "jobs/ohlcv.py", *options]
            process = processes.start(
                command, environment=self._environment, output=output, signal_on_our_death=signal.SIGTERM
            )
        run = Run(process, log)
        self.live.append(run)
        return run

    def end(self) -> None:
        """Ends those that run."""
        for run in self.live:
            if run.process.poll() is None:
                run.process.terminate()
        for run in self.live:
            try:
                run.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                processes.signal_group(run.process.pid, signal.SIGKILL)


class Run:
    """One of them."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self.log = process, log

    def says(self, text: str) -> bool:
        """Whether its log has the text. Ends the measurement where the run has ended instead."""
        said = self.log.read_text(errors="replace")
        if text not in said and self.process.poll() is not None:
            raise SystemExit(f"spark-submit.sh ended with {self.process.returncode}:\n{said}")
        return text in said

    def jvm(self) -> int | None:
        """The pid of its JVM, a child of spark-submit.sh."""
        return next((pid for pid, name in processes.children(self.process.pid) if name == "java"), None)

    def driver(self) -> int | None:
        """The pid of its Python driver, a child of the JVM."""
        jvm = self.jvm()
        return next((pid for pid, name in processes.children(jvm) if name.startswith("python")), None) if jvm else None


def _measured(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    chance, topic = random.Random(arguments.seed), "crypto-trades"
    with broker.running() as kafka, ExitStack() as stack:
        for name in (topic, f"{topic}-gaps"):
            kafka.create(name)
        environment = os.environ | {
            "KAFKA_BOOTSTRAP": kafka.bootstrap,
            "KAFKA_TOPIC": topic,
            "OUTPUT_DIR": str(folder / "data"),
            "CHECKPOINT_DIR": str(folder / "checkpoints"),
            "BARS_RUN_DIR": str(folder / "run"),
        }
        runs = Runs(folder, environment)
        stack.callback(runs.end)
        load, sender = stack.enter_context(_loading(kafka.bootstrap, topic, arguments.rate))
        table = Table(folder / "data/bars_1s", load)
        holder = runs.start()
        _until(lambda: holder.says("bars: ") and table.poll() > 0, START_S)
        _follow(table, WARM_S)
        kills = []
        for _ in range(arguments.kills):
            next_ = runs.start("--standby") if arguments.standby else None
            if next_:
                _until(lambda run=next_: run.says("standing by"), START_S, table)
            _follow(table, 5 + 5 * chance.random())
            kill, holder = _killed(runs, holder, next_, table, folder)
            kills.append(kill)
            print(json.dumps(kill), file=sys.stderr, flush=True)
        sender.terminate()
        sent = json.loads(sender.communicate(timeout=60)[0].splitlines()[-1])
        expected = list(load.bars(sent["trades"]))
        _until(lambda: table.poll() >= 0 and table.count >= len(expected), START_S)
        _follow(table, 5)
        wrong = table.differing(expected)
    figures: dict[str, Any] = {
        name: _percentiles([kill[name] for kill in kills])
        for name in kills[0]
        if name.endswith("_s") and all(kill[name] is not None for kill in kills)
    }
    memory = {name: statistics.median([kill[name] for kill in kills]) for name in kills[0] if name.endswith("_mib")}
    bars: dict[str, Any] = {
        "trades": sent["trades"],
        "bars": len(expected),
        "wrong": wrong,
        "amended": table.amended,
        "load_behind_ms": sent["behind_ms"],
    }
    return figures | memory | bars | {"kills": kills}


def _killed(runs: Runs, holder: Run, standby: Run | None, table: Table, folder: Path) -> tuple[dict[str, Any], Run]:
    """Kills the holder's JVM; what came when, in seconds from then, and who holds the checkpoint now."""
    jvm = holder.jvm()
    assert jvm
    fresh_s = table.steady_s()
    memory: dict[str, int] = {}
    if standby:
        for name, pid in (("jvm", standby.jvm()), ("driver", standby.driver())):
            memory |= {f"standby_{name}_{kind}_mib": size for kind, size in _memory(pid or 0).items()}
    identity = processes.identify(jvm)
    signalled_s, monotonic_s = time.time(), time.monotonic()
    os.kill(jvm, signal.SIGKILL)
    successor = standby or runs.start()
    processes.wait_until_gone(identity, within_s=10)
    died_s = time.monotonic() - monotonic_s
    table.poll()  # what is there now is not new
    lock = folder / "checkpoints/ohlcv/lock"
    found: dict[str, float | None] = dict.fromkeys(("jvm_s", "driver_s", "lock_s", "first_bar_s", "lag_gone_s"))
    deadline_s = monotonic_s + START_S
    while found["lag_gone_s"] is None:
        now_s = time.monotonic() - monotonic_s
        if time.monotonic() > deadline_s or (successor.process.poll() is not None):
            raise SystemExit(f"no recovery: {found}; {successor.log.read_text()}")
        if not standby and found["jvm_s"] is None and successor.jvm():
            found["jvm_s"] = now_s
        if not standby and found["driver_s"] is None and successor.driver():
            found["driver_s"] = now_s
        if found["lock_s"] is None and lock.stat().st_mtime > signalled_s:
            found["lock_s"] = lock.stat().st_mtime - signalled_s
        if table.poll() > 0:
            if found["first_bar_s"] is None:
                found["first_bar_s"] = time.monotonic() - monotonic_s
            if table.newest_age_s() <= fresh_s:
                found["lag_gone_s"] = time.monotonic() - monotonic_s
        threading.Event().wait(0.005 if found["driver_s"] or standby else 0.02)
    holder.process.wait(timeout=30)
    rounded = {name: None if value is None else round(value, 3) for name, value in found.items()}
    return {"died_s": round(died_s, 3), **rounded, **memory}, successor


@contextmanager
def _loading(bootstrap: str, topic: str, rate: int) -> Iterator[tuple[Load, subprocess.Popen[bytes]]]:
    """The load, from a process of its own: what it sends, and the process."""
    command = [sys.executable, "-m", "bench.load", bootstrap, topic, "--rate", str(rate)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        yield Load(rate, json.loads(process.stdout.readline())["start_ms"]), process
    finally:
        process.kill()
        process.wait()


def _follow(table: Table, seconds: float) -> None:
    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        table.poll()
        threading.Event().wait(0.02)


def _until(condition: Any, seconds: float, table: Table | None = None) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline_s:
            raise SystemExit(f"not within {seconds:g} s")
        if table:
            table.poll()
        threading.Event().wait(0.05)


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95 (the smallest value that 95 % do not exceed) and the largest."""
    ordered = sorted(values)
    return {"p50": statistics.median(ordered), "p95": ordered[-(-len(ordered) * 95 // 100) - 1], "max": ordered[-1]}


def _memory(pid: int) -> dict[str, int]:
    """Resident memory and its proportional share, MiB; of a process on Linux."""
    file = Path(f"/proc/{pid}/smaps_rollup")
    lines = dict(line.split(":", 1) for line in file.read_text().splitlines()[1:]) if file.exists() else {}
    return {kind.lower(): int(lines[kind].split()[0]) // 1024 for kind in ("Rss", "Pss") if kind in lines}


if __name__ == "__main__":
    main()
