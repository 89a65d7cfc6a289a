"""Endless random faults of sockets: a pure function of a seed, so that a failing run can be repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from simulator.faults import KINDS, SOCKET_KINDS, Fault, FaultError, read_fault

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 4.0
"""Between the beginnings of two faults."""


def chaos(seed: int, kinds: Sequence[str] | None = None) -> Iterator[Fault]:
    """The faults of a seed, in the order of their times, without end: of some kinds of sockets, or of all."""
    random = Random(seed)
    at_s = 0.0
    while True:
        at_s += random.uniform(SHORTEST_PAUSE_S, LONGEST_PAUSE_S)
        kind = random.choice(kinds or SOCKET_KINDS)
        venue = random.choice(KINDS[kind].venues)
        spec = {"kind": kind, "venue": venue, "at_s": round(at_s, 3), "seed": random.getrandbits(32)}
        yield read_fault(spec | _OWN[kind](random), f"chaos {seed}")


def kinds_of(text: str) -> tuple[str, ...]:
    """The kinds of a list with commas. Raises `FaultError`."""
    kinds = tuple(name.strip() for name in text.split(","))
    for kind in kinds:
        if kind not in SOCKET_KINDS:
            raise FaultError(f'"{kind}" is no kind of chaos; allowed: {", ".join(SOCKET_KINDS)}')
    return kinds


Own = Callable[[Random], dict[str, Any]]


def _span(longest_s: float) -> Own:
    """A lasting one, so long at most."""
    return lambda random: {"for_s": round(random.uniform(0.2, longest_s), 3)}


def _frames(random: Random) -> dict[str, Any]:
    """A few frames in a row, or some of many."""
    if random.random() < 0.5:
        return {"count": random.randint(1, 20)}
    return {"for_s": round(random.uniform(0.5, 4.0), 3), "probability": round(random.uniform(0.002, 0.1), 4)}


def _late(random: Random) -> dict[str, Any]:
    return _frames(random) | {"delay_s": round(random.uniform(0.05, 3.0), 3)}


def _cut(random: Random) -> dict[str, Any]:
    return {"frame": random.randint(1, 2000), "for_s": 10.0} if random.random() < 0.5 else {}


def _refuse(random: Random) -> dict[str, Any]:
    status = random.choice((500, 502, 503, 504, 429))
    own = {"status": status, "for_s": round(random.uniform(0.2, 3.0), 3)}
    return own | {"retry_after": random.randint(1, 3)} if status == 429 else own


_OWN: dict[str, Own] = {
    "cut": _cut,
    "silence": lambda random: {},
    "server_shutdown": lambda random: {"delay_s": round(random.uniform(0.0, 3.0), 3)},
    "short_life": lambda random: {"life_s": round(random.uniform(0.5, 3.0), 3), "for_s": 6.0},
    "slow_reader": lambda random: {"bytes": random.choice((2**16, 2**18, 2**20)), "for_s": 10.0},
    "refuse": _refuse,
    "accept_then_drop": lambda random: {"for_s": round(random.uniform(0.2, 3.0), 3)},
    "drop_ids": lambda random: {"count": random.randint(1, 50), "for_s": 20.0},
    "duplicate_ids": _frames,
    "swap": _frames,
    "late": _late,
    "malformed": _frames,
    "truncated": _frames,
    "wrong_unit": _frames,
    "number": _frames,
    "unknown_event": _frames,
    "oversized": lambda random: {"for_s": 10.0, "count": 1},
    "silent_symbol": _span(8.0),
    "clock_offset": lambda random: {"ms": random.choice((-60_000, -900, 900, 60_000)), "for_s": 5.0},
    "zero_last_trade_id": _span(8.0),
}
