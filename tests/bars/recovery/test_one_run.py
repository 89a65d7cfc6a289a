"""One run at a time on a checkpoint: who holds it, what the other is told, and how it gets its turn."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bars import locks, standby
from bars.holder import Holder, Process
from bars.recovery import pairing
from bars.recovery.identity import PairingError
from bars.standby import StoppedError, Turn
from bars.stop import Stop
from market import settings
from market.settings import ROOT, Settings
from tests.support import eventually

pytestmark = pytest.mark.spark


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """Settings with a folder of the test's own."""
    own = {"output_dir": str(tmp_path / "data"), "checkpoint_dir": str(tmp_path / "checkpoints")}
    return settings.load({}, None, {"kafka_bootstrap": "none:1"} | own)


# What the kernel and the file tell of a JVM that holds the lock, without a JVM.
HOLDER = """
import fcntl, json, os, sys
from pathlib import Path
from bars.holder import seen
path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("a+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    file.truncate(0)
    file.write(json.dumps({"processes": [[os.getpid(), seen(os.getpid())[1]]]}))
    file.flush()
    print("held", flush=True)
    sys.stdin.read()
"""
TAKES = """
import fcntl, sys
try:
    fcntl.lockf(open(sys.argv[1], "a"), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    sys.exit(7)
"""


@pytest.fixture
def holder(configured: Settings) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the checkpoint."""
    command = [sys.executable, "-c", HOLDER, str(pairing.lock_of(configured))]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def is_held(path: Path) -> bool:
    """Whether a process beside this one and its JVM finds the lock held."""
    return subprocess.run([sys.executable, "-c", TAKES, str(path)]).returncode == 7


def lock_refusal(configured: Settings, spark: SparkSession) -> str:
    with pytest.raises(PairingError) as caught, pairing.locked(configured, spark, patience_s=0):
        pass
    return str(caught.value)


def refused_for(configured: Settings, who: str) -> str:
    return (
        f"another run holds the checkpoint {configured.checkpoints / 'ohlcv'} ({who}); end it first (--take-over "
        "does), wait for its end with --standby, or give this one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
    )


def test_two_runs_at_once(configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]) -> None:
    """A second run on one checkpoint waits its patience and is then refused, with the pid of the first."""
    assert lock_refusal(configured, spark) == refused_for(configured, f"process {holder.pid}")


def test_a_folder_that_cannot_be_used_is_told(configured: Settings, spark: SparkSession) -> None:
    """By the name of its setting, before anything else is looked at."""
    configured.checkpoints.parent.joinpath("data").write_text("a file where a folder is wanted")
    assert lock_refusal(configured, spark).startswith(f"OUTPUT_DIR: the folder {configured.tables} cannot be used (")


def test_a_rehearsal_ends_when_the_run_it_is_for_ends(
    configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]
) -> None:
    """Who stands by and is not warm yet takes its turn all the same; here it still waits for a Kafka."""
    lock, stop, over = pairing.lock_of(configured), Stop(), threading.Event()

    def rehearse() -> None:
        assert not standby.rehearse(spark, configured, lock, stop)
        over.set()

    threading.Thread(target=rehearse).start()
    assert not over.wait(1.5)
    holder.kill()
    assert over.wait(60)
    assert not standby.rehearse(spark, configured, lock, stop)  # nobody is there to wait for


def test_a_rehearsal_does_not_wait_for_amend() -> None:
    """It is over when bars and archive have done their batches: after a take-over, the first bar needs no amend."""
    enough = dict(standby.BATCHES)
    assert standby.is_warm(enough | {"amend": 0})
    for name, count in enough.items():
        assert not standby.is_warm(enough | {name: count - 1, "amend": 99})
    assert standby.is_warm({"bars": enough["bars"]})  # where no other query is configured


def test_one_who_is_not_warm_yet_rehearses_again(configured: Settings) -> None:
    """Who lost the race for the lock in the middle of a rehearsal begins another, and says it stands by when warm."""
    said, came_to_its_end = list[str](), iter([False, True])
    waiting = turn(configured, Stop(), said, lambda: next(came_to_its_end), standby=True)
    for expected in (0, 0, 1):
        assert waiting(Holder())
        assert len(said) == expected
    assert said[0].startswith("standing by: ")


def test_a_stopped_run_holds_the_checkpoint(
    configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]
) -> None:
    """A run that is stopped keeps its lock, for it may go on at any moment; the refusal says so, and what ends it."""
    os.kill(holder.pid, signal.SIGSTOP)
    pid = holder.pid
    eventually(lambda: "which is stopped" in lock_refusal(configured, spark))
    assert lock_refusal(configured, spark) == refused_for(
        configured, f"process {pid}, which is stopped: kill -CONT {pid} lets it go on, kill -9 {pid} ends it"
    )
    os.kill(pid, signal.SIGKILL)
    with pairing.locked(configured, spark):
        pass


def test_the_jvm_holds_it_as_long_as_it_lives(configured: Settings, spark: SparkSession) -> None:
    """Whoever tries beside it is refused, in the same JVM too, and neither that nor garbage collection frees it."""
    path = pairing.lock_of(configured)
    with pairing.locked(configured, spark):
        jvm = int(spark._jvm.java.lang.ProcessHandle.current().pid())  # type: ignore[union-attr]
        assert lock_refusal(configured, spark) == refused_for(configured, f"process {jvm} {os.getpid()}")
        spark._jvm.java.lang.System.gc()  # type: ignore[union-attr]
        assert is_held(path)
    assert not is_held(path)


def test_a_lock_moved_aside_locks_nothing(
    configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]
) -> None:
    """With the checkpoint moved away under a run that waits for it, the run takes the lock of the new folder."""
    asked, entered, done = threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        with pairing.locked(configured, spark, patience_s=60, waiting=lambda _: bool(asked.set())):
            entered.set()
            done.wait(60)

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert asked.wait(60)
    shutil.move(configured.checkpoints / "ohlcv", configured.checkpoints / "old")
    (configured.checkpoints / "ohlcv").mkdir()
    assert entered.wait(60)
    assert f" {os.getpid()})" in lock_refusal(configured, spark)
    done.set()
    waiting.join()


def turn(
    configured: Settings,
    stop: Stop,
    said: list[str],
    rehearse: Callable[[], bool] = lambda: True,
    *,
    standby: bool = False,
    take_over: bool = False,
) -> Turn:
    """What one does who waits."""
    return Turn(pairing.lock_of(configured), stop, said.append, rehearse, standby=standby, take_over=take_over)


def test_standing_by(configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]) -> None:
    """One who stands by says for whom, says that a stopped one blocks it, and has its turn when that is killed."""
    said: list[str] = []
    entered = threading.Event()

    def wait() -> None:
        waiting = turn(configured, Stop(), said, standby=True)
        with pairing.locked(configured, spark, patience_s=0, waiting=waiting):
            entered.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    pid, folder = holder.pid, configured.checkpoints / "ohlcv"
    eventually(lambda: said)
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: len(said) > 1)
    assert not entered.is_set()
    os.kill(pid, signal.SIGKILL)
    assert entered.wait(60)
    waiting.join()
    assert said == [
        f"standing by: the checkpoint {folder} is held by another run (process {pid})",
        f"standing by: the checkpoint {folder} is held by another run (process {pid}, which is stopped: kill -CONT "
        f"{pid} lets it go on, kill -9 {pid} ends it). While it is stopped, this one can only wait; --standby "
        "--take-over would end it",
    ]


def test_one_who_stands_by_can_be_stopped(
    configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]
) -> None:
    """A stop that is asked for while another run holds the checkpoint ends the waiting."""
    stop = Stop()
    stop._event.set()
    waiting = turn(configured, stop, [], standby=True)
    with pytest.raises(StoppedError), pairing.locked(configured, spark, waiting=waiting):
        pass


def test_taking_over(configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]) -> None:
    """--take-over kills the run that holds the checkpoint, also a stopped one, says so, and has its place."""
    os.kill(holder.pid, signal.SIGSTOP)
    said: list[str] = []
    with pairing.locked(configured, spark, waiting=turn(configured, Stop(), said, take_over=True)):
        assert holder.wait(timeout=30) == -signal.SIGKILL
    assert len(said) == 1
    assert said[0].startswith(
        f"--take-over: ending the run that holds the checkpoint {configured.checkpoints / 'ohlcv'} "
        f"(process {holder.pid}, which is stopped"
    )


def test_only_the_holder_is_ended(configured: Settings, spark: SparkSession, holder: subprocess.Popen[str]) -> None:
    """A process that has the pid of a holder that ended, and not its start, is another one, and lives on."""
    path = pairing.lock_of(configured)
    path.write_text(json.dumps({"processes": [[holder.pid, "1"]]}))
    assert locks.holder_of(path) == Holder((Process(holder.pid, "1"),))
    said: list[str] = []
    waiting = turn(configured, Stop(), said, take_over=True)
    trying = pairing.locked(configured, spark, patience_s=0, waiting=waiting)
    with pytest.raises(PairingError, match=r"\(process unknown\)"), trying:
        pass
    assert (said, holder.poll()) == ([], None)
