"""The widths that are served."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.klines import width_of
from market.widths import DAY_MS, WIDTHS, next_start, start_of


@pytest.mark.parametrize(("name", "width_ms"), WIDTHS.items())
def test_a_width_is_what_its_name_says(name: str, width_ms: int) -> None:
    """The names are read as those of the exchanges' klines are; whole seconds, and whole intervals in a day."""
    assert width_of(name) == width_ms
    assert width_ms % 1_000 == 0
    assert DAY_MS % width_ms == 0


@given(st.integers(0, 4 * 10**12), st.sampled_from(list(WIDTHS.values())))
def test_a_time_lies_in_its_interval(time_ms: int, width_ms: int) -> None:
    """It is at or after its start and before the next one; a start is its own."""
    start = start_of(time_ms, width_ms)
    assert start <= time_ms < start + width_ms
    assert start % width_ms == 0
    assert next_start(time_ms, width_ms) == (start if time_ms == start else start + width_ms)
