"""One run: everything starts, the schedule is done to it, the faults end, it heals, and the topic is judged."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.programs import START_S, ProgramError, asked
from chaos.scene import Judgement, Ports, Scene, judge, now_us, scene
from chaos.schedule import KINDS, UNFORCED, Event, plan
from simulator.release import LONGEST_US
from simulator.tape import SECOND_US

_LOOK_S = 0.1
_ATTEMPTS, _ATTEMPT_S = 90, 0.5
"""Faults that have not struck get 45 s more."""
_FALLS = 10
"""A producer that ends by itself is a failure, and started again so often at most."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a run goes. The same form and seed make the same schedule."""

    seed: int
    seconds: float = 60.0
    """From the producer's start until the faults end."""
    kills: int = 5
    restarts: int = 3
    rate: float = 2000.0
    """Trades per second, of all markets together, at least."""
    kinds: Sequence[str] = KINDS
    faults: int | None = None
    """How many; each kind once unless told."""
    hole_wait: str = "120s"
    """Longer than REST takes to fill what a start or a kill has left, at the pace that the exchanges allow: nothing may
    follow late, so that the order while trades wait is tested."""
    batch_size: int = 1
    spill_after: str = "2s"
    """Less than a restart of the broker takes: each one sends the producer to its disk."""
    resume_records: int = 200_000
    """More than a minute's: of a symbol that is not in what a start reads, the topic does not tell where it began."""
    heal_s: float = 150.0
    """What the topic may take to catch up when the faults have ended."""

    def events(self) -> list[Event]:
        """The schedule."""
        return plan(
            self.seed,
            seconds=self.seconds,
            kills=self.kills,
            restarts=self.restarts,
            kinds=self.kinds,
            faults=self.faults,
        )


@dataclass
class Result:
    """What a run showed."""

    seed: int
    failures: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def run(form: Form, folder: Path, say: Say) -> Result:
    """Do it, in a folder that then holds the logs. Raises `ProgramError` where it could not be done."""
    events = form.events()
    settings = {
        "HOLE_WAIT": form.hole_wait,
        "BATCH_SIZE": str(form.batch_size),
        "SPILL_AFTER": form.spill_after,
        "RESUME_RECORDS": str(form.resume_records),
    }
    with scene(
        folder, Ports.free(), seed=form.seed, rate=form.rate, seconds=form.seconds, settings=settings
    ) as running:
        say(f"seed {form.seed}: {running.rate:g} trades/s of 36 markets, {len(events)} events in {form.seconds:g} s")
        harm = _Harm(running, say)
        running.begin()
        harm.do(events, form.seconds)
        struck = harm.make_up(events)
        harm.end()
        settled_us = now_us()
        say(f"{harm.now_s:6.1f} s  the faults have ended; the topic has {form.heal_s:g} s to catch up")
        judgement = judge(running, settled_us, heal_s=form.heal_s)
        return _result(form, running, harm, struck, judgement, settled_us)


class _Harm:
    """Does the events, each at its time, and counts what was really done."""

    def __init__(self, running: Scene, say: Say) -> None:
        self.done: Counter[str] = Counter()
        self.failures: list[str] = []
        self._running = running
        self._say = say
        self._began_s = time.monotonic()

    @property
    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began_s

    def do(self, events: Sequence[Event], seconds: float) -> None:
        """All of them, and then what is left of the time."""
        self._began_s = time.monotonic()
        for event in events:
            self._wait(event.at_s)
            self._say(f"{event.at_s:6.1f} s  {event}")
            if event.action == "kill":
                self.done["kill"] += self._running.producer.kill()
                self._running.producer.start()
            elif event.action == "restart":
                self.done["restart"] += self._running.broker.kill()
                self._running.broker.start()
            else:
                asked(self._running.ports.simulator, "POST", "/faults", list(event.faults))
                self.done["fault"] += len(event.faults)
        self._wait(seconds)

    def make_up(self, events: Sequence[Event]) -> dict[str, int]:
        """Faults that found nobody there, as the producer was just cut off or dead, come again until they strike, for
        a while; how often each kind has struck."""
        port = self._running.ports.simulator
        by_kind = {event.faults[0]["kind"]: event for event in events if event.faults}
        struck: dict[str, int] = {}
        for _ in range(_ATTEMPTS):
            struck = asked(port, "GET", "/faults/struck")
            spared = by_kind.keys() - struck.keys() - set(UNFORCED)
            if not spared:
                break
            still_there = {fault["kind"] for fault in asked(port, "GET", "/faults")}
            for kind in sorted(spared - still_there):
                self._say(f"{self.now_s:6.1f} s  again: {by_kind[kind]}")
                # For as long as it takes, where it has ended without having met anybody.
                endless = [{key: fault[key] for key in fault if key != "for_s"} for fault in by_kind[kind].faults]
                asked(port, "POST", "/faults", endless)
            self._wait(self.now_s + _ATTEMPT_S)
        return struck

    def end(self) -> None:
        """End the faults, and see to it that the broker is up."""
        asked(self._running.ports.simulator, "DELETE", "/faults")
        self._running.broker.wait_until(self._running.broker_is_ready, within_s=START_S)

    def _wait(self, until_s: float) -> None:
        """Wait for a time of the run. A producer that has ended by itself is noted, and started again."""
        while (left_s := self._began_s + until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_S))
            for program in (self._running.broker, self._running.simulator):
                if program.code is not None:
                    raise ProgramError(
                        f"the {program.name} ended with exit code {program.code}; its log: {program.log}"
                    )
            producer = self._running.producer
            if producer.code is not None:
                self.done["fall"] += 1
                self.failures.append(f"the producer ended by itself with exit code {producer.code}")
                if self.done["fall"] > _FALLS:
                    raise ProgramError(f"the producer has ended by itself {_FALLS} times; its log: {producer.log}")
                producer.start()


def _result(
    form: Form, running: Scene, harm: _Harm, struck: dict[str, int], judgement: Judgement, settled_us: int
) -> Result:
    trades = judgement.trades
    ends = (running.truth.ids_before(running.began_us), running.truth.ids_before(settled_us - LONGEST_US))
    made = sum(ends[1].values()) - sum(ends[0].values())
    made_per_s = made / ((settled_us - LONGEST_US - running.began_us) / SECOND_US)
    failures = [*harm.failures, *judgement.failures]
    planned = form.events()
    for action in ("kill", "restart"):
        wanted = sum(event.action == action for event in planned)
        if harm.done[action] != wanted:
            failures.append(f"{harm.done[action]} of {wanted} {action}s were done")
    used = {fault["kind"] for event in planned for fault in event.faults}
    spared = sorted(used - {kind for kind, count in struck.items() if count} - set(UNFORCED))
    if spared:
        failures.append(f"faults that struck nothing: {', '.join(spared)}")
    if made_per_s < form.rate:
        failures.append(f"the markets made {made_per_s:.0f} trades/s, fewer than {form.rate:g}")
    figures = {
        "trades_verified": trades.trades,
        "markets": len(running.truth.tapes),
        "made_per_s": round(made_per_s),
        "records": trades.records,
        "heartbeats": trades.heartbeats,
        "duplicates": trades.duplicates,
        "missing": sum(last - first + 1 for _, first, last in trades.missing(judgement.told)),
        "told_open": sum(last - first + 1 for _, first, last in judgement.told),
        "order_violations": trades.disordered,
        "behind_heartbeats": trades.behind_heartbeats,
        "gap_records": judgement.gaps.records,
        "kills": harm.done["kill"],
        "broker_restarts": harm.done["restart"],
        "faults": harm.done["fault"],
        "struck": dict(sorted(struck.items())),
        "catch_up_s": None if judgement.catch_up_s is None else round(judgement.catch_up_s, 1),
        "exit_code": judgement.exit_code,
        "exit_s": round(judgement.exit_s, 1),
    }
    return Result(form.seed, failures, figures)
