"""What runs: the seconds that the table does not have yet, made of the trades that Redis has. Pure.

A bar that runs is exact or absent: it is told only where the record of trades reaches back, without a hole, to what the
table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from market.bar import WIDTH_MS, Bar
from market.trade import Trade
from market.widths import HOUR_MS, MINUTE_MS, start_of
from serve.marks import missing_between
from serve.second import OpenSecond

OPEN_TRADES = 200_000
"""Kept of one symbol, at most, while the table has not got them: minutes of the busiest market."""


class Running(NamedTuple):
    """How a symbol's bars of one width go on behind what the table has."""

    bars: Sequence[Bar]
    """The intervals with trades that do not end by `closed_ms`, oldest first."""
    closed_ms: int
    """Every interval that ends until here is finished: the table has it, or nobody traded in it."""
    until_ms: int
    """Nothing is told from here on. Where it is not known what runs, the last finished interval ends here."""


class Span(NamedTuple):
    """A time of whole intervals of one width: start ≤ time < end."""

    width_ms: int
    start_ms: int
    end_ms: int

    @property
    def intervals(self) -> int:
        """How many there are in it."""
        return (self.end_ms - self.start_ms) // self.width_ms


def floored(time_ms: int, width_ms: int, phase_ms: int = 0) -> int:
    """The start of the interval in which a time lies. Intervals begin a phase after those of UTC."""
    return start_of(time_ms - phase_ms, width_ms) + phase_ms


def spans(start_ms: int, end_ms: int) -> Iterator[Span]:
    """A time, from one full second to another, in as few intervals as seconds, minutes and hours allow."""
    if start_ms >= end_ms:
        return
    for width_ms in (HOUR_MS, MINUTE_MS, WIDTH_MS):
        first, last = -floored(-start_ms, width_ms), floored(end_ms, width_ms)
        if first < last:
            yield from spans(start_ms, first)
            yield Span(width_ms, first, last)
            yield from spans(last, end_ms)
            return
    raise ValueError(f"{start_ms} to {end_ms} ms is not made of full seconds")


def follows(after: Bar, before: Bar) -> bool:
    """Whether no trade is missing between two bars."""
    return not missing_between(before, after)


class OpenTrades:
    """The newest trades of one symbol, in seconds. `add` is told every trade from the first one on."""

    def __init__(self, closed_ms: int, limit: int = OPEN_TRADES) -> None:
        """`closed_ms`: seconds that end until here are not kept."""
        self._closed_ms, self._limit = closed_ms, limit
        self._seconds: dict[int, OpenSecond] = {}
        self._count = 0
        self._first: Trade | None = None
        """Where the record without a hole begins; it may have been forgotten since."""
        self._last: Trade | None = None
        """The newest trade, by time and id."""
        self._newest_closed_id = -1
        """Of the trades whose second is closed: the table is to have it."""
        self.version = 0
        """Grows with what is known."""

    def begin(self, trades: Iterable[Trade]) -> None:
        """Take what was told before the trades that `add` has had: the end of the record.

        Of that, what counts begins where ids follow one another up to the newest: a trade that came late, behind a
        hole, does not tell that the hole is none.
        """
        ordered = sorted(trades, key=_order)
        for newer, older in pairwise(reversed(ordered)):
            if older.trade_id + 1 != newer.trade_id:
                self._first = newer
                break
        else:
            self._first = ordered[0] if ordered else self._first
        self.add(ordered)

    def add(self, trades: Iterable[Trade]) -> None:
        """Take further trades. What is known already counts once: the first that came with an id is the trade."""
        for trade in trades:
            if self._first is None:
                self._first = trade
            if self._last is None or _order(trade) > _order(self._last):
                self._last = trade
            start = floored(trade.timestamp, WIDTH_MS)
            if start >= self._closed_ms:
                second = self._seconds.get(start) or self._seconds.setdefault(start, OpenSecond(start))
                if second.add(trade):
                    self._count += 1
                    self.version += 1
            else:
                self._newest_closed_id = max(self._newest_closed_id, trade.trade_id)
        while self._count > self._limit:
            self._forget(min(self._seconds))
            self._first = self._seconds[min(self._seconds)].first if self._seconds else None

    def close(self, closed_ms: int) -> None:
        """Forget the seconds that the table has now."""
        self._closed_ms = max(self._closed_ms, closed_ms)
        for start in [start for start in self._seconds if start < self._closed_ms]:
            self._newest_closed_id = max(self._newest_closed_id, self._seconds[start].bar().last_trade_id)
            self._forget(start)

    def reaches(self, newest: Bar | None) -> bool:
        """Whether no trade is missing between the newest bar of the table and the newest one here."""
        if newest is None or self._first is None or self._last is None:
            return False
        return self._first.trade_id - 1 <= newest.last_trade_id <= self._last.trade_id

    def is_ahead_of(self, newest: Bar) -> bool:
        """Whether a trade came too late for its second, is newer than the newest bar, and waits to be amended."""
        return self._newest_closed_id > newest.last_trade_id

    @property
    def known_from_ms(self) -> int | None:
        """Every trade from this time on is known; None where none is."""
        return None if self._first is None else self._first.timestamp + 1

    def seconds(self) -> list[Bar]:
        """The bars of the seconds that are open, oldest first."""
        return [self._seconds[start].bar() for start in sorted(self._seconds)]

    def _forget(self, start_ms: int) -> None:
        self._count -= len(self._seconds.pop(start_ms))
        self.version += 1


def _order(trade: Trade) -> tuple[int, int]:
    return trade.timestamp, trade.trade_id
