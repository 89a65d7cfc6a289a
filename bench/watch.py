"""The table of bars, watched commit by commit and held to a load that is known."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from bars.follow import DeltaFollower
from bench.load import Load
from market.bar import Bar, bars_of

_VALUES = [field.name for field in fields(Bar) if field.name not in ("timestamp", "revision")]

Key = tuple[str, str, int]
"""Exchange, symbol and start of the second, ms."""


class Table:
    """`bars_1s` as it grows."""

    def __init__(self, path: Path, load: Load) -> None:
        self._path, self._load = path, load
        self._follower = DeltaFollower(path)
        self._bars: dict[Key, dict[int, dict[str, Any]]] = {}
        self._doubled = 0
        self._ages_s: deque[float] = deque(maxlen=20)
        self._newest_ms = 0
        self._second = lru_cache(maxsize=50)(self._bars_of_second)

    @property
    def count(self) -> int:
        """How many seconds, each of a symbol, have a bar."""
        return len(self._bars)

    @property
    def amended(self) -> int:
        """How many of them have a further revision."""
        return sum(1 for revisions in self._bars.values() if len(revisions) > 1)

    def poll(self) -> int:
        """Takes over what was committed since the last call; how many right bars there are in it."""
        rows, right = self._follower.rows(), 0
        for row in rows:
            time_ms = int(row["timestamp"].timestamp() * 1000)
            key = row["exchange"], row["symbol"], time_ms
            revisions = self._bars.setdefault(key, {})
            self._doubled += row["revision"] in revisions
            revisions[row["revision"]] = row
            right += _equal(row, self._second(time_ms).get(key))
            self._newest_ms = max(self._newest_ms, time_ms)
        if rows:
            self._ages_s.append(self.newest_age_s())
        return right

    def newest_age_s(self) -> float:
        """How long ago the newest bar's second began."""
        return time.time() - self._newest_ms / 1000

    def steady_s(self) -> float:
        """The age that is usual right after a commit, and a trigger more."""
        return statistics.median(self._ages_s) + 1.0

    def differing(self, expected: Iterable[Bar]) -> int:
        """How many bars are missing, doubled, different, or there and should not be."""
        bars = {(bar.exchange, bar.symbol, bar.timestamp): bar for bar in expected}
        current = {key: revisions[max(revisions)] for key, revisions in self._bars.items()}
        wrong = sum(1 for key, row in current.items() if not _equal(row, bars.get(key)))
        return self._doubled + wrong + len(bars.keys() - current.keys())

    def _bars_of_second(self, time_ms: int) -> dict[Key, Bar]:
        rate, first_ms = self._load.rate, time_ms - self._load.start_ms
        numbers = range(first_ms // 1000 * rate, (first_ms // 1000 + 1) * rate)
        bars = bars_of(self._load.trade(number) for number in numbers)
        return {(bar.exchange, bar.symbol, bar.timestamp): bar for bar in bars}


def _equal(row: dict[str, Any], bar: Bar | None) -> bool:
    """Whether a row is this bar, whatever its revision."""
    return bar is not None and all(row[name] == getattr(bar, name) for name in _VALUES)
