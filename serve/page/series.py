"""The bars of one symbol and width, as one page is told them: what runs, what has become final, what was amended.

A page reads the past by itself, from `/bars`. From then on it is told every change once: it keeps the position of what
it was told last, and when it comes back with that, it is told what it has missed, or to read everything anew.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from market.bar import Bar
from serve.bars import Bars
from serve.live.live import Live
from serve.page.journal import Journal, Key
from serve.running import floored

CATCH_UP = 1_000
"""Final bars that are told at once, at most; of more, the page reads all anew."""
AMENDED = 100
"""And amended ones."""

POSITION = r"[0-9a-f]{8}([.][0-9]{1,15}){3}"
_is_position = re.compile(POSITION).fullmatch


class Position(NamedTuple):
    """Up to where a page was told."""

    boot: str
    epoch: int
    sequence: int
    """Amendments up to this one."""
    final_ms: int
    """Final bars that begin before this."""

    def __str__(self) -> str:
        return f"{self.boot}.{self.epoch}.{self.sequence}.{self.final_ms}"


class News(NamedTuple):
    """What has changed."""

    final: list[Bar]
    running: list[Bar]
    """Provisional ones, which change until they are final."""
    end_ms: int
    """Every interval that begins before this is final: told, read from `/bars`, or without a trade."""
    runs: bool
    """Whether it is known what runs behind that."""
    begins: bool
    """Whether the page had no position: it has to read the past after this, not before."""
    reread: str
    """Why everything has to be read anew; empty where it need not."""
    position: Position


def read_position(text: str | None) -> Position | None:
    """The position that a page has kept; None where it is none."""
    if text is None or not _is_position(text):
        return None
    boot, *numbers = text.split(".")
    return Position(boot, *map(int, numbers))


class Series:
    """What one page is told."""

    def __init__(
        self, bars: Bars, live: Live, journal: Journal, key: Key, width_ms: int, position: Position | None = None
    ) -> None:
        """Without a position, the page has nothing yet, and reads the past by itself."""
        self._bars, self._live, self._journal = bars, live, journal
        self._key, self._width_ms = key, width_ms
        self._position = position
        self._told: tuple[int, bool] | None = None
        self._running: dict[int, Bar] = {}

    async def news(self) -> News | None:
        """What has changed since it was asked last; None where nothing has. Raises `BarsAway`."""
        running = await self._live.running(*self._key, self._width_ms)
        end_ms = floored(running.closed_ms, self._width_ms)
        journal, before = self._journal, self._position
        # Taken before the bars are read: what is amended meanwhile is told the next time.
        now = Position(journal.boot, journal.epoch, journal.sequence, end_ms)
        final: list[Bar] = []
        reread = ""
        if before is not None:
            amended = self._amended(before)
            if amended is None:
                reread = "what has changed meanwhile is not known any more, or the table is another one"
            elif len(amended) > AMENDED or end_ms - before.final_ms > CATCH_UP * self._width_ms:
                reread = "much has changed"
            else:
                now = now._replace(final_ms=max(end_ms, before.final_ms))
                final = [bar for start_ms in amended for bar in await self._read(start_ms, start_ms + self._width_ms)]
                final += await self._read(before.final_ms, end_ms)
        provisional = [bar for bar in running.bars if reread or self._running.get(bar.timestamp) != bar]
        runs = bool(running.bars) or running.until_ms > end_ms
        if not (final or provisional or reread) and self._told == (now.final_ms, runs):
            self._position = now
            return None
        self._position, self._told = now, (now.final_ms, runs)
        self._running = {bar.timestamp: bar for bar in running.bars}
        return News(final, provisional, now.final_ms, runs, before is None, reread, now)

    def _amended(self, before: Position) -> list[int] | None:
        """The starts of the bars that the page has as final and that are no longer so; None where it is not known."""
        seconds = self._journal.since(before.boot, before.epoch, before.sequence, self._key)
        if seconds is None:
            return None
        starts = {floored(second, self._width_ms) for second in seconds}
        return sorted(start for start in starts if start < before.final_ms)

    async def _read(self, start_ms: int, end_ms: int) -> list[Bar]:
        """Final bars that begin in a time of whole intervals."""
        if start_ms >= end_ms:
            return []
        last_ms = end_ms - self._width_ms
        return await self._bars.read(*self._key, self._width_ms, start_ms=start_ms, end_ms=last_ms, limit=CATCH_UP + 1)
