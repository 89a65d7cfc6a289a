"""Bars as text, each printed once: the newest thousand are asked for again and again, and change by one a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from market.bar import Bar

MOST = 100_000
"""Texts of one form that are kept at most, twice: those that are asked for stay, the others go."""


class Texts:
    """The texts of one form.

    Only bars that are given out again as the same object are worth keeping (`Bars.is_kept`): a text is found by the
    bar's identity, which is cheaper than comparing seventeen fields, and the bar is kept with it, so that no other one
    can come to have it.
    """

    def __init__(self, printed: Callable[[Bar], bytes], most: int = MOST) -> None:
        self._printed = printed
        self._most = most
        self._young: dict[int, tuple[Bar, bytes]] = {}
        self._old: dict[int, tuple[Bar, bytes]] = {}

    def of(self, bars: Sequence[Bar], *, keep: bool) -> list[bytes]:
        """The text of each bar."""
        if not keep:
            return [self._printed(bar) for bar in bars]
        young = self._young
        texts = []
        for bar in bars:
            known = young.get(id(bar)) or self._kept(bar)
            texts.append(known[1])
        return texts

    def _kept(self, bar: Bar) -> tuple[Bar, bytes]:
        known = self._old.get(id(bar)) or (bar, self._printed(bar))
        if len(self._young) >= self._most:
            self._old = dict(self._young)
            self._young.clear()
        self._young[id(bar)] = known
        return known


def plain(number: Decimal) -> str:
    """A decimal as people write it: no exponent, no zeros at its end."""
    return shortened(f"{number:f}")


def shortened(text: str) -> str:
    """A decimal that is written without an exponent, without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text
