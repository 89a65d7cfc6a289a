"""Trade ids as the ranges they form. Exchanges count trades without gaps: however many ids, the ranges are few."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

Range = tuple[int, int]
"""First and last id, both included."""


class Ids:
    """A set of ids, kept as ranges that are ascending and apart."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in ranges:
            self.include(first, last)

    def include(self, first: int, last: int) -> None:
        """Put in the ids first..last."""
        start = bisect_left(self._lasts, first - 1)  # the first range that ends next to `first`, in it or above it
        end = bisect_right(self._firsts, last + 1)  # the first range that begins apart from `last`
        if start < end:
            first, last = min(first, self._firsts[start]), max(last, self._lasts[end - 1])
        self._firsts[start:end], self._lasts[start:end] = [first], [last]

    def add(self, number: int) -> bool:
        """Put in an id; False where it was there."""
        if self._lasts and number == self._lasts[-1] + 1:  # by far the most frequent case
            self._lasts[-1] = number
            return True
        if number in self:
            return False
        self.include(number, number)
        return True

    def exclude(self, first: int, last: int) -> None:
        """Take out the ids first..last."""
        start, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        if start >= end:
            return
        lowest, highest = self._firsts[start], self._lasts[end - 1]
        left = [(lowest, first - 1)] if lowest < first else []
        right = [(last + 1, highest)] if highest > last else []
        self._firsts[start:end] = [kept[0] for kept in left + right]
        self._lasts[start:end] = [kept[1] for kept in left + right]

    def within(self, first: int, last: int) -> list[Range]:
        """The ranges of those ids that lie in first..last."""
        start, end = bisect_left(self._lasts, first), bisect_right(self._firsts, last)
        return [(max(self._firsts[at], first), min(self._lasts[at], last)) for at in range(start, end)]

    def without(self, others: Iterable[Range]) -> Ids:
        """These ids less others."""
        rest = Ids()
        rest._firsts, rest._lasts = self._firsts.copy(), self._lasts.copy()
        for first, last in others:
            rest.exclude(first, last)
        return rest

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number)
        return bool(place) and number <= self._lasts[place - 1]

    def __bool__(self) -> bool:
        return bool(self._firsts)

    @property
    def first(self) -> int:
        """The lowest of them. Raises `IndexError` where there is none."""
        return self._firsts[0]

    @property
    def last(self) -> int:
        """The highest of them. Raises `IndexError` where there is none."""
        return self._lasts[-1]

    @property
    def pieces(self) -> int:
        """How many ranges they form."""
        return len(self._firsts)

    def around(self, number: int) -> Range:
        """The range that an id of these is in. Raises `KeyError` for another one."""
        if number not in self:
            raise KeyError(number)
        place = bisect_right(self._firsts, number) - 1
        return self._firsts[place], self._lasts[place]

    def ranges(self) -> list[Range]:
        """First and last id of each range, ascending."""
        return list(zip(self._firsts, self._lasts, strict=True))
