"""Edges: the gap records that mark where the record of a symbol begins, for as long as that matters."""

from __future__ import annotations

from collections.abc import Callable

from market.gap import EDGE
from producer.completeness.sequence import Hole, Sequences

UNSETTLED = f"{EDGE}: what went before is still to be asked for"
SETTLED = f"{EDGE}: nothing is missing before it"


class Edges:
    """The edges of one exchange's records."""

    def __init__(
        self, sequences: Sequences, tell: Callable[[Hole, str, str], None], cause_of: Callable[[Hole], str]
    ) -> None:
        """`tell`, `cause_of`: see `Backfill`."""
        self._sequences = sequences
        self._tell = tell
        self._cause_of = cause_of
        self._forgone: dict[str, str] = {}  # of symbols whose first trade has not come yet, why

    def forgo(self, symbol: str, cause: str) -> None:
        """What went before a symbol's first trade cannot be had."""
        self._sequences.forgo(symbol)
        self._forgone[symbol] = cause

    def settle(self, symbol: str, first: int) -> None:
        """It is known with which id the record begins: a gap record that tells that it is not is replaced."""
        edge = self._sequences.edge(symbol)
        if edge is not None:
            holes = self._sequences.report(symbol, first, edge)
            for hole in holes:
                self._tell(hole, "open", self._cause_of(hole))
            if not (holes and holes[-1].last == edge):
                status, cause = ("filled", "back-filled") if first <= edge else ("lost", SETTLED)
                self._tell(Hole(symbol, edge, edge), status, cause)
        if self._sequences.past_unknown:
            self._mark(symbol, first, self._sequences.past_unknown)

    def tell_news(self, now_s: float) -> None:
        """Mark what has got its first trade."""
        for hole in self._sequences.edges(now_s):
            self._tell(hole, "open", UNSETTLED)
        for symbol, cause in list(self._forgone.items()):
            first = self._sequences.start(symbol)
            if first is not None:
                del self._forgone[symbol]
                self._mark(symbol, first, cause)

    def _mark(self, symbol: str, first: int, cause: str) -> None:
        if first > 0:
            self._tell(Hole(symbol, first - 1, first - 1), "lost", cause)
