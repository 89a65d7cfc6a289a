"""How many trades come per second, of all symbols and of each. Pure, with the clock as an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from market.trade import Trade

SPAN_S = 10
"""A rate is the mean over so many seconds that are over."""


class Rates:
    """Trades by the second in which they came. What comes once more, as a Redis that was emptied is filled, is none."""

    def __init__(self) -> None:
        self._counts: dict[int, Counter[tuple[str, str]]] = {}
        self._began_s: int | None = None
        self._newest_ms: dict[tuple[str, str], int] = {}
        self._before_ms: dict[tuple[str, str], int] = {}
        """The newest trade of each symbol when counting began."""

    def begin(self, now_ms: int) -> None:
        """Count from now on: of the time before nothing is known."""
        self._counts.clear()
        self._began_s = now_ms // 1_000 + 1
        self._before_ms = dict(self._newest_ms)

    def add(self, trades: Sequence[Trade], now_ms: int) -> None:
        """Trades that come now."""
        now_s = now_ms // 1_000
        counts = self._counts.setdefault(now_s, Counter())
        for trade in trades:
            key = trade.exchange, trade.symbol
            if trade.timestamp > self._before_ms.get(key, -1):
                counts[key] += 1
                self._newest_ms[key] = max(self._newest_ms.get(key, -1), trade.timestamp)
        for second in [second for second in self._counts if not now_s - SPAN_S <= second <= now_s]:
            del self._counts[second]

    def per_s(self, now_ms: int, key: tuple[str, str] | None = None) -> float | None:
        """The mean over the last seconds, of one symbol or of all; None where none was counted to its end."""
        now_s = now_ms // 1_000
        first_s = max(now_s - SPAN_S, self._began_s if self._began_s is not None else now_s)
        if first_s >= now_s:
            return None
        seconds = [counts for second, counts in self._counts.items() if first_s <= second < now_s]
        count = sum(counts.total() if key is None else counts[key] for counts in seconds)
        return count / (now_s - first_s)
