"""The trades of one symbol that the table does not have yet, as open seconds and minutes. Pure.

A bar that runs is exact or absent: it is told only where the record of trades reaches back, without a hole, to what the
table has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from market.bar import WIDTH_MS, Bar
from market.ids import Ids
from market.trade import Trade
from market.widths import MINUTE_MS, start_of
from serve.live.minute import OpenMinute


class OpenTrades:
    """The newest trades of one symbol. `add` is told every trade from the first one on."""

    def __init__(self, closed_ms: int) -> None:
        """`closed_ms`: seconds that end until here are not kept."""
        self._closed_ms = closed_ms
        self._minutes: dict[int, OpenMinute] = {}
        self._from: tuple[int, int] | None = None
        """An id and a time: what the record has from there on is without a hole."""
        self._last: Trade | None = None
        """The newest trade, by time and id."""
        self._newest_closed_id = -1
        """Of the trades whose second is closed: the table is to have it."""
        self.has_older = False
        """Whether a trade has come that the record lacked before its first: read anew, it may reach back further."""
        self.version = 0
        """Grows with what is known."""
        self.size = 0
        """Open seconds that are kept; one whose ids have holes counts once more for each."""

    def begin(self, trades: Sequence[Trade]) -> None:
        """The record begins within these trades, which were told before those that `add` has had; `add` gets them next.

        Of them, what counts begins where ids follow one another up to the newest: a trade that came late, behind a
        hole, does not tell that the hole is none.
        """
        if not trades:
            return
        ids = Ids()
        for trade in trades:
            ids.add(trade.trade_id)
        newest = max(trades, key=_order)
        first_id, _ = ids.around(newest.trade_id)
        self._from = first_id, next(trade.timestamp for trade in trades if trade.trade_id == first_id) + 1
        self._last = newest if self._last is None else max(newest, self._last, key=_order)

    def add(self, trades: Iterable[Trade]) -> None:
        """Take further trades. What is known already counts once: the first that came with an id is the trade."""
        for trade in trades:
            if self._from is None:
                self._from = trade.trade_id, trade.timestamp + 1
            elif trade.trade_id == self._from[0] - 1:
                self.has_older = True
            elif trade.trade_id < self._from[0] and self._last and trade.timestamp > self._last.timestamp:
                self._from = trade.trade_id, trade.timestamp + 1  # numbers begin anew
            if self._last is None or _order(trade) > _order(self._last):
                self._last = trade
            start_ms = start_of(trade.timestamp, WIDTH_MS)
            if start_ms < self._closed_ms:
                self._newest_closed_id = max(self._newest_closed_id, trade.trade_id)
                continue
            minute = self._minute(start_ms)
            before = minute.size
            if minute.add(trade, start_ms):
                self.size += minute.size - before
                self.version += 1

    def close(self, closed_ms: int) -> None:
        """Forget the seconds that the table has now."""
        self._closed_ms = max(self._closed_ms, closed_ms)
        self._newest_closed_id = max(self._newest_closed_id, self._drop(self._closed_ms))

    def forget(self) -> None:
        """Forget the oldest minute that is open. The record then begins behind it, and has to wait for the table."""
        end_ms = min(self._minutes) + MINUTE_MS
        last_id = self._drop(end_ms)
        if self._from is not None:
            self._from = max(self._from[0], last_id + 1), max(self._from[1], end_ms)
        self.has_older = False  # reading it anew would bring them back, only to be forgotten

    def reaches(self, newest: Bar | None) -> bool:
        """Whether no trade is missing between the newest bar of the table and the newest one here."""
        if newest is None or self._from is None or self._last is None:
            return False
        return self._from[0] - 1 <= newest.last_trade_id <= self._last.trade_id

    def is_ahead_of(self, newest: Bar) -> bool:
        """Whether a trade came too late for its second, is newer than the newest bar, and waits to be amended."""
        return self._newest_closed_id > newest.last_trade_id

    @property
    def known_from_ms(self) -> int | None:
        """Every trade from this time on is known; None where none is."""
        return None if self._from is None else self._from[1]

    @property
    def end_ms(self) -> int:
        """The end of the newest second that is open; 0 where none is."""
        return self._minutes[max(self._minutes)].seconds()[-1].timestamp + WIDTH_MS if self._minutes else 0

    def bars(self, width_ms: int = WIDTH_MS) -> list[Bar]:
        """What is open, oldest first, as bars that those of a width can be made of: seconds, or else minutes."""
        minutes = [self._minutes[start] for start in sorted(self._minutes)]
        if width_ms < MINUTE_MS:
            return [bar for minute in minutes for bar in minute.seconds()]
        return [minute.bar() for minute in minutes]

    def _minute(self, time_ms: int) -> OpenMinute:
        start_ms = start_of(time_ms, MINUTE_MS)
        return self._minutes.get(start_ms) or self._minutes.setdefault(start_ms, OpenMinute())

    def _drop(self, until_ms: int) -> int:
        """Take out the seconds that begin before a time: the highest id of theirs, -1 where there is none."""
        last_id = -1
        for start_ms in [start_ms for start_ms in self._minutes if start_ms < until_ms]:
            minute = self._minutes[start_ms]
            self.size -= minute.size
            last_id = max(last_id, minute.close(until_ms))
            self.size += minute.size
            if not minute:
                del self._minutes[start_ms]
        self.version += last_id >= 0
        return last_id


def _order(trade: Trade) -> tuple[int, int]:
    return trade.timestamp, trade.trade_id
