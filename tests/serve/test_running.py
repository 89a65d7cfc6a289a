"""Times as intervals: whole ones, of any width."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.bar import bars_of, rolled_up
from serve.running import Span, floored, spans
from tests.serve.binance.made import START_MS, trade

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_a_time_is_made_of_few_intervals_without_a_hole(first_s: int, second_s: int) -> None:
    """Of hours in the middle, of minutes around them, of seconds at the ends: five pieces at most."""
    start_ms, end_ms = (START_MS + 1_000 * second for second in sorted((first_s, second_s)))
    found = list(spans(start_ms, end_ms))
    assert len(found) <= 5
    assert sum(span.end_ms - span.start_ms for span in found) == end_ms - start_ms
    assert all(before.end_ms == after.start_ms for before, after in pairwise(found))
    assert all(span.start_ms % span.width_ms == span.end_ms % span.width_ms == 0 for span in found)
    assert sum(span.intervals for span in found if span.width_ms < HOUR_MS) <= 2 * (59 + 59)


def test_an_hour_and_a_bit() -> None:
    """The pieces, told."""
    start_ms = START_MS + HOUR_MS - 61_000
    assert list(spans(start_ms, START_MS + 2 * HOUR_MS + 1_000)) == [
        Span(SECOND_MS, start_ms, start_ms + 1_000),
        Span(MINUTE_MS, start_ms + 1_000, START_MS + HOUR_MS),
        Span(HOUR_MS, START_MS + HOUR_MS, START_MS + 2 * HOUR_MS),
        Span(SECOND_MS, START_MS + 2 * HOUR_MS, START_MS + 2 * HOUR_MS + 1_000),
    ]
    with pytest.raises(ValueError, match="is not made of full seconds"):
        list(spans(START_MS, START_MS + 1_500))


@given(st.integers(-(10**6), 10**6), st.sampled_from([1_000, 60_000]), st.integers(0, 59_999))
def test_intervals_begin_at_multiples_of_their_width_and_a_phase(time_ms: int, width_ms: int, phase_ms: int) -> None:
    """The start is at the time or before it, by less than a width; rolling up agrees."""
    start_ms = floored(time_ms, width_ms, phase_ms)
    assert 0 <= time_ms - start_ms < width_ms
    assert (start_ms - phase_ms) % width_ms == 0
    (rolled,) = rolled_up(bars_of([trade(1, START_MS)]), width_ms, phase_ms)
    assert rolled.timestamp == floored(START_MS, width_ms, phase_ms)
