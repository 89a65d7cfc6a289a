"""Times and intervals of bars that run on behind the table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from market.bar import WIDTH_MS, Bar
from market.widths import HOUR_MS, MINUTE_MS, start_of
from serve.marks import missing_between


class Running(NamedTuple):
    """How a symbol's bars of one width go on behind what the table has."""

    bars: Sequence[Bar]
    """The intervals with trades that do not end by `closed_ms`, oldest first."""
    closed_ms: int
    """Every interval that ends until here is finished: the table has it, or nobody traded in it."""
    until_ms: int
    """Nothing is told from here on. Where it is not known what runs, the last finished interval ends here."""


class Span(NamedTuple):
    """A time of whole intervals of one width: start ≤ time < end."""

    width_ms: int
    start_ms: int
    end_ms: int

    @property
    def intervals(self) -> int:
        """How many there are in it."""
        return (self.end_ms - self.start_ms) // self.width_ms


def floored(time_ms: int, width_ms: int, phase_ms: int = 0) -> int:
    """The start of the interval in which a time lies. Intervals begin a phase after those of UTC."""
    return start_of(time_ms - phase_ms, width_ms) + phase_ms


def spans(start_ms: int, end_ms: int) -> Iterator[Span]:
    """A time, from one full second to another, in as few intervals as seconds, minutes and hours allow."""
    if start_ms >= end_ms:
        return
    for width_ms in (HOUR_MS, MINUTE_MS, WIDTH_MS):
        first, last = -floored(-start_ms, width_ms), floored(end_ms, width_ms)
        if first < last:
            yield from spans(start_ms, first)
            yield Span(width_ms, first, last)
            yield from spans(last, end_ms)
            return
    raise ValueError(f"{start_ms} to {end_ms} ms is not made of full seconds")


def follows(after: Bar, before: Bar) -> bool:
    """Whether no trade is missing between two bars."""
    return not missing_between(before, after)
