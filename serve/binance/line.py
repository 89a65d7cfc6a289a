"""The klines of one symbol and width, as Binance lists them: quiet intervals are there, at the close before.

An interval in which nobody traded has no bar, and nor has one whose trades are missing. Trade ids tell them apart:
where no id is missing between two bars, nobody traded between; else there is a gap, and as in the exchange's own halts
there are no rows. Which rows those are is decided here, whatever the bars are read from.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import islice

from market.bar import Bar
from serve.marks import quiet
from serve.running import Running, floored, follows

Read = Callable[[int | None, int, int], Awaitable[list[Bar]]]
"""The finished bars with trades by their start, as `serve.bars.Bars.read` gives them: (start_ms, end_ms, limit). Both
ends are included; without a start it is the last ones."""


class Line:
    """One symbol's intervals of one width, finished and running ones."""

    def __init__(self, read: Read, running: Running, width_ms: int, phase_ms: int = 0) -> None:
        """`running`: of this width and phase; intervals begin at multiples of the width plus the phase."""
        self._read, self._running = read, running
        self._width_ms, self._phase_ms = width_ms, phase_ms
        self.known_ms = running.until_ms
        """Every interval that ends until here is known whole; what is told of later ones may change."""
        self._newest_ms = self._start_of(running.until_ms - 1)
        """The last interval of which anything is known."""
        self._finished_ms = self._start_of(running.closed_ms) - width_ms
        """The last one that the table has whole."""

    async def first(self, start_ms: int, end_ms: int | None, limit: int) -> list[Bar]:
        """The first `limit` klines that begin at a time or later, and not after another."""
        width_ms = self._width_ms
        at, end = -self._start_of(-start_ms, -1), self._last_until(end_ms)
        rows: list[Bar] = []
        before: Bar | None = None
        is_before_known = False
        page_end = min(end, at + (limit - 1) * width_ms)
        while len(rows) < limit and at <= end:
            bars = await self._from(at, page_end, limit - len(rows))
            for bar in bars:
                if bar.timestamp > at:
                    if not is_before_known:
                        before = await self._before(at)
                    if before and follows(bar, before):
                        _fill(rows, before, range(at, bar.timestamp, width_ms), limit)
                rows.append(bar)
                before, is_before_known, at = bar, True, bar.timestamp + width_ms
            if len(rows) >= limit or at > page_end:
                page_end = end
                continue
            if not is_before_known:
                before, is_before_known = await self._before(at), True
            after = await self._after(page_end)
            if before and (after is None or follows(after, before)):
                _fill(rows, before, range(at, page_end + 1, width_ms), limit)
                at = page_end + width_ms
            elif after:
                at = after.timestamp  # a gap, or the first trade of all
            else:
                break
            page_end = end
        return rows[:limit]

    async def since(self, start_ms: int, limit: int) -> list[Bar]:
        """The klines of the last `limit` intervals, from a time on; of what was before it, one bar is read."""
        return await self.first(max(start_ms, self._newest_ms - (limit - 1) * self._width_ms), None, limit)

    async def last(self, end_ms: int | None, limit: int) -> list[Bar]:
        """The last `limit` klines that begin at a time or earlier, oldest first."""
        width_ms = self._width_ms
        at = self._last_until(end_ms)
        page_start: int | None = at - (limit - 1) * width_ms
        rows: list[Bar] = []  # newest first
        after: Bar | None = None
        is_after_known = False
        while len(rows) < limit and at >= 0:
            if page_start is None:
                bars = await self._until(at, limit - len(rows))
            else:
                page_start = max(page_start, -self._start_of(0, -1))
                bars = await self._from(page_start, at, limit - len(rows))
            for bar in reversed(bars):
                if bar.timestamp < at:
                    if not is_after_known:
                        after = await self._after(at)
                    if after is None or follows(after, bar):
                        _fill(rows, bar, range(at, bar.timestamp, -width_ms), limit)
                rows.append(bar)
                after, is_after_known, at = bar, True, bar.timestamp - width_ms
            if page_start is None:
                break  # there are no earlier ones
            if len(rows) < limit and at >= page_start:
                before = await self._before(page_start)
                if before is None:
                    break
                if not is_after_known:
                    after, is_after_known = await self._after(at), True
                if after is None or follows(after, before):
                    _fill(rows, before, range(at, page_start - 1, -width_ms), limit)
                    at = page_start - width_ms
                else:
                    at = before.timestamp  # a gap
            page_start = None
        return rows[:limit][::-1]

    def _start_of(self, time_ms: int, sign: int = 1) -> int:
        """The start of the interval of a time; with sign -1, of a time turned round, as ceilings are made."""
        return floored(time_ms, self._width_ms, sign * self._phase_ms)

    def _last_until(self, end_ms: int | None) -> int:
        return self._newest_ms if end_ms is None else min(self._start_of(end_ms), self._newest_ms)

    async def _before(self, start_ms: int) -> Bar | None:
        """The last interval with trades before one."""
        bars = await self._until(start_ms - self._width_ms, 1)
        return bars[0] if bars else None

    async def _after(self, start_ms: int) -> Bar | None:
        """The first interval with trades after one."""
        bars = await self._from(start_ms + self._width_ms, self._newest_ms, 1)
        return bars[0] if bars else None

    async def _from(self, start_ms: int, end_ms: int, limit: int) -> list[Bar]:
        """The first `limit` intervals with trades that begin in a time."""
        finished_ms = min(end_ms, self._finished_ms)
        bars = await self._read(start_ms, finished_ms, limit) if start_ms <= finished_ms else []
        return [*bars, *(bar for bar in self._running.bars if start_ms <= bar.timestamp <= end_ms)][:limit]

    async def _until(self, end_ms: int, limit: int) -> list[Bar]:
        """The last `limit` intervals with trades that begin at a time or earlier."""
        running = [bar for bar in self._running.bars if bar.timestamp <= end_ms][-limit:]
        finished_ms = min(end_ms, self._finished_ms)
        if len(running) == limit or finished_ms < 0:
            return running
        return [*await self._read(None, finished_ms, limit - len(running)), *running]


def _fill(rows: list[Bar], before: Bar, starts: range, limit: int) -> None:
    """Add quiet intervals, until there are `limit` rows."""
    rows += (quiet(start, before) for start in islice(starts, max(limit - len(rows), 0)))
