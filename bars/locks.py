"""Locks of one process against all others: who may run on a checkpoint, and who may commit to a table.

They are POSIX record locks, which Java and Python share, and which the kernel frees when the process that holds one
ends, however it ends. Whoever commits holds the lock: where Spark does, its JVM, for the Python driver may be gone
while the JVM still ends a batch; where Python does (`bars/append.py`), the driver, for the JVM may be gone first.

Tables need one because Delta keeps two commits apart by the name of the version's file, of which only one can be there.
On a local disk Spark asks whether it is there and then renames over it, in turn only with the threads of its own JVM
(delta-storage 4.4, `LocalLogStore`). Another process that commits in between is overwritten, and its commit lost
without a sound.

A process loses such a lock when it closes any descriptor of the file. So within a JVM a path is opened once, and what
is open is kept where neither the garbage collector nor the end of the Python driver (which clears what py4j holds, and
a collected file is closed) can reach it: among the system properties, the one table that lives as long as the JVM.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from bars.holder import Holder, holder_of, said_by

log = logging.getLogger(__name__)

POLL_S = 0.01
"""How often one who waits tries again."""
SAY_AFTER_S = 10
_IN_JVM = threading.Lock()
"""Held while this process looks whether its JVM has a path open, and opens it."""
_threads: dict[str, threading.Lock] = {}
"""By path: a record lock keeps processes apart, not the threads of one."""


class LockError(RuntimeError):
    """A lock was not to be had in time. The message names it."""


def commit_lock(table: Path) -> Path:
    """The lock of those who commit to a table."""
    return table.with_name(f"{table.name}.lock")


def amend_lock(table: Path) -> Path:
    """The lock of those who amend: from reading the current revisions until the next ones are appended.

    Appends never conflict, so two who amend at once would give one revision two rows. It is taken before that of
    commits, and another one, for reading takes seconds and bars go on meanwhile. Who holds it is who
    commits: Python for what passes through the driver (`held`), the JVM for what Spark's tasks write (`held_by_jvm`).
    """
    return table.with_name(f"{table.name}.amending")


def upkeep_lock(tables: Path) -> Path:
    """The lock of the upkeep, of which one pass at a time is under way in a folder of tables."""
    return tables / "upkeep.lock"


@contextmanager
def held_by_jvm(spark: SparkSession, path: Path, wait: Callable[[Holder], object] | None = None) -> Iterator[None]:
    """Holds the lock of this file, in the session's JVM, against other processes and other threads.

    While another holds it, `wait` is called with who that is; it raises what ends the waiting. Without it, the lock is
    waited for as long as it takes (who has it, commits, which is brief), and may be one that `held` takes as well.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    jvm: Any = spark._jvm
    name = f"live-bars.lock.{path.resolve()}"
    # In turn with other threads, for one that has the lock from `held` would lose it by our looking into the file.
    with nullcontext() if wait else _of_threads(path):
        wait = wait or _patience(path)
        # Asked for again and again rather than waited for: Spark interrupts a query that it stops, and a channel that
        # is interrupted breaks.
        while not _take(jvm, name, path):
            wait(holder_of(path))
            time.sleep(POLL_S)
        try:
            yield
        finally:
            with _IN_JVM:
                file = jvm.java.lang.System.getProperties().remove(name)
                file.close()


@contextmanager
def held(path: Path, *, patience_s: float | None = None) -> Iterator[None]:
    """Holds a lock in this process. Raises `LockError` where it is not free in time; without one, waits on."""
    deadline = None if patience_s is None else time.monotonic() + patience_s
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = _of_threads(path)
    if not ours.acquire(timeout=-1 if patience_s is None else max(patience_s, 0)):
        # Not to be looked into: closing the file here would free the lock of that thread.
        raise LockError(f"{path} was not free for {patience_s:g} s: another thread of this process holds it")
    wait = _patience(path)
    try:
        with path.open("a") as file:  # closing it frees the lock
            while not _is_ours(file.fileno()):
                if deadline is None:
                    wait(holder_of(path))
                elif time.monotonic() > deadline:
                    raise LockError(_taken(path, patience_s or 0))
                time.sleep(POLL_S)
            file.truncate(0)
            file.write(said_by([os.getpid()]))
            file.flush()
            yield
    finally:
        ours.release()


def is_free(path: Path) -> bool:
    """Whether no other process holds this lock. Not to be asked of one that this process holds: asking frees it."""
    try:
        with path.open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (BlockingIOError, PermissionError):
        return False
    return True


def _of_threads(path: Path) -> threading.Lock:
    return _threads.setdefault(str(path), threading.Lock())


def _take(jvm: Any, name: str, path: Path) -> bool:
    """Whether the lock is ours now. One whose file was moved aside meanwhile locks nothing."""
    with _IN_JVM:
        kept = jvm.java.lang.System.getProperties()
        if kept.get(name) is not None:
            return False
        file = jvm.java.io.RandomAccessFile(str(path), "rw")
        if file.getChannel().tryLock() is None:
            file.close()
            return False
        content = said_by([int(jvm.java.lang.ProcessHandle.current().pid()), os.getpid()])
        file.setLength(0)
        file.writeBytes(content)
        with suppress(FileNotFoundError):
            if path.read_text() == content:
                kept.put(name, file)
                return True
        file.close()
        return False


def _patience(path: Path) -> Callable[[Holder], None]:
    """Says once, after a while, who is waited for."""
    since, said = time.monotonic(), threading.Event()

    def wait(holder: Holder) -> None:
        if not said.is_set() and time.monotonic() - since > SAY_AFTER_S:
            log.warning("waiting for %s, which is held by %s", path, holder)
            said.set()

    return wait


def _is_ours(descriptor: int) -> bool:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX allows either
        return False
    return True


def _taken(path: Path, patience_s: float) -> str:
    return f"{path} was not free for {patience_s:g} s: it is held by {holder_of(path)}"
