"""spark-submit.sh around small jobs that start no Spark session: what it hands over, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import processes, state
from local.install import ROOT
from tests.local.test_stack import Stack
from tests.support import eventually

pytestmark = pytest.mark.e2e

TELLS = """
import json, os, sys
names = ["PYTHONPATH", "TZ", "SPARK_LOCAL_IP", "SPARK_CONF_DIR", "BARS_TERMINAL", "PYSPARK_PYTHON"]
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), **{name: os.environ.get(name) for name in names}}))
sys.exit(7)
"""
WAITS = """
import os, pathlib, signal, sys, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
pathlib.Path(os.environ["BARS_PID_FILE"]).write_text(str(os.getpid()))
print("waiting", flush=True)
stop.wait()
print("ended its batch", flush=True)
"""
STUBBORN = WAITS.replace("lambda *_: stop.set()", "signal.SIG_IGN")


class Submit:
    """`./spark-submit.sh … job.py` in a folder of its own."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.folder, self.stack = folder, stack
        self.runs = stack.folder / "jobs"
        self.jobs: list[processes.ProcessId] = []

    def start(self, code: str, *arguments: str, bootstrap: str) -> subprocess.Popen[str]:
        (self.folder / "job.py").write_text(code)
        return subprocess.Popen(
            [ROOT / "spark-submit.sh", "--conf", "spark.ui.enabled=false", "job.py", *arguments],
            cwd=self.folder,
            env={**self.stack.environment, "KAFKA_BOOTSTRAP": bootstrap},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def start_waiting(self, code: str, *, bootstrap: str) -> subprocess.Popen[str]:
        run = self.start(code, bootstrap=bootstrap)
        assert run.stdout
        if run.stdout.readline() != "waiting\n":
            _, errors = run.communicate(timeout=60)
            pytest.fail(f"the job did not start ({run.returncode}): {errors}")
        self.jobs += [processes.identify(int(file.read_text())) for file in self.runs.glob("*.pid")]
        return run

    def is_clear(self) -> bool:
        return not list(self.runs.iterdir()) and not list((self.stack.folder / "spark").iterdir())


@pytest.fixture
def submit(tmp_path: Path) -> Iterator[Submit]:
    stack = Stack(tmp_path / "run")
    made = Submit(tmp_path, stack)
    yield made
    stack.run("down")
    for job in made.jobs:  # a driver ends with its JVM; what stands for one here outlives a kill
        if processes.is_alive(job):
            os.kill(job.pid, signal.SIGKILL)


def test_the_job_gets_what_it_needs(submit: Submit) -> None:
    """Arguments, folder and environment reach the job, its output and exit code come back, and no stack starts."""
    with submit.start(TELLS, "--from", "a b", bootstrap="127.0.0.1:1") as run:
        said, errors = run.communicate(timeout=60)
    assert run.returncode == 7
    told = json.loads(said)
    python_path = told.pop("PYTHONPATH").split(os.pathsep)
    assert str(ROOT) in python_path
    assert told == {
        "arguments": ["--from", "a b"],
        "cwd": str(submit.folder),
        "TZ": "UTC",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_CONF_DIR": str(ROOT / "conf"),
        "BARS_TERMINAL": None,
        "PYSPARK_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
    }
    assert errors.startswith("Kafka: 127.0.0.1:1 (KAFKA_BOOTSTRAP is set, so no local stack is started).\n")
    assert state.read(submit.stack.folder) is None
    assert submit.is_clear()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_job_end_by_itself(submit: Submit, number: signal.Signals) -> None:
    """The job finishes what it does, and its clean end is ours."""
    with submit.start_waiting(WAITS, bootstrap="127.0.0.1:1") as run:
        run.send_signal(number)
        said, _ = run.communicate(timeout=15)
    assert (said, run.returncode) == ("ended its batch\n", 0)
    assert submit.is_clear()


@pytest.mark.long
def test_a_job_that_does_not_end_is_ended(submit: Submit) -> None:
    """Within 15 s of Ctrl-C everything has gone, and the exit code says which signal it was."""
    with submit.start_waiting(STUBBORN, bootstrap="127.0.0.1:1") as run:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=15)
    assert run.returncode == 130
    assert submit.is_clear()


@pytest.mark.long
def test_a_stack_it_has_started_ends_with_it(submit: Submit) -> None:
    """Without KAFKA_BOOTSTRAP Kafka starts first, that is said, and Ctrl-C ends the job and then Kafka."""
    with submit.start_waiting(WAITS, bootstrap="") as run:
        run.send_signal(signal.SIGINT)
        said, errors = run.communicate(timeout=15)
    assert (said, run.returncode) == ("ended its batch\n", 0)
    assert errors.startswith(
        f"KAFKA_BOOTSTRAP is not set: using the local stack (Kafka alone; Kafka on 127.0.0.1:{submit.stack.kafka}).\n"
    )
    assert errors.endswith(" s: kafka.\n")
    assert state.read(submit.stack.folder) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the JVM is found through /proc")
def test_a_killed_job_leaves_the_stack_for_the_next_run(submit: Submit) -> None:
    """SIGKILL of the JVM ends the run with 137 and keeps Kafka, also past a refused start; the next run ends it."""
    with submit.start_waiting(WAITS, bootstrap="") as run:
        (pid_file,) = submit.runs.glob("*.pid")
        driver = int(pid_file.read_text())
        jvm = int(Path(f"/proc/{driver}/stat").read_text().rpartition(")")[2].split()[1])
        job = processes.identify(driver)
        os.kill(jvm, signal.SIGKILL)
        _, errors = run.communicate(timeout=15)
    assert run.returncode == 137
    assert "Run the same command again to recover" in errors
    eventually(lambda: not processes.is_alive(job), within_s=5)
    shown = state.read(submit.stack.folder)
    assert shown
    assert shown.is_alive
    with submit.start("raise SystemExit(2)", bootstrap="") as refused:
        refused.communicate(timeout=60)
    assert refused.returncode == 2
    assert state.read(submit.stack.folder) == shown
    with submit.start(TELLS, bootstrap="") as again:
        _, errors = again.communicate(timeout=60)
    assert f"The local stack runs already (pid {shown.supervisor.pid}): kafka (running).\n" in errors
    assert state.read(submit.stack.folder) is None


def test_a_killed_run_does_not_prevent_the_next(submit: Submit) -> None:
    """After SIGKILL of spark-submit.sh itself the stack goes on, and the next run clears up what was left."""
    with submit.start_waiting(WAITS, bootstrap="") as run:
        (killed,) = submit.runs.glob("*.run")
        run.kill()
    with submit.start(TELLS, bootstrap="") as again:
        again.communicate(timeout=60)
    assert again.returncode == 7
    assert not killed.exists()
    eventually(submit.is_clear)
    assert state.read(submit.stack.folder) is None


@pytest.mark.long
def test_a_stack_started_by_hand_stays(submit: Submit) -> None:
    """`local up` is undone by `local down` only."""
    assert submit.stack.run("up", "--only", "kafka").returncode == 0
    with submit.start(TELLS, bootstrap="") as run:
        run.communicate(timeout=60)
    shown = state.read(submit.stack.folder)
    assert shown
    assert shown.is_alive
