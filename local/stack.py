"""The stack as its user sees it: up, down, status. Each asks or tells the supervisor, which runs apart."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local import processes, state
from local.install import ROOT
from local.parts import NAMES, Part, parts_of
from local.state import PartState, StackState
from local.supervisor import STOP_S, end_leftovers, tail
from market.settings import Settings, load

FOLDER = Path(os.environ.get("BARS_RUN_DIR") or ROOT / "run").resolve()
"""State, logs and Kafka's data. Tests give another one."""

BY_HAND, BY_SUBMIT = "local up", "spark-submit"

Say = Callable[[str], None]


class StackError(RuntimeError):
    """The stack did not start, or is not the one that is wanted. The message says why and what to do."""


def environment_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What the parts run with: the given environment, with the local Kafka whatever `.env` says of another one."""
    path = os.pathsep.join([str(ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    ours = {"KAFKA_BOOTSTRAP": "", "SIMULATOR_HOST": "127.0.0.1", "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return {**environment, **ours}


def settings_of(environment: Mapping[str, str]) -> Settings:
    return load(environment_of(environment))


@dataclass
class Launch:
    """A stack on its way up. `poll()` until it is true; `say` hears of each part once."""

    say: Say
    wanted: Sequence[Part]
    supervisor: subprocess.Popen[bytes] | None
    """The one we started; None where one runs already."""
    _told: set[str] = field(default_factory=set)

    @property
    def is_ours(self) -> bool:
        return self.supervisor is not None

    def poll(self) -> bool:
        """Whether every wanted part serves. Raises `StackError` when that will not come."""
        ended = self.supervisor is not None and self.supervisor.poll() is not None
        shown = state.read(FOLDER)
        if ended or shown is None or not shown.is_alive:
            if not ended and self.supervisor is not None:
                return False  # it has not written anything yet
            if shown and shown.is_alive and shown.supervisor.pid != getattr(self.supervisor, "pid", None):
                raise StackError("another one was started at the same moment. Run the command again to use it")
            why = shown.error if shown else ""
            state.remove(FOLDER)
            log = FOLDER / "logs" / "stack.log"
            raise StackError(why or f"the supervisor ended. Last lines of {log}:\n{tail(log)}")
        parts = {part.name: part for part in shown.parts}
        for part in shown.parts:
            if self.is_ours and part.name not in self._told and (part.took_s or part.state == state.MISSING):
                self._told.add(part.name)
                self.say(_told(part))
        return all(parts[part.name].state in ("running", "done", state.MISSING) for part in self.wanted)

    def address_of(self, name: str) -> str | None:
        """Where a wanted part is found; None where it does not serve."""
        shown = state.read(FOLDER)
        running = {part.name for part in shown.parts if part.state == "running"} if shown else set()
        return next((part.address for part in self.wanted if part.name == name and name in running), None)

    def wait(self) -> None:
        while not self.poll():
            time.sleep(0.05)


def launch(
    environment: Mapping[str, str],
    *,
    say: Say,
    only: Sequence[str] = NAMES,
    started_by: str = BY_HAND,
) -> Launch:
    """Starts the stack, or finds the one that runs; raises `StackError` where that one is not what is wanted."""
    parts = parts_of(settings_of(environment), FOLDER, only)
    running = state.read(FOLDER)
    if running and running.is_alive and running.state != state.STOPPING:
        say(f"The local stack runs already (pid {running.supervisor.pid}): {_names(running)}.")
        return Launch(say, _required(parts, running), None)
    (FOLDER / "logs").mkdir(parents=True, exist_ok=True)
    with (FOLDER / "logs" / "stack.log").open("ab") as output:
        # A session of its own: neither the terminal's Ctrl-C nor its end reaches it.
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "local", "supervise", "--only", ",".join(only), "--started-by", started_by],
            env=environment_of(environment),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Launch(say, parts, supervisor)


def stop(*, say: Say, within_s: float = STOP_S + 1) -> None:
    """Ends the stack, or what a killed supervisor left of it, and says what it ended."""
    running = state.read(FOLDER)
    if running is None:
        say("The local stack is not running.")
    elif not running.is_alive:
        left = end_leftovers(FOLDER)
        state.remove(FOLDER)
        what = f"ended what it left: {', '.join(left)}" if left else "it left nothing running"
        say(f"The local stack's supervisor had been killed; {what}.")
    else:
        began = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.supervisor.pid, signal.SIGTERM)
        if not processes.wait_until_gone(running.supervisor, within_s=within_s):
            processes.end(running.supervisor, within_s=0)
            end_leftovers(FOLDER)
        names = ", ".join(part.name for part in reversed(running.parts) if part.state not in ("done", state.MISSING))
        say(f"Stopped the local stack in {time.monotonic() - began:.1f} s: {names}.")


def table(shown: StackState, now: float) -> str:
    """The parts as `python -m local status` prints them; `now` in seconds since the epoch."""
    rows = [("part", "state", "pid", "uptime", "restarts", "address", "log")]
    for part in shown.parts:
        alive = part.process is not None and processes.is_alive(part.process)
        rows.append(
            (
                part.name,
                part.state if alive or part.state not in ("running", "starting") else "dead",
                str(part.process.pid) if part.process and alive else "-",
                _uptime(now - part.since) if alive and part.state == "running" else "-",
                str(part.restarts),
                part.address,
                os.path.relpath(part.log, ROOT) if Path(part.log).is_relative_to(ROOT) else part.log,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"{part.name} is missing: {part.why}" for part in shown.parts if part.why)])


def _required(wanted: Sequence[Part], running: StackState) -> list[Part]:
    """Of the wanted parts, those that run here. Raises `StackError` where one that is needed does not, or elsewhere."""
    there = {part.name: part.address for part in running.parts}
    mend = "Stop it first: .venv/bin/python -m local down"
    for part in wanted:
        if part.name not in there and not part.optional:
            raise StackError(f"{part.name} is not among them. {mend}")
        if there.get(part.name, part.address) != part.address:
            raise StackError(f"its {part.name} is {there[part.name]}, but the settings say {part.address}. {mend}")
    return [part for part in wanted if part.name in there]


def _told(part: PartState) -> str:
    """A part that has come, or will not."""
    if part.state == state.MISSING:
        return f"  {part.name:<10} missing   {part.why}"
    return f"  {part.name:<10} {part.took_s:5.1f} s   {part.address}"


def _names(running: StackState) -> str:
    return ", ".join(f"{part.name} ({part.state})" for part in running.parts if part.state != "done")


def _uptime(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m{whole:02}s" if hours else f"{minutes}m{whole:02}s" if minutes else f"{whole}s"
