from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simulator.meters import BANNED, LONGEST_BAN_S, OK, TOO_MANY, TokenBucket, Verdict, WeightMeter

PAUSES_S = st.lists(st.floats(0, 2, allow_nan=False), max_size=200)


def test_weight_adds_up_within_a_minute_and_begins_anew() -> None:
    """Up to the limit everything is answered; what goes beyond it is told when the minute ends."""
    meter = WeightMeter(limit=50, minute_s=60, patience=2, ban_s=120)
    assert [meter.add(25, 0.0), meter.add(25, 10.0)] == [Verdict(OK, 25, 0), Verdict(OK, 50, 0)]
    assert meter.add(1, 10.5) == Verdict(TOO_MANY, 51, 50)
    assert meter.add(25, 60.0) == Verdict(OK, 25, 0)


def test_asking_on_after_a_429_ends_in_a_ban_and_each_ban_lasts_longer() -> None:
    """After so many refused requests 418 until the ban is over; the next one is twice as long, three days at most."""
    meter = WeightMeter(limit=10, minute_s=60, patience=2, ban_s=120)
    now_s, expected_s = 0.0, 120.0
    for _ in range(14):
        statuses = [meter.add(10, now_s).status for _ in range(3)]
        assert statuses == [OK, TOO_MANY, TOO_MANY]
        assert meter.add(10, now_s) == Verdict(BANNED, 40, int(expected_s))
        assert meter.add(10, now_s + expected_s - 0.5).retry_after_s == 1
        assert meter.add(1, now_s + expected_s - 0.25).status == BANNED
        now_s += expected_s + 60
        expected_s = min(2 * expected_s, LONGEST_BAN_S)
    assert expected_s == LONGEST_BAN_S


@given(weights=st.lists(st.integers(1, 40), max_size=200), pauses_s=PAUSES_S)
def test_no_minute_answers_more_than_the_limit(weights: list[int], pauses_s: list[float]) -> None:
    """Whatever is asked, and whenever: the answered requests of a minute weigh at most the limit."""
    meter = WeightMeter(limit=100, minute_s=10, patience=10**9, ban_s=1)
    now_s, begin_s, answered = 0.0, -10.0, 0
    for weight, pause_s in zip(weights, pauses_s, strict=False):
        now_s += pause_s
        if now_s >= begin_s + 10:
            begin_s, answered = now_s, 0
        if meter.add(weight, now_s).status == OK:
            answered += weight
        assert answered <= 100


@given(pauses_s=PAUSES_S)
def test_a_token_bucket_grants_its_rate_and_one_burst(pauses_s: list[float]) -> None:
    """In every span: at most the burst and what its seconds bring; and never none at all for long."""
    bucket = TokenBucket(2.0)
    now_s, granted_s = 100.0, [100.0]
    for pause_s in pauses_s:
        now_s += pause_s
        granted = bucket.take(now_s)
        assert granted or pause_s < 0.5
        granted_s += [now_s] * granted
    for first, begin_s in enumerate(granted_s[1:], 1):
        for last, end_s in enumerate(granted_s[first:], first):
            assert last - first + 1 <= 3 + 2 * (end_s - begin_s) + 1e-6
