"""The supervisor: starts the parts in order, keeps them running, and stops them in reverse order.

One process, one thread, one loop. It holds a lock for its life, so there is one per folder; it tells what it does in
run/local.json; its own log is run/logs/stack.log. SIGTERM and SIGINT end it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from local import processes, state
from local.parts import Part
from local.state import PartState, StackState

log = logging.getLogger("local")

STOP_S = 14.0
"""All parts together have this long to end."""
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Pauses before the restarts of a part; a part that has run for the longest of them starts from the first again."""
TICK_S = 0.1
TAIL_LINES = 12


class PartError(RuntimeError):
    """A part cannot start, or has ended. The message names it, why, its log and the log's last lines."""


class AlreadyRunningError(RuntimeError):
    """Another supervisor holds the lock of this folder."""


class Worker:
    """One part while it is supervised."""

    def __init__(self, part: Part, folder: Path, environment: Mapping[str, str]) -> None:
        self.part = part
        self.log = folder / "logs" / part.log
        self.shown = PartState(part.name, "waiting", part.address, str(self.log))
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._failures = 0
        self._resume = 0.0

    def start(self) -> None:
        """Raises `PartError` when it cannot even be started."""
        self._began = time.monotonic()
        try:
            self.part.prepare()
            with self.log.open("ab") as output:
                self._process = processes.start(self.part.command(), environment=self._environment, output=output)
        except (OSError, RuntimeError) as error:
            raise PartError(f"{self.part.name} cannot start: {error}") from error
        self.shown.process = processes.identify(self._process.pid)
        self._become("starting")

    def tick(self) -> None:
        """Sees what has become of it. Raises `PartError` when it has ended, or does not serve in time."""
        if self.shown.state == "restarting" and time.monotonic() >= self._resume:
            self.start()
        if self._process is None:
            return
        code, seconds = self._process.poll(), time.monotonic() - self._began
        if code is not None:
            self._process = None
            if code == 0 and self.part.once:
                self._become("done")
                return
            raise PartError(self._why(f"ended with {_exit(code)} after {seconds:.1f} s"))
        if self.shown.state == "starting":
            if self.part.is_ready(seconds):
                self._become("running")
            elif seconds > self.part.start_s:
                self.stop(within_s=self.part.stop_s)
                raise PartError(self._why(f"does not serve after {seconds:.0f} s"))

    def leave_out(self, why: str) -> None:
        """It is not to be had: the others run without it."""
        self._end(within_s=self.part.stop_s)
        self.shown.why = why
        self._become(state.MISSING)
        log.warning("%s is left out: %s", self.part.name, why)

    def restart_later(self) -> float:
        """Plans the next start, and returns the seconds until then."""
        ran_s = time.monotonic() - self._began
        self._failures = 0 if ran_s > BACKOFF_S[-1] else self._failures
        pause_s = BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        self.shown.restarts += 1
        self._resume = time.monotonic() + pause_s
        self._become("restarting")
        return pause_s

    def stop(self, *, within_s: float) -> None:
        """Ends it and whatever it has started: SIGTERM, then SIGKILL."""
        self._end(within_s=within_s)
        self._become("stopped")

    def _end(self, *, within_s: float) -> None:
        if self._process is not None:
            processes.signal_group(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=within_s)
            except subprocess.TimeoutExpired:
                log.warning("%s did not end within %.1f s of SIGTERM: killed", self.part.name, within_s)
            processes.signal_group(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _become(self, what: str) -> None:
        if what in ("running", "done") and not self.shown.took_s:
            self.shown.took_s = time.monotonic() - self._began
        self.shown.state, self.shown.since = what, time.time()
        log.info("%s: %s", self.part.name, what)

    def _why(self, what: str) -> str:
        return f"{self.part.name} {what}. Last lines of {self.log}:\n{tail(self.log)}"


def supervise(parts: Sequence[Part], *, folder: Path, started_by: str, environment: Mapping[str, str]) -> int:
    """Runs the parts until a signal comes: exit code 0. When one fails at its first start: 1, with nothing left."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _alone(folder):
        end_leftovers(folder)
        workers = [Worker(part, folder, environment) for part in parts]
        us = processes.identify(os.getpid())
        shown = StackState(us, started_by, parts=[worker.shown for worker in workers])
        try:
            check_ports([part for part in parts if not part.optional])
            _start(workers, shown, folder, stop)
            shown.state = state.RUNNING if not stop.is_set() else state.STOPPING
            _keep_running(workers, shown, folder, stop)
        except PartError as error:
            log.error("%s", error)
            shown.state, shown.error = state.STOPPING, str(error)
        finally:
            shown.state = state.STOPPING
            state.write(folder, shown)
            _stop(workers)
        if shown.error:
            shown.state = state.FAILED
            state.write(folder, shown)
            return 1
        state.remove(folder)
    return 0


def check_ports(parts: Sequence[Part]) -> None:
    """Raises `PartError` for the first port that somebody else listens on."""
    for part in parts:
        for setting, port in part.ports.items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections linger
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    raise PartError(
                        f"port {port} on 127.0.0.1, which {part.name} needs, is taken ({error.strerror}). "
                        f"Stop what listens there, or choose another port: {setting}=<port>"
                    ) from error


def end_leftovers(folder: Path) -> list[str]:
    """Ends what a killed supervisor left behind, and returns the names. By pid and start time, never by name."""
    last = state.read(folder)
    if last is None or last.is_alive:
        return []
    ended = []
    for part in reversed(last.parts):
        if part.process and processes.is_alive(part.process):
            log.warning("%s (pid %d) was left over by a supervisor that was killed", part.name, part.process.pid)
            processes.end(part.process, within_s=4.0)
            ended.append(part.name)
    state.remove(folder)
    return ended


def tail(file: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, indented; that it is empty, where it is."""
    content = file.read_text(errors="replace").splitlines() if file.is_file() else []
    return "\n".join(f"  | {line}" for line in content[-lines:]) or "  | (nothing)"


def _start(workers: Sequence[Worker], shown: StackState, folder: Path, stop: threading.Event) -> None:
    for number, worker in enumerate(workers, 1):
        _first_start(worker, workers)
        state.write(folder, shown)
        while worker.shown.state == "starting" and not stop.wait(TICK_S / 2):
            for started in workers[:number]:
                try:
                    started.tick()
                except PartError as error:
                    if not started.part.optional:
                        raise
                    if started.shown.took_s:
                        _start_again(started, error)
                    else:
                        started.leave_out(str(error))
        state.write(folder, shown)
        if stop.is_set():
            return


def _first_start(worker: Worker, workers: Sequence[Worker]) -> None:
    """Starts it, or leaves it out where the others can do without. Raises `PartError` where they cannot."""
    part = worker.part
    if part.needs in [other.part.name for other in workers if other.shown.state == state.MISSING]:
        worker.leave_out(f"it needs {part.needs}")
        return
    try:
        if part.optional:
            check_ports([part])
        worker.start()
    except PartError as error:
        if not part.optional:
            raise
        worker.leave_out(str(error))


def _keep_running(workers: Sequence[Worker], shown: StackState, folder: Path, stop: threading.Event) -> None:
    state.write(folder, shown)
    while not stop.wait(TICK_S):
        before = [worker.shown.since for worker in workers]
        for worker in workers:
            try:
                worker.tick()
            except PartError as error:
                _start_again(worker, error)
        if before != [worker.shown.since for worker in workers]:
            state.write(folder, shown)


def _start_again(worker: Worker, error: PartError) -> None:
    log.error("%s", error)
    log.info("%s: starting it again in %.0f s", worker.part.name, worker.restart_later())


def _stop(workers: Sequence[Worker]) -> None:
    deadline = time.monotonic() + STOP_S
    for worker in reversed(workers):
        worker.stop(within_s=max(0.0, min(worker.part.stop_s, deadline - time.monotonic())))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "local.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(f"another supervisor holds {folder / 'local.lock'}") from None
        yield


def _exit(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
