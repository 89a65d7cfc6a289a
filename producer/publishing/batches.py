"""Trades of one exchange and symbol, gathered into records; pure, with the time as an argument."""

from __future__ import annotations

from typing import NamedTuple

from market.trade import Trade


class _Batch(NamedTuple):
    opened_s: float
    trades: list[Trade]


class Batches:
    """The open batches. One leaves when it holds `size` trades, or `linger_s` after its first one came."""

    def __init__(self, size: int, linger_s: float) -> None:
        self._size = size
        self._linger_s = linger_s
        self._open: dict[tuple[str, str], _Batch] = {}  # in the order in which they were opened

    def add(self, trade: Trade, now_s: float) -> list[Trade] | None:
        """Take a trade in; the batch that it fills, if it fills one."""
        key = trade.exchange, trade.symbol
        batch = self._open.setdefault(key, _Batch(now_s, []))
        batch.trades.append(trade)
        if len(batch.trades) < self._size:
            return None
        return self._open.pop(key).trades

    def due(self, now_s: float) -> list[list[Trade]]:
        """Take out the batches that have waited long enough."""
        keys = [key for key, batch in self._open.items() if batch.opened_s + self._linger_s <= now_s]
        return [self._open.pop(key).trades for key in keys]

    def drain(self) -> list[list[Trade]]:
        """Take out all batches."""
        batches = [batch.trades for batch in self._open.values()]
        self._open.clear()
        return batches

    def next_due_s(self) -> float | None:
        """When the oldest batch will be due."""
        oldest = next(iter(self._open.values()), None)
        return None if oldest is None else oldest.opened_s + self._linger_s

    def __len__(self) -> int:
        """Trades that wait."""
        return sum(len(batch.trades) for batch in self._open.values())
