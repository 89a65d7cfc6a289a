"""Does the kills: watches the job's work, kills what is to be killed, and starts the job again at once."""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chaos.job.driver import Job, send
from chaos.job.schedule import GOES_ON, OUTAGE_S, Kill
from chaos.job.tables import Growth, written
from chaos.programs import START_S, Program, ProgramError

WORDS = ("jobs/ohlcv.py",)
REFUSED = 2
HELD = "another run holds the checkpoint"
"""What a job says that finds another one at work, and its exit code."""
WORK_S = 600.0
"""New bars are waited for so long."""
END_S = 180.0
"""What a job may take to end that was killed, or is to be refused."""
_SECOND_S = 6.0
"""A second job is given so long, from its Python driver's start, to come to the lock."""
_STOP_S = 0.3
"""Every thread of a process stops within this time."""
_LOOK_S = 0.1
_FALLS = 10
_TELLING = re.compile(r"^\w+: |ERROR a query failed|^bars\.\S*Error|^: org.apache")
"""Lines in which the job says why it ends."""

Say = Callable[[str], None]


@dataclass
class Done:
    """A kill that was done."""

    kind: str
    at_s: float
    in_cluster: bool
    at_start: bool
    bars: int
    """New bars since the kill before."""
    recovery_s: float | None = None
    """Until the next new bar; None where the next kill came first."""


@dataclass
class Supervisor:
    """A job that is killed."""

    broker: Program
    broker_is_ready: Callable[[], bool]
    environment: Mapping[str, str]
    folder: Path
    """Of the run: the log of the job is there."""
    tables: Path
    checkpoints: Path
    must_live: Sequence[Program]
    say: Say
    done: list[Done] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    """What else happened: falls of the job, second jobs refused, and so on."""

    def __post_init__(self) -> None:
        self._began_s = time.monotonic()
        self._growth = Growth(self.tables / "bars_1s")
        self._jobs: list[Job] = []
        self._job: Job | None = None

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began_s

    def do(self, kills: Sequence[Kill], *, goes_on: bool) -> None:
        """All of them. What the last one ends is started again if it `goes_on`, and then runs until `end`."""
        job = self._start(kills[0].in_cluster)
        before, struck_s = 0, self.now_s
        for number, kill in enumerate(kills):
            job, came_s = self._wait(job, kill, before)
            bars = self._growth.look()
            if self.done and came_s is not None:
                self.done[-1].recovery_s = round(came_s - struck_s, 2)
            struck_s = self.now_s
            self.say(f"{struck_s:6.1f} s  {number + 1:3}  {bars - before:4} new bars; {kill}")
            self.done.append(Done(kill.kind, round(struck_s, 1), job.in_cluster, kill.bars == 0, bars - before))
            before = bars
            is_last = number + 1 == len(kills)
            in_cluster = not is_last and kills[number + 1].in_cluster
            left = self._strike(job, kill, in_cluster=in_cluster)
            if left is None and is_last and not goes_on:
                return
            job = left or self._start(in_cluster)
        if goes_on:
            self._job, came_s = self._wait(job, Kill("", 1, 0.0, False), before)
            self.done[-1].recovery_s = None if came_s is None else round(came_s - struck_s, 2)

    def keep(self, goes_on: Callable[[], bool]) -> None:
        """Keep the job running after `do`, as long as that is so."""
        while self._job and goes_on():
            self._job = self._standing(self._job)
            time.sleep(1.0)

    def end(self) -> None:
        """Ask the job to end, and see to it that nothing of any is left."""
        for job in self._jobs:
            job.ask()
        for job in self._jobs:
            if job.wait(END_S) is None:
                self.failures.append(f"the job did not end within {END_S:g} s of SIGTERM and was killed")
        self._jobs.clear()
        self._job = None

    def run(self, *words: str, within_s: float) -> tuple[int | None, str]:
        """Run a job to its end: its exit code (None: it took too long) and what it has said."""
        job = self._submit(words, in_cluster=False)
        deadline_s = time.monotonic() + within_s
        while job.code is None and time.monotonic() < deadline_s:
            self._look()
            time.sleep(_LOOK_S)
        return job.wait(0.1), job.said()

    def _start(self, in_cluster: bool) -> Job:
        return self._submit(WORDS, in_cluster=in_cluster)

    def _submit(self, words: Sequence[str], *, in_cluster: bool) -> Job:
        job = Job(words, self.environment, self.folder / f"{Path(words[0]).stem}.log", in_cluster=in_cluster)
        self._jobs = [*(other for other in self._jobs if other.code is None), job]
        return job

    def _wait(self, job: Job, kill: Kill, before: int) -> tuple[Job, float | None]:
        """Wait for the moment of a kill; the job that is then there, and when the first new bar was."""
        deadline_s, came_s = self.now_s + WORK_S, None
        while kill.bars and (bars := self._growth.look() - before) < kill.bars:
            came_s = came_s or (self.now_s if bars else None)
            job = self._standing(job)
            if self.now_s > deadline_s:
                self.failures.append(
                    f"at {self.now_s:.0f} s: {bars} new bars within {WORK_S:g} s, less than {kill.bars}"
                )
                break
            time.sleep(_LOOK_S)
        else:
            came_s = came_s or (self.now_s if kill.bars else None)
        until_s = self.now_s + kill.delay_s
        while self.now_s < until_s:
            job = self._standing(job)
            time.sleep(min(_LOOK_S, kill.delay_s))
        return job, came_s

    def _standing(self, job: Job) -> Job:
        """The job, started again where it has ended by itself, which is a failure."""
        self._look()
        if job.code is None:
            return job
        lines = [line for line in job.said().splitlines() if line.strip()]
        telling = [line for line in lines if _TELLING.search(line)] or lines or [""]
        last = " ".join(telling[-2:])
        self.failures.append(f"at {self.now_s:.0f} s the job ended by itself with exit code {job.code}: {last[:500]}")
        self.say(f"{self.now_s:6.1f} s  {self.failures[-1]}")
        self.seen["falls"] += 1
        if self.seen["falls"] > _FALLS:
            raise ProgramError(f"the job has ended by itself {_FALLS} times; its log: {job.log}")
        return self._start(job.in_cluster)

    def _look(self) -> None:
        for program in self.must_live:
            if program.code is not None:
                raise ProgramError(f"the {program.name} ended with exit code {program.code}; its log: {program.log}")

    def _strike(self, job: Job, kill: Kill, *, in_cluster: bool) -> Job | None:
        """Do it; the job that is left, `in_cluster` where it is a new one. None: there is none, or none for long."""
        if kill.kind in GOES_ON:
            goes_on: dict[str, Callable[[Job], None]] = {
                "executor": self._kill_executor,
                "broker": self._kill_broker,
                "outage": partial(self._kill_broker, away_s=OUTAGE_S),
                "revive": self._revive,
            }
            goes_on[kill.kind](job)
            return job
        if kill.kind in ("takeover", "undead"):
            return self._take_over(job, in_cluster=in_cluster, leaves_jvm=kill.kind == "undead")
        if kill.kind == "all":
            job.kill()
            return None
        # A job that has hardly started has no driver yet.
        pid = self._until(job.jvm if kill.kind == "jvm" else job.python, f"the {kill.kind} is there", job)
        if pid is None:
            return self._standing(job)
        send(signal.SIGKILL, pid)
        if kill.kind == "jvm":
            self._must_end(job, 128 + signal.SIGKILL)
        return None  # the JVM of a driver that was killed still ends, which takes it a moment

    def _kill_executor(self, job: Job) -> None:
        if executors := self._until(job.executors, "an executor is there", job):
            send(signal.SIGKILL, executors[len(self.done) % len(executors)])

    def _kill_broker(self, _: Job, *, away_s: float = 0.0) -> None:
        if not self.broker.kill():
            self.failures.append("the broker was not there to be killed")
        time.sleep(away_s)
        self.broker.start()
        self.broker.wait_until(self.broker_is_ready, within_s=START_S)

    def _revive(self, job: Job) -> None:
        self._be_alone(job)
        pids = job.tree()[1:]
        with self._nothing_written(pids):
            code, said = self.run(*WORDS, within_s=END_S)
        if code != REFUSED or HELD not in said:
            self.failures.append(f"beside a stopped job, a second one ended with exit code {code}: {said[-500:]}")
        self.seen["refused"] += 1
        send(signal.SIGCONT, *pids)

    def _be_alone(self, job: Job) -> None:
        """Wait for jobs whose driver was killed before: none but this one is to write."""
        for other in self._jobs:
            if other is not job and other.wait(END_S) is None:
                self.failures.append(f"a job whose driver was killed did not end within {END_S:g} s")

    def _take_over(self, job: Job, *, in_cluster: bool, leaves_jvm: bool) -> Job | None:
        self._be_alone(job)
        pids, jvm, python = job.tree()[1:], job.jvm(), job.python()
        with self._nothing_written(pids):
            second = self._start(in_cluster)
            self._until(second.python, "the second driver is there", second)
            until_s = self.now_s + _SECOND_S
            while self.now_s < until_s and second.code is None:
                time.sleep(_LOOK_S)
        if not leaves_jvm or jvm is None or python is None:
            job.kill()
        else:
            send(signal.SIGKILL, python)
            before, until_s = self._growth.look(), self.now_s + END_S
            # Where the JVM holds the lock, the second one is refused, and there is nothing to wait for.
            while self._growth.look() == before and self.now_s < until_s and second.code is None:
                time.sleep(_LOOK_S)
            if self._growth.look() > before:
                self.failures.append("a second job wrote beside a JVM that was stopped: there were two writers")
            send(signal.SIGCONT, *(pid for pid in pids if pid != python))
            if job.wait(END_S) is None:
                self.failures.append(f"a JVM without its driver, stopped and let go on, did not end in {END_S:g} s")
        if second.code is None:
            return second
        if second.code != REFUSED or HELD not in second.said():
            self.failures.append(f"a second job ended with exit code {second.code}: {second.said()[-500:]}")
        self.seen["refused"] += 1
        return None

    def _nothing_written(self, pids: Sequence[int]) -> _Quiet:
        return _Quiet(self, pids)

    def _must_end(self, job: Job, code: int) -> None:
        ended = job.wait(END_S)
        if ended != code:
            self.failures.append(
                f"at {self.now_s:.0f} s a job that was killed ended with exit code {ended}, not {code}"
            )

    def _until(self, find: Callable[[], Any], what: str, job: Job) -> Any:
        """What is found; None where the job ends by itself before."""
        deadline_s = self.now_s + WORK_S
        while not (found := find()):
            self._look()
            if job.code is not None:
                return None
            if self.now_s > deadline_s:
                raise ProgramError(f"it was not so within {WORK_S:g} s that {what}; the log: {job.log}")
            time.sleep(_LOOK_S)
        return found


class _Quiet:
    """While the processes of a job are stopped, nothing may be written to its tables and checkpoints."""

    def __init__(self, supervisor: Supervisor, pids: Sequence[int]) -> None:
        self._supervisor, self._pids = supervisor, pids

    def __enter__(self) -> None:
        send(signal.SIGSTOP, *self._pids)
        time.sleep(_STOP_S)
        self._before = written(self._supervisor.tables, self._supervisor.checkpoints)

    def __exit__(self, *_: object) -> None:
        more = written(self._supervisor.tables, self._supervisor.checkpoints) - self._before
        if more:
            self._supervisor.failures.append(f"written while the writer was stopped: {sorted(map(str, more))[:10]}")
