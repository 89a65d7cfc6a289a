"""Trades of one exchange and symbol, gathered into records; the clock comes from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from market.trade import Trade


class _Batch(NamedTuple):
    opened_s: float
    trades: list[Trade]


class Batches:
    """The open batches. One leaves when it holds `size` trades, or `linger_s` after its first one came."""

    def __init__(self, size: int, linger_s: float, now_s: Callable[[], float]) -> None:
        self.waiting = 0
        """Trades that wait."""
        self._size = size
        self._linger_s = linger_s
        self._now_s = now_s
        self._open: dict[tuple[str, ...], _Batch] = {}  # in the order in which they were opened

    def add(self, trade: Trade) -> list[Trade] | None:
        """Take a trade in; the batch that it fills, if it fills one."""
        key = trade[:2]  # exchange and symbol
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Batch(self._now_s(), [])
        trades = batch.trades
        trades.append(trade)
        self.waiting += 1
        if len(trades) < self._size:
            return None
        del self._open[key]
        self.waiting -= len(trades)
        return trades

    def due(self) -> list[list[Trade]]:
        """Take out the batches that have waited long enough."""
        now_s = self._now_s()
        return self._taken([key for key, batch in self._open.items() if batch.opened_s + self._linger_s <= now_s])

    def drain(self) -> list[list[Trade]]:
        """Take out all batches."""
        return self._taken(list(self._open))

    def next_due_s(self) -> float | None:
        """When the oldest batch will be due."""
        oldest = next(iter(self._open.values()), None)
        return None if oldest is None else oldest.opened_s + self._linger_s

    def _taken(self, keys: list[tuple[str, ...]]) -> list[list[Trade]]:
        batches = [self._open.pop(key).trades for key in keys]
        self.waiting -= sum(map(len, batches))
        return batches
