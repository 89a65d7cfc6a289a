"""When a trade is told: the event time, a little or a stall later than the trade, and never out of order.

In recorded Binance streams the event time follows the trade time by 1 ms in the middle and by 204 ms at the 99th of a
hundred, and some trades are told in the second after the one they were made in. Here too the delay is the stream's:
mostly trades leave within 2 ms, and now and then everything waits for the end of a stall. As the delay depends on the
time alone, what has been told at a time is a pure function of that time, and is never a matter of who listened.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.tape import SECOND_US, Ints, Tape, Trades

LONGEST_US = 217_000
"""No trade is told later than this after it was made."""

_GRID_US = 2_000
_WINDOW_US = 500_000
"""Windows of one second, each from half a second on, hold a stall of 180 to 215 ms, which may cross the full second."""


class Told(NamedTuple):
    """Trades, and when each was told, in microseconds since the epoch; never decreasing."""

    trades: Trades
    events_us: Ints


def event_times(times_us: Ints) -> Ints:
    """When trades of these times are told, in microseconds: later times never earlier."""
    windows = (times_us - _WINDOW_US) // SECOND_US
    bits = windows * 2_654_435_761 % 2**32
    begin_us = windows * SECOND_US + _WINDOW_US + (bits >> 8) % 750_000
    end_us = begin_us + 180_000 + (bits >> 4) % 35_000
    prompt_us = times_us + -times_us % _GRID_US
    return np.where((times_us >= begin_us) & (times_us < end_us), np.maximum(prompt_us, end_us), prompt_us)


class Ticker:
    """One market's trades as time goes on. Keeps a piece of the tape, so that asking often is cheap."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._start_us = self._end_us = 0
        self._piece = self._read(0, 0)

    def told(self, after_us: int, until_us: int) -> Told:
        """The trades told at after < time ≤ until."""
        self._cover(after_us, until_us)
        first, last = np.searchsorted(self._piece.events_us, (after_us, until_us), side="right")
        return Told(self._piece.trades.part(int(first), int(last)), self._piece.events_us[first:last])

    def last_told(self, until_us: int) -> Trades:
        """The last trade told by then; none before the first."""
        self._cover(until_us, until_us)
        position = int(np.searchsorted(self._piece.events_us, until_us, side="right"))
        if position:
            return self._piece.trades.part(position - 1, position)
        count = self.tape.count_before(self._start_us)
        return self.tape.numbered(count - 1, count)

    def _cover(self, after_us: int, until_us: int) -> None:
        earliest_us = after_us - LONGEST_US
        if not self._start_us <= earliest_us or not until_us < self._end_us:
            start_us = earliest_us - earliest_us % SECOND_US
            self._piece = self._read(start_us, until_us - until_us % SECOND_US + 2 * SECOND_US)

    def _read(self, start_us: int, end_us: int) -> Told:
        trades = self.tape.between(start_us, end_us)
        self._start_us, self._end_us = start_us, end_us
        return Told(trades, event_times(trades.times_us))
