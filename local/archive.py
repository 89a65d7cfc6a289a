"""The class-data archive of the job's JVM: made by a run of the job itself, on a Kafka and tables that are thrown away.

A start spends most of its time on loading, checking and linking some 20,000 classes. From an archive (class-data
sharing, Java 17 or newer) they come ready. `scripts/setup` makes it, once for each Java and set of jars; without it
everything works, and starts take longer.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from local import processes
from local.broker import Broker, BrokerError
from local.install import ROOT, Layout
from local.java import find_java
from local.launcher import ARCHIVE_TO

WITHIN_S = 900.0
"""For each of the programs; a machine that is busy with something else is slow."""
SECONDS = 12
_START_MS = 1_723_161_600_000


class TrainingError(RuntimeError):
    """The run that was to make the archive has failed. The message says which program, and how it ended."""


def main() -> int:
    """Makes the archive; 0 also where that fails, for nothing depends on it."""
    wanted = Layout().class_archive(find_java())
    wanted.parent.mkdir(parents=True, exist_ok=True)
    with (wanted.parent / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if wanted.exists() else _make(wanted)


def _make(wanted: Path) -> int:
    wanted.with_suffix(".failed").unlink(missing_ok=True)
    partial = wanted.with_suffix(".partial")
    try:
        with tempfile.TemporaryDirectory(prefix="live-bars-classes-") as folder:
            _train(Path(folder), partial)
        partial.replace(wanted)
    except (OSError, BrokerError, TrainingError) as error:
        wanted.with_suffix(".failed").write_text(f"{error}\n")
        print(
            f"  No class archive could be made, so starts of the job take some seconds longer: {error}\n"
            "  To try again: .venv/bin/python -m local.archive",
            file=sys.stderr,
        )
    finally:
        partial.unlink(missing_ok=True)
    return 0


def _train(folder: Path, to: Path) -> None:
    """Runs the job on some trades; its JVM writes the archive when it ends."""
    port, controller = _free_ports()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "BARS_", "SPARK_"))
    } | {
        "KAFKA_BOOTSTRAP": f"127.0.0.1:{port}",
        "KAFKA_TOPIC": "classes",
        "OUTPUT_DIR": str(folder / "data"),
        "CHECKPOINT_DIR": str(folder / "checkpoints"),
        "BARS_RUN_DIR": str(folder / "run"),
        "PYTHONPATH": str(ROOT),
        "QUERIES": "bars,archive,amend",
        "BAR_FORMAT": "delta",
    }
    broker = Broker(folder=folder / "kafka", port=port, controller_port=controller)
    broker.prepare()
    with (folder / "log").open("wb") as log:
        kafka = processes.start(broker.command(), environment=broker.environment(), output=log)
        try:
            deadline = time.monotonic() + WITHIN_S
            while not broker.is_ready():
                if kafka.poll() is not None or time.monotonic() > deadline:
                    raise TrainingError("Kafka did not start")
                time.sleep(0.1)
            trades = folder / "BTCUSDT-trades-2024-08-09.csv"
            lines = (f"{n},60000.{n % 90 + 10},0.5,1,{_START_MS + 20 * n},true,true" for n in range(50 * SECONDS))
            trades.write_text("\n".join(lines) + "\n")
            producer = [sys.executable, "-m", "producer"]
            _run([*producer, "--create-topics"], environment)
            _run([*producer, "--replay", str(trades), "--speed", "max", "--close"], environment)
            job = [sys.executable, "-P", "-m", "local.submit", "jobs/ohlcv.py", "--available-now"]
            _run(job, environment | {ARCHIVE_TO: str(to)})
        finally:
            processes.signal_group(kafka.pid, signal.SIGKILL)
            kafka.wait()
    if not to.is_file():
        raise TrainingError("the JVM has written none")


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, timeout=WITHIN_S, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise TrainingError(f"{' '.join(command[1:])} took longer than {WITHIN_S:g} s") from error
    if done.returncode != 0:
        raise TrainingError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stdout[-500:]}")


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
