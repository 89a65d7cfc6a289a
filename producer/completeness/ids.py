"""The trade ids that have come, remembered in bounded memory."""

from __future__ import annotations

from market.ids import Ids

RANGES = 1_000
"""Ranges remembered at most: beyond, the lowest is forgotten, and its ids would be published again if they came again.
That is the safe side: readers drop what they know, but nobody brings back what was held for known and was not."""


class SeenIds(Ids):
    """The ids that one symbol has brought already: at most `RANGES` ranges, of which the lowest are forgotten first."""

    def add(self, number: int) -> bool:
        """Remember an id; False when it was there."""
        is_new = super().add(number)
        if self.pieces > RANGES:
            del self._firsts[0], self._lasts[0]
        return is_new
