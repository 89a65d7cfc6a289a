"""The token bucket of request weight, against an exchange that counts by the minute, and alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.feeds.budget import Budget

BINANCE_LIMIT, OURS = 6000, 4800


def sent_at(budget: Budget, weights: list[int], gaps_s: list[float], used: int | None = None) -> list[float]:
    """When each of some requests goes out, if each comes so long after the one before it, and is answered at once."""
    now_s, times = 0.0, []
    for weight, gap_s in zip(weights, gaps_s, strict=True):
        now_s += gap_s
        while wait_s := budget.wait_s(weight, now_s):
            now_s += wait_s
        budget.spend(weight, now_s)
        budget.answered(weight, used, now_s)
        times.append(now_s)
    return times


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0, 5)), max_size=60),
    st.sampled_from([60, 480, 4800]),
    st.booleans(),
)
def test_no_span_of_time_holds_more_than_its_share(
    requests: list[tuple[int, float]], per_minute: int, counted: bool
) -> None:
    """What is sent within any span is at most the span's worth, the reserve, and one request that exceeds that."""
    weights, gaps_s = [weight for weight, _ in requests], [gap_s for _, gap_s in requests]
    times = sent_at(Budget(per_minute, 0.0), weights, gaps_s, used=0 if counted else None)
    reserve = per_minute / 4 if counted else per_minute / 60
    for first in range(len(times)):
        for last in range(first, len(times)):
            allowed = (times[last] - times[first]) * per_minute / 60 + max(reserve, weights[last]) + weights[0]
            assert sum(weights[first : last + 1]) <= allowed + 1e-3


@given(st.lists(st.integers(1, 60), min_size=1, max_size=60))
def test_what_is_asked_for_is_had_in_time(weights: list[int]) -> None:
    """Nobody waits longer than the budget makes it: the last request goes out when the budget is earned."""
    times = sent_at(Budget(480, 0.0), weights, [0.0] * len(weights))
    assert times[-1] <= max(sum(weights) - 8, 0) / 8 + 1e-3


def test_an_exchange_that_counts_by_the_second_gets_no_burst() -> None:
    """Of 480 a minute, which is 8 a second, 8 go out at once and then one each eighth of a second."""
    times = sent_at(Budget(480, 0.0), [1] * 12, [0.0] * 12)
    assert times[:8] == [0.0] * 8
    assert times[8:] == pytest.approx([0.125, 0.25, 0.375, 0.5], abs=1e-3)


def test_an_exchange_that_counts_by_the_minute_may_be_asked_in_a_burst() -> None:
    """As soon as Binance has told its count, a quarter of the minute's worth goes out at once: 48 pages of history."""
    budget = Budget(OURS, 0.0)
    sent_at(budget, [25], [0.0], used=25)
    times = sent_at(budget, [25] * 60, [60.0] + [0.0] * 59, used=25)
    assert times.count(60.0) == 48


@pytest.mark.parametrize("others_per_s", [0, 10, 17, 40, 80, 200])
def test_beside_others_on_the_same_address_we_take_what_is_left(others_per_s: int) -> None:
    """Once 4800 of the minute's 6000 are used up, by whomever, ours is at most one request in ten seconds."""
    budget = Budget(OURS, 0.0)
    now_s, ours, minute, sent, beyond = 0.0, 0, 0, 0, [0] * 6
    while now_s < 300:
        while wait_s := budget.wait_s(25, now_s):
            now_s += wait_s
        if int(now_s // 60) != minute:
            minute, ours = int(now_s // 60), 0
        ours += 25
        sent += 25
        used = ours + int(others_per_s * (now_s % 60))
        beyond[minute] += used > OURS + 25
        if others_per_s <= 17:
            assert used <= BINANCE_LIMIT  # no 429, for nobody
        budget.spend(25, now_s)
        budget.answered(25, used, now_s)
    assert max(beyond) <= 6
    assert sent >= (OURS - others_per_s * 60) * 5 * 0.9


def test_where_others_have_used_up_the_minute_we_wait() -> None:
    """Ten seconds later one request looks whether the next minute has begun."""
    budget = Budget(OURS, 0.0)
    budget.spend(25, 0.0)
    budget.answered(25, 10**9, 0.0)
    assert budget.wait_s(25, 0.0) == pytest.approx(10 + 25 / 80)
    assert budget.wait_s(25, 10.5) == 0
    assert budget.used == 10**9


def test_requests_under_way_count_as_used() -> None:
    """An answer does not tell of what was sent after it: that is kept back from what is left."""
    budget = Budget(OURS, 0.0)
    sent_at(budget, [1], [0.0], used=1)
    for _ in range(4):
        budget.spend(25, 60.0)
    budget.answered(25, OURS - 100, 60.0)  # 100 are left, 75 are under way
    assert budget.wait_s(25, 60.0) == 0
    assert budget.wait_s(26, 60.0) == pytest.approx(1 / 80)
