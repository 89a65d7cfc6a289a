"""Who may commit: locks between processes, between a JVM and Python, and what two who commit at once leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bars import locks
from bars.locks import LockError, amend_lock, commit_lock, held, held_by_jvm
from bars.sink import append_revisions, save
from bars.tables import BARS
from market.settings import ROOT
from tests.bars.frames import bars_in
from tests.bars.others import HOLDER, Other, started
from tests.bars.scene import START_MS, Scene
from tests.bars.test_amend import closed, trade
from tests.support import eventually

REARRANGER = """
import json, sys
from pathlib import Path
from bars.upkeep import deltalog
from bars.upkeep import rewrite
table, versions = Path(sys.argv[1]), []
deltalog.PATIENCE_S = 600  # the first appends compile what they need
print("begun", flush=True)
while not Path(sys.argv[2]).exists():
    files = sorted(deltalog.settled(table).values(), key=lambda file: file.path)
    if len(files) > 1:
        made, _ = rewrite.merged(table, files)
        versions.append(deltalog.rearrange(table, "OPTIMIZE", files, [made]))
print(json.dumps(versions))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A lock's file, in a folder that is not there yet."""
    return commit_lock(tmp_path / "data" / "bars_1s")


@pytest.fixture
def holder(file: Path) -> Iterator[Other]:
    """Another process, which holds the lock."""
    other = started(HOLDER, "held", file)
    yield other
    other.end()


def test_a_table_has_two_locks_beside_it(tmp_path: Path) -> None:
    """One for commits and one for amending, which is held while others commit."""
    assert commit_lock(tmp_path / "bars_1s") == tmp_path / "bars_1s.lock"
    assert amend_lock(tmp_path / "bars_1s") == tmp_path / "bars_1s.amending"


def test_another_process_keeps_us_out(file: Path, holder: Other) -> None:
    """A lock that is not free in time is refused with its name; the holder's death, however it comes, frees it."""
    with pytest.raises(LockError) as caught, held(file, patience_s=0):
        pass
    assert str(caught.value) == f"{file} was not free for 0 s: it is held by process {holder.process.pid}"
    holder.process.send_signal(signal.SIGKILL)
    with held(file, patience_s=30):
        pass


def test_who_only_looks_keeps_nobody_out(file: Path, holder: Other) -> None:
    """A lock is free where there is no file yet or nobody holds it; to look does not take it from who does."""
    assert not locks.is_free(file)
    assert not locks.is_free(file)
    holder.end()
    eventually(lambda: locks.is_free(file))
    assert locks.is_free(file.with_name("none"))


def test_threads_of_one_process_keep_each_other_out(file: Path) -> None:
    """Record locks do not, so that threads have a lock of their own."""
    refused: list[LockError] = []

    def ask() -> None:
        try:
            with held(file, patience_s=0):
                pass
        except LockError as error:
            refused.append(error)

    with held(file, patience_s=0):
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert [str(error) for error in refused] == [
            f"{file} was not free for 0 s: another thread of this process holds it"
        ]
        asked = [sys.executable, "-c", HOLDER, str(file)]  # to refuse a thread must not free the lock for others
        other = subprocess.run(asked, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert f"it is held by process {os.getpid()}" in other.stderr
    with held(file, patience_s=0):
        pass


def test_who_has_no_patience_set_waits_and_says_for_whom(
    file: Path, holder: Other, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever appends waits for a commit of another process, however long it takes."""
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0)
    entered = threading.Event()

    def commit() -> None:
        with held(file):
            entered.set()

    thread = threading.Thread(target=commit)
    thread.start()
    eventually(lambda: f"waiting for {file}, which is held by process {holder.process.pid}" in caplog.messages)
    assert not entered.is_set()
    holder.end()
    assert entered.wait(30)
    thread.join()


@pytest.mark.spark
def test_the_jvm_waits_for_another_process(
    spark: SparkSession, file: Path, holder: Other, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Java and Python share the lock. A writer that waits long says for what."""
    monkeypatch.setattr(locks, "SAY_AFTER_S", 0)
    entered = threading.Event()

    def commit() -> None:
        with held_by_jvm(spark, file):
            entered.set()

    thread = threading.Thread(target=commit)
    thread.start()
    said = f"waiting for {file}, which is held by process {holder.process.pid}"
    eventually(lambda: said in caplog.messages)
    assert not entered.is_set()
    holder.end()
    assert entered.wait(30)
    thread.join()


@pytest.mark.spark
def test_another_process_waits_for_the_jvm(spark: SparkSession, file: Path) -> None:
    """What the JVM holds, no other process gets, until it is given back, also by an error."""
    asked = [sys.executable, "-c", HOLDER, str(file)]

    def fail() -> None:
        with held_by_jvm(spark, file):
            refused = subprocess.run(asked, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            assert "was not free for 0 s" in refused.stderr
            raise OSError("the end")

    with pytest.raises(OSError, match="the end"):
        fail()
    assert subprocess.run(asked, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout == "held\n"


@pytest.mark.spark
def test_a_thread_that_waits_for_the_jvm_takes_no_lock_from_another_thread(spark: SparkSession, file: Path) -> None:
    """To look who holds a file would free this process's own lock on it: such a thread waits without looking."""
    asked = [sys.executable, "-c", HOLDER, str(file)]
    waiting, entered = threading.Event(), threading.Event()

    def commit() -> None:
        waiting.set()
        with held_by_jvm(spark, file):
            entered.set()

    with held(file):
        thread = threading.Thread(target=commit)
        thread.start()
        assert waiting.wait(30)
        refused = subprocess.run(asked, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert f"it is held by process {os.getpid()}" in refused.stderr
        assert not entered.is_set()
    assert entered.wait(30)
    thread.join()


@pytest.mark.spark
@pytest.mark.long
def test_who_amends_waits_for_an_audit(spark: SparkSession, tmp_path: Path) -> None:
    """While another process holds the table for amending, no revision is made: both might make the same one."""
    scene = Scene(spark, tmp_path)
    batch, amender = closed(scene), scene.amender()
    before = scene.rows()
    thread = threading.Thread(target=amender.write, args=(batch, 7))
    other = started(HOLDER, "held", amend_lock(BARS.path(scene.settings)))
    try:
        thread.start()
        thread.join(timeout=5)
        assert scene.rows() == before
    finally:
        other.end()
    thread.join(timeout=120)
    assert len(scene.rows()) == 6


@pytest.mark.spark
@pytest.mark.long
def test_two_who_commit_at_once_lose_nothing(spark: SparkSession, tmp_path: Path) -> None:
    """Spark and the driver append as fast as they can while another process rearranges: each commit stays."""
    scene = Scene(spark, tmp_path)
    path, stop = BARS.path(scene.settings), tmp_path / "stop"
    scene.barred([trade(1, 0)])
    row = spark.read.format("delta").load(str(path)).localCheckpoint()
    other = started(REARRANGER, "begun", path, stop)
    appended = 0
    try:
        while appended < 15:
            appended += 1
            write = save if appended % 2 else append_revisions
            write(row.selectExpr(*_as_revision(row.columns, appended)), path, app_id="it", version=appended)
        stop.touch()
        output, _ = other.process.communicate(timeout=120)
    finally:
        other.end()
    versions = json.loads(output)
    assert len(versions) > 3
    assert None not in versions  # nobody else takes files away
    bars = bars_in(spark.read.format("delta").load(str(path)).collect())
    assert [bar.revision for bar in bars] == list(range(16))
    assert {bar.timestamp for bar in bars} == {START_MS}
    written = sorted(int(file.stem) for file in (path / "_delta_log").glob("*.json"))
    assert written == list(range(2 + appended + len(versions)))


def _as_revision(columns: list[str], number: int) -> list[str]:
    return [f"{number} AS revision" if name == "revision" else name for name in columns]
