"""Ranges of ids that are missing or gone, in ascending lists."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import attrgetter

PASSED = float("-inf")
"""The deadline of a hole that nothing waits for any more."""

by_first, by_last, by_deadline = attrgetter("first"), attrgetter("last"), attrgetter("deadline_s")


@dataclass(slots=True)
class Span:
    """A range of ids that are missing or gone."""

    first: int
    last: int
    found_s: float = PASSED
    deadline_s: float = PASSED
    reported: bool = False
    """Whether a gap record tells of it: `open` of a hole, `lost` of gone ids."""
    after_ms: int | None = None
    """Time of the last known trade before it."""
    before_ms: int | None = None
    """Time of the first known trade after it."""

    def part(self, first: int, last: int) -> Span:
        """A part of it, alike in everything else."""
        return Span(first, last, self.found_s, self.deadline_s, self.reported, self.after_ms, self.before_ms)


def cut(spans: list[Span], first: int, last: int, time_ms: int | None = None) -> list[Span]:
    """Take the ids first..last out of ascending spans, and return what was there; `time_ms` is the time between."""
    start, end = bisect_left(spans, first, key=by_last), bisect_right(spans, last, key=by_first)
    removed, kept = [], []
    for span in spans[start:end]:
        removed.append(span.part(max(span.first, first), min(span.last, last)))
        if span.first < first:
            kept.append(span.part(span.first, first - 1))
            kept[-1].before_ms = span.before_ms if time_ms is None else time_ms
        if span.last > last:
            kept.append(span.part(last + 1, span.last))
            kept[-1].after_ms = span.after_ms if time_ms is None else time_ms
    spans[start:end] = kept
    return removed


def join_lowest(gone: list[Span], holes: list[Span]) -> None:
    """Make one of the two lowest ascending spans that have no hole between them."""
    for at in range(len(gone) - 1):
        lower, higher = gone[at : at + 2]
        if bisect_right(holes, higher.first, key=by_first) == bisect_right(holes, lower.last, key=by_first):
            gone[at : at + 2] = [Span(lower.first, higher.last, reported=lower.reported and higher.reported)]
            return
