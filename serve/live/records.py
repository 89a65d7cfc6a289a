"""The open trades of each symbol that somebody has asked for: read from Redis once, then kept by what is heard."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import aclosing

from market.bar import Bar
from market.trade import Trade
from serve.live.trades import OpenTrades
from serve.prices import Prices, PricesAway

log = logging.getLogger(__name__)

OPEN_SECONDS = 50_000
"""Kept of all symbols together, at most, while the table has not got them: hours of a few markets, minutes of many."""
_ANEW_S = 5.0
"""After so long, at the earliest, a record is read anew that may then reach back further."""
_RETRY_S = 1.0
"""After so long, Redis is asked again for a record that it did not give."""
_AT_ONCE = 1_000
"""Trades that are added before others have their turn."""

Key = tuple[str, str]
"""An exchange and a symbol."""


class _Record:
    """The open trades of one symbol, and whether they were read."""

    def __init__(self, closed_ms: int) -> None:
        self.trades = OpenTrades(closed_ms)
        self.lock = asyncio.Lock()
        self.is_read = False
        self._tried_s: float | None = None

    def tried(self) -> None:
        """Redis is asked for it now."""
        self._tried_s = time.monotonic()

    def has_waited(self, wait_s: float) -> bool:
        """Whether Redis was not asked for so long."""
        return self._tried_s is None or time.monotonic() - self._tried_s > wait_s


class Records:
    """What is open, by symbol."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._records: dict[Key, _Record] = {}
        self._closed_ms = 0
        self.size = 0
        """Open seconds in memory, of all symbols together."""
        self.forgotten = 0
        """Of them, those that were too many, ever."""
        self._is_forgetting = False

    async def of(self, key: Key, newest: Bar | None) -> OpenTrades | None:
        """The open trades of a symbol; None where they cannot be known now. `newest`: its newest bar in the table."""
        record = self._records.get(key)
        if record is None or _may_reach_further(record, newest):
            self.size -= record.trades.size if record else 0
            record = self._records[key] = _Record(self._closed_ms)  # what comes from now on is added to it
        if not record.is_read:
            async with record.lock:
                if not record.is_read and record.has_waited(_RETRY_S):
                    await self._read(key, record, newest)
        return record.trades if record.is_read and self.has(key, record.trades) else None

    def has(self, key: Key, trades: OpenTrades) -> bool:
        """Whether these are still the open trades of a symbol: they are not, once something may be missing."""
        record = self._records.get(key)
        return record is not None and record.trades is trades

    def add(self, trades: Sequence[Trade]) -> None:
        """New trades, of any symbols."""
        groups: dict[Key, list[Trade]] = {}
        for trade in trades:
            groups.setdefault((trade.exchange, trade.symbol), []).append(trade)
        for key, group in groups.items():
            if key in self._records:
                self._add(self._records[key].trades, group)

    def close(self, closed_ms: int) -> None:
        """The table has every second that ends until here."""
        self._closed_ms = closed_ms
        for record in self._records.values():
            record.trades.close(closed_ms)
        self.size = sum(record.trades.size for record in self._records.values())
        self._is_forgetting = False

    def clear(self, closed_ms: int | None = None) -> None:
        """Something may be missing, or the table is another one: what is asked for is read anew."""
        self._closed_ms = self._closed_ms if closed_ms is None else closed_ms
        self._records.clear()
        self.size = 0

    async def _read(self, key: Key, record: _Record, newest: Bar | None) -> None:
        record.tried()
        try:
            trades = await self._told(key, newest)
        except PricesAway as error:
            log.warning("what runs of %s:%s cannot be told: %s", *key, error)
            return
        record.trades.begin(trades)
        for at in range(0, len(trades), _AT_ONCE):
            if not self.has(key, record.trades):
                return
            self._add(record.trades, trades[at : at + _AT_ONCE])
            await asyncio.sleep(0)
        record.is_read = True

    async def _told(self, key: Key, newest: Bar | None) -> list[Trade]:
        """The last trades of a symbol, as they came: back to what the table has, or else all that Redis holds."""
        found: list[Trade] = []
        new: set[int] = set()
        async with aclosing(self._prices.newest_first(*key)) as pages:
            async for page in pages:
                found += page
                if newest is not None:
                    new.update(trade.trade_id for trade in page if trade.trade_id > newest.last_trade_id)
                    if len(new) == max(new, default=newest.last_trade_id) - newest.last_trade_id:
                        break  # all numbers are there, from the one that follows the table on
        return found[::-1]

    def _add(self, trades: OpenTrades, new: Sequence[Trade]) -> None:
        before = trades.size
        trades.add(new)
        self.size += trades.size - before
        while self.size > OPEN_SECONDS:
            self._forget()

    def _forget(self) -> None:
        """Some of what most is kept of: it is not told as what runs until the table has it."""
        largest = max((record.trades for record in self._records.values()), key=lambda trades: trades.size)
        before = largest.size
        largest.forget()
        self.size -= before - largest.size
        self.forgotten += before - largest.size
        if not self._is_forgetting:
            self._is_forgetting = True
            log.warning(
                "more than %d seconds wait for the table of bars, which stands still: the oldest of them are forgotten,"
                " and of their symbols it is not told what runs until the table has come so far",
                OPEN_SECONDS,
            )


def _may_reach_further(record: _Record, newest: Bar | None) -> bool:
    trades = record.trades
    is_broken = record.is_read and newest is not None and not trades.reaches(newest)
    return is_broken and trades.has_older and record.has_waited(_ANEW_S)
