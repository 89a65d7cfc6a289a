"""The kills of the job are a function of the seed, and of every kind."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from chaos.job.command import LONG
from chaos.job.schedule import AT_START, GOES_ON, KINDS, WEIGHTS, plan


def test_the_same_seed_makes_the_same_kills() -> None:
    """Two plans of one seed are equal; another seed's is not."""
    assert plan(1, kills=20) == plan(1, kills=20)
    assert plan(1, kills=20) != plan(2, kills=20)


def test_every_kind_has_a_weight() -> None:
    """What can be drawn is what is described."""
    assert WEIGHTS.keys() == KINDS.keys()


@pytest.mark.parametrize("seed", range(20))
def test_the_long_form_has_every_kind_and_hits_starts_too(seed: int) -> None:
    """A hundred kills and more: all kinds, most of them of a job at work, some of one that starts."""
    kills = plan(seed, kills=LONG.kills)
    counts = Counter(kill.kind for kill in kills)
    assert len(kills) == LONG.kills >= 100
    assert counts.keys() == KINDS.keys()
    at_start = [kill for kill in kills if not kill.bars]
    assert 0 < len(at_start) < 0.3 * len(kills)
    assert {kill.kind for kill in at_start} <= set(AT_START)


@pytest.mark.parametrize("seed", range(20))
def test_executors_are_killed_where_there_are_some(seed: int) -> None:
    """A job has executors of its own if and only if one is killed before it ends; the job does not change midway."""
    kills = plan(seed, kills=60)
    jobs = [[kills[0]]]
    for before, kill in pairwise(kills):
        if before.kind in GOES_ON:
            jobs[-1].append(kill)
        else:
            jobs.append([kill])
    for job in jobs:
        assert {kill.in_cluster for kill in job} == {any(kill.kind == "executor" for kill in job)}
    assert all(kill.bars for job in jobs for kill in job[1:])


def test_some_kinds_alone() -> None:
    """Of the kinds that are asked for, each comes, and no other."""
    assert Counter(kill.kind for kill in plan(3, kills=3, kinds=("jvm", "broker", "executor"))) == {
        "jvm": 1,
        "broker": 1,
        "executor": 1,
    }
    assert {plan(seed, kills=1, kinds=("jvm", "broker"))[0].kind for seed in range(20)} == {"jvm", "broker"}
