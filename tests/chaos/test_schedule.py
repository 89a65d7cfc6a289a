"""A schedule is a pure function of its seed, and what it says can be done."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.schedule import FOREVER, KINDS, LEAD_S, REST_S, Event, plan
from simulator.faults import KINDS as ALL_KINDS
from simulator.faults import read_fault

SEEDS = st.integers(0, 2**31)


def times(events: list[Event], action: str) -> list[float]:
    """When something is done."""
    return [event.at_s for event in events if event.action == action]


def test_every_kind_of_the_simulator_has_its_part() -> None:
    """A kind that the simulator learns must be planned here, or be left out on purpose."""
    assert set(KINDS) == set(ALL_KINDS) - set(FOREVER)


@given(SEEDS)
def test_the_same_seed_gives_the_same_schedule(seed: int) -> None:
    """And another seed another one."""
    first = plan(seed, seconds=60, kills=5, restarts=3)
    assert first == plan(seed, seconds=60, kills=5, restarts=3)
    assert first != plan(seed + 1, seconds=60, kills=5, restarts=3)


@given(SEEDS, st.integers(0, 60), st.integers(0, 20), st.floats(10, 2000), st.none() | st.integers(0, 200))
def test_all_that_was_asked_for_is_in_it_and_in_time(
    seed: int, kills: int, restarts: int, seconds: float, faults: int | None
) -> None:
    """As many kills, restarts and faults as asked for, after the lead and before the end, in the order of time."""
    events = plan(seed, seconds=seconds, kills=kills, restarts=restarts, faults=faults)
    counts = tuple(len(times(events, action)) for action in ("kill", "restart", "fault"))
    assert counts == (kills, restarts, len(KINDS) if faults is None else faults)
    assert [event.at_s for event in events] == sorted(event.at_s for event in events)
    assert all(LEAD_S <= event.at_s <= seconds - REST_S for event in events)


@given(SEEDS)
def test_kills_and_restarts_are_spread_over_the_run(seed: int) -> None:
    """Each has its slot, so that none falls on its neighbour: with 3 in 55 s, at least 3.6 s apart."""
    events = plan(seed, seconds=60, kills=3, restarts=3)
    for action in ("kill", "restart"):
        first, second, third = times(events, action)
        assert min(second - first, third - second) > 0.2 * 55 / 3 - 0.02
        assert first - 0.01 < LEAD_S + 55 / 3 < second + 0.01  # times are told to a hundredth
        assert second - 0.01 < LEAD_S + 110 / 3 < third + 0.01


@given(SEEDS, st.integers(0, 100))
def test_each_kind_comes_as_often_as_every_other(seed: int, faults: int) -> None:
    """Their numbers differ by one at most."""
    events = plan(seed, seconds=100, kills=0, restarts=0, faults=faults)
    kinds = [event.faults[0]["kind"] for event in events]
    counts = [kinds.count(kind) for kind in KINDS]
    assert max(counts) - min(counts) <= 1


@given(SEEDS)
def test_the_simulator_accepts_every_fault(seed: int) -> None:
    """Fields and ranges are those of the simulator; what meets only new connections comes with a cut."""
    for event in plan(seed, seconds=100, kills=0, restarts=0):
        kinds = [read_fault(fault).kind for fault in event.faults]
        venues = {fault["venue"] for fault in event.faults}
        assert len(venues) == 1
        if kinds[0].startswith("rest_") or kinds[0] in ("refuse", "accept_then_drop"):
            assert kinds[1:] == ["cut"]
        else:
            assert kinds[1:] == []


def test_only_the_kinds_that_were_asked_for_are_planned() -> None:
    """A choice of kinds is a choice; none is none."""
    events = plan(1, seconds=30, kills=0, restarts=0, kinds=("late", "swap"), faults=5)
    assert {fault["kind"] for event in events for fault in event.faults} == {"late", "swap"}
    assert plan(1, seconds=30, kills=0, restarts=0, kinds=()) == []


def test_a_run_that_is_too_short_is_refused() -> None:
    """The message says how long it has to be."""
    with pytest.raises(ValueError, match=r"^5 s are too short for a run; it needs more than 5 s$"):
        plan(1, seconds=5, kills=0, restarts=0)


def test_events_say_what_they_are() -> None:
    """A line for the log: the action, or the faults with their fields."""
    assert str(Event(1.0, "kill")) == "SIGKILL of the producer, and a new one at once"
    assert str(Event(1.0, "restart")) == "SIGKILL of the broker, and a new start at once"
    faults = ({"kind": "refuse", "venue": "binance", "seed": 7, "count": 2}, {"kind": "cut", "venue": "binance"})
    assert str(Event(1.0, "fault", faults)) == "refuse venue=binance count=2; cut venue=binance"
