"""A minute whose seconds the table does not have all yet. Pure."""

from __future__ import annotations

from market.bar import Bar, rolled_up
from market.trade import Trade
from market.widths import MINUTE_MS
from serve.live.second import OpenSecond


class OpenMinute:
    """The open seconds of one exchange, symbol and minute: one bar is made of them once, until they change."""

    __slots__ = ("_bar", "_seconds", "size")

    def __init__(self) -> None:
        self._seconds: dict[int, OpenSecond] = {}
        self._bar: Bar | None = None
        self.size = 0
        """What its seconds take of memory, together."""

    def __bool__(self) -> bool:
        return bool(self._seconds)

    def add(self, trade: Trade, start_ms: int) -> bool:
        """Whether a trade of the second that begins then is new."""
        second = self._seconds.get(start_ms) or self._seconds.setdefault(start_ms, OpenSecond(start_ms))
        before = second.size
        if not second.add(trade):
            return False
        self.size += second.size - before
        self._bar = None
        return True

    def close(self, until_ms: int) -> int:
        """Forget the seconds that begin before a time: the highest id of theirs, -1 where there is none."""
        closed = [self._seconds.pop(start) for start in list(self._seconds) if start < until_ms]
        if closed:
            self.size -= sum(second.size for second in closed)
            self._bar = None
        return max((second.last_id for second in closed), default=-1)

    def seconds(self) -> list[Bar]:
        """The bars of its seconds, oldest first."""
        return [self._seconds[start].bar() for start in sorted(self._seconds)]

    def bar(self) -> Bar:
        """All of it, as one bar of a minute."""
        if self._bar is None:
            (self._bar,) = rolled_up(self.seconds(), MINUTE_MS)
        return self._bar
