"""Who is killed and when: pure, so that a failing run can be repeated from its seed.

The moments are counted in the job's own steps and not in seconds of the wall clock, so that each kill hits a job that
has done something since the last one, however slow the machine is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

KINDS = {
    "jvm": "SIGKILL of the driver's JVM",
    "driver": "SIGKILL of the Python driver alone",
    "all": "SIGKILL of every process of the job at once",
    "executor": "SIGKILL of an executor",
    "broker": "SIGKILL of the broker, and a new start at once",
    "outage": "SIGKILL of the broker, and a new start 15 s later",
    "takeover": "SIGSTOP of the job, a second one is started beside it, SIGKILL of the first",
    "undead": "SIGSTOP of the JVM, SIGKILL of its Python driver, a second one is refused, SIGCONT of the JVM",
    "revive": "SIGSTOP of the job, a second one is started beside it and refused, SIGCONT of the first",
}
"""What is done, and what it is called."""

WEIGHTS = {
    "jvm": 22,
    "driver": 20,
    "all": 10,
    "executor": 24,
    "broker": 16,
    "outage": 2,
    "takeover": 4,
    "undead": 4,
    "revive": 2,
}
"""How often each kind comes in a hundred kills: the more time it takes, the more seldom."""

GOES_ON = ("executor", "broker", "outage", "revive")
"""Kinds after which the same job goes on."""
AT_START = ("jvm", "driver", "all", "broker")
"""Kinds that may also hit a job that is just starting."""
OUTAGE_S = 15.0
START_SHARE = 0.15
_MOST_BARS, _MOST_DELAY_S, _MOST_START_S = 60, 1.5, 9.0
_TOGETHER = 3
"""Executors killed one after another: only for those an own kind of cluster is started."""


class Kill(NamedTuple):
    """One kill."""

    kind: str
    bars: int
    """So many new bars are waited for; 0: the job is hit while it starts."""
    delay_s: float
    """Then, or after the start, so much longer."""
    in_cluster: bool
    """Whether the job that is hit, and so the one since the last start, has executors of their own."""

    def __str__(self) -> str:
        moment = f"{self.bars} bars and {self.delay_s:g} s" if self.bars else f"{self.delay_s:g} s of its start"
        return f"{KINDS[self.kind]}, after {moment}"


def plan(seed: int, *, kills: int, kinds: Sequence[str] = tuple(KINDS)) -> list[Kill]:
    """The kills in their order: each kind at least once where there are enough, and then by their weights."""
    draw = random.Random(f"{seed}/{kills}/{'/'.join(kinds)}")
    shares = [WEIGHTS[kind] for kind in kinds]
    drawn = draw.sample(list(kinds), min(kills, len(kinds)))
    drawn += draw.choices(list(kinds), shares, k=kills - len(drawn))
    blocks: list[list[str]] = [[kind] for kind in drawn if kind != "executor"]
    executors = drawn.count("executor")
    blocks += [["executor"] * min(_TOGETHER, executors - done) for done in range(0, executors, _TOGETHER)]
    draw.shuffle(blocks)
    order = [kind for block in blocks for kind in block]
    clusters = _clusters(order)
    planned = []
    for kind, before, in_cluster in zip(order, [None, *order], clusters, strict=False):
        fresh = before is None or before not in GOES_ON
        if kind in AT_START and fresh and before is not None and draw.random() < START_SHARE:
            planned.append(Kill(kind, 0, round(draw.uniform(0.3, _MOST_START_S), 2), in_cluster))
        else:
            bars = draw.randint(1, _MOST_BARS)
            planned.append(Kill(kind, bars, round(draw.uniform(0, _MOST_DELAY_S), 2), in_cluster))
    return planned


def _clusters(order: Sequence[str]) -> list[bool]:
    """Of each kill, whether an executor is killed between the start before it and the start after it."""
    ends = [number + 1 for number, kind in enumerate(order) if kind not in GOES_ON]
    marks = [False] * len(order)
    for first, end in pairwise(sorted({0, *ends, len(order)})):
        marks[first:end] = ["executor" in order[first:end]] * (end - first)
    return marks
