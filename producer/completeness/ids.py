"""The trade ids that one symbol has brought already, as the ranges they form."""

from __future__ import annotations

from bisect import bisect_right

RANGES = 1_000
"""Ranges remembered at most: beyond, the lowest is forgotten, and its ids would be published again if they came again.
That is the safe side: readers drop what they know, but nobody brings back what was held for known and was not."""


class SeenIds:
    """A set of ids. Exchanges count trades without gaps, so that however many there are, they form few ranges."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def add(self, number: int) -> bool:
        """Remember an id; False when it was there."""
        firsts, lasts = self._firsts, self._lasts
        place = bisect_right(firsts, number)  # of the first range that begins above it
        if place and number <= lasts[place - 1]:
            return False
        follows = bool(place) and lasts[place - 1] == number - 1
        precedes = place < len(firsts) and firsts[place] == number + 1
        if follows and precedes:
            lasts[place - 1] = lasts[place]
            del firsts[place], lasts[place]
        elif follows:
            lasts[place - 1] = number
        elif precedes:
            firsts[place] = number
        else:
            firsts.insert(place, number)
            lasts.insert(place, number)
            if len(firsts) > RANGES:
                del firsts[0], lasts[0]
        return True

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number)
        return bool(place) and number <= self._lasts[place - 1]

    def ranges(self) -> list[tuple[int, int]]:
        """First and last id of each range, ascending: between them lie the ids that never came."""
        return list(zip(self._firsts, self._lasts, strict=True))
