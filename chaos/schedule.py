"""What is done to whom and when: pure, so that a failing run can be repeated from its seed.

Kills and broker restarts have a slot of equal length each and come at a drawn moment in it, so that they are spread
over the run and still fall into every phase of what they interrupt. Faults come one after another, every kind as often
as every other, in drawn order and with drawn fields (`simulator/faults.py` says what they mean).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from simulator.faults import KINDS as ALL_KINDS

LEAD_S = 4.0
"""The producer starts in peace: from its first trades on there is something to lose."""
REST_S = 1.0
"""Nothing new so shortly before the end."""

Fault = dict[str, Any]
Draw = random.Random

FOREVER = ("prune", "rest_451")
"""Kinds after which trades cannot be had any more, or a producer rightly ends: no part of these runs."""

_FIELDS: dict[str, Callable[[Draw], Fault]] = {
    "cut": lambda draw: draw.choice([{}, {"frame": draw.randint(1, 400)}]),
    "silence": lambda draw: {},
    "server_shutdown": lambda draw: {"delay_s": _round(draw, 0.2, 2)},
    "short_life": lambda draw: {"life_s": _round(draw, 0.5, 2), "for_s": _round(draw, 3, 5)},
    "slow_reader": lambda draw: {"bytes": draw.choice([0, 4096]), "for_s": _round(draw, 3, 5)},
    "refuse": lambda draw: (
        {"count": draw.randint(1, 2)}
        | draw.choice([{"status": 503}, {"status": 500}, *({"status": code, "retry_after": 1} for code in (429, 418))])
    ),
    "accept_then_drop": lambda draw: {"count": draw.randint(1, 3)},
    "drop_ids": lambda draw: {"count": draw.randint(1, 60)},
    "duplicate_ids": lambda draw: {"count": draw.randint(1, 60)},
    "swap": lambda draw: {"count": draw.randint(1, 60)},
    "late": lambda draw: {"count": draw.randint(1, 30), "delay_s": _round(draw, 0.2, 3)},
    "malformed": lambda draw: {"count": draw.randint(1, 20)},
    "truncated": lambda draw: {"count": draw.randint(1, 20)},
    "wrong_unit": lambda draw: {"count": draw.randint(1, 20)},
    "number": lambda draw: {"count": draw.randint(1, 20)},
    "unknown_event": lambda draw: {"count": draw.randint(1, 20)},
    "oversized": lambda draw: {},
    "silent_symbol": lambda draw: {"for_s": _round(draw, 3, 5)},
    "clock_offset": lambda draw: {"ms": draw.choice([-1, 1]) * draw.randint(200, 4000), "for_s": _round(draw, 3, 5)},
    "zero_last_trade_id": lambda draw: {"for_s": _round(draw, 3, 5)},
    "rest_429": lambda draw: {"retry_after": 1, "for_s": 1.0},
    "rest_418": lambda draw: {"retry_after": 2, "for_s": 1.0},
    "rest_5xx": lambda draw: {"count": draw.randint(1, 5), "status": draw.choice([500, 502, 503])},
    "rest_slow": lambda draw: {"delay_s": _round(draw, 0.3, 1.5), "for_s": _round(draw, 3, 5)},
}
KINDS = tuple(_FIELDS)
"""What a run does to the simulated exchanges, unless told otherwise."""

UNFORCED = ("slow_reader", "rest_429", "rest_418", "rest_slow")
"""Kinds that strike only who does something at that very time: that they did is not demanded of a run."""

_NEED_A_CUT = ("refuse", "accept_then_drop", "rest_429", "rest_418", "rest_5xx", "rest_slow")
"""Kinds that meet only who connects or asks for trades that it missed."""


class Event(NamedTuple):
    """Something that is done."""

    at_s: float
    """After the start of the producer."""
    action: str
    """`fault`, `kill` (of the producer) or `restart` (of the broker, hard)."""
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        if self.action == "kill":
            return "SIGKILL of the producer, and a new one at once"
        if self.action == "restart":
            return "SIGKILL of the broker, and a new start at once"
        return "; ".join(
            " ".join(
                str(part) if name == "kind" else f"{name}={part}" for name, part in fault.items() if name != "seed"
            )
            for fault in self.faults
        )


def plan(
    seed: int,
    *,
    seconds: float,
    kills: int,
    restarts: int,
    kinds: Sequence[str] = KINDS,
    faults: int | None = None,
) -> list[Event]:
    """The events of a run in the order of their times. `faults`: how many; each kind once unless told."""
    draw = Draw(f"{seed}/{seconds}/{kills}/{restarts}/{'/'.join(kinds)}/{faults}")
    end_s = seconds - REST_S
    if end_s <= LEAD_S:
        raise ValueError(f"{seconds:g} s are too short for a run; it needs more than {LEAD_S + REST_S:g} s")
    count = len(kinds) if faults is None else faults
    order: list[str] = []
    while kinds and len(order) < count:
        turn = draw.sample(kinds, len(kinds))
        # A half-open connection is noticed late, and swallows what else is meant for it: it does not come last.
        order += sorted(turn, key=lambda kind: kind != "silence")
    events = [Event(at_s, "kill") for at_s in _slots(draw, kills, end_s)]
    events += [Event(at_s, "restart") for at_s in _slots(draw, restarts, end_s)]
    times = _slots(draw, count if kinds else 0, end_s)
    events += [Event(at_s, "fault", _faults(draw, kind)) for at_s, kind in zip(times, order, strict=False)]
    return sorted(events, key=lambda event: event.at_s)


def _slots(draw: Draw, count: int, end_s: float) -> list[float]:
    """A moment in each of so many equal parts of the time, the last fifth of each left out."""
    length_s = (end_s - LEAD_S) / count if count else 0.0
    return [round(LEAD_S + (number + 0.8 * draw.random()) * length_s, 2) for number in range(count)]


def _faults(draw: Draw, kind: str) -> tuple[Fault, ...]:
    venues = ALL_KINDS[kind].venues
    venue = draw.choice(venues) if len(venues) > 1 else venues[0]
    fault = {"kind": kind, "venue": venue, "seed": draw.randrange(2**31)} | _FIELDS[kind](draw)
    return (fault, {"kind": "cut", "venue": venue}) if kind in _NEED_A_CUT else (fault,)


def _round(draw: Draw, low: float, high: float) -> float:
    return round(draw.uniform(low, high), 2)
