"""The past of the table, in pages: seconds by the hour, minutes and hours by the day.

Nobody scans more than an hour of seconds for an answer: what is wider comes of minutes and hours that are made once.
Those of days that are over are kept on disk (`days.py`), those of hours that are over in memory, and everything is made
anew that an amendment touches. Reading blocks, so a few threads do; whoever asks for the same page waits for the same.

What changes is changed on the event loop alone. A thread gets a list of files, and gives back rows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa

from market.bar import Bar
from market.widths import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, start_of
from serve.problems import BarsAway
from serve.table import files as data
from serve.table import rows
from serve.table.apart import Apart
from serve.table.days import Days, hours_of
from serve.table.files import Files
from serve.table.log import Commit, File
from serve.table.pages import Page, Pages

log = logging.getLogger(__name__)

SETTLED_MS = 600_000
"""How long after its end a day is made for good: what comes late for it comes mostly by then."""
KEEPING = 2
"""Days that may wait to be written to disk; others are made again when they are needed."""


class History:
    """What the files of one table hold, at the version it has come to."""

    def __init__(self, table: Path, files: Files, days: Days, *, newest_ms: int, apart: Apart) -> None:
        self._table = table
        self._days = days
        self._apart = apart
        self._keeper = Apart("days", threads=1, waiting=KEEPING)
        self._keeping: set[asyncio.Task[None]] = set()
        self._failed = ""
        self.pages = Pages()
        self.files = files
        self.end_ms = newest_ms + SECOND_MS
        """All seconds before are over: the job writes those of all symbols at once, in the order of time."""
        self.days_made = 0
        """Days whose minutes were made of their seconds."""
        self.days_not_kept = 0
        """Of them, those that could not be written to disk."""

    def close(self) -> None:
        """Lets the threads end."""
        self._keeper.close()

    def take(self, commit: Commit, bars: Iterable[Bar]) -> None:
        """Takes over a commit, and the rows that it has brought."""
        self.files.apply(commit)
        touched, newest_ms = set(), self.end_ms - SECOND_MS
        for bar in bars:
            newest_ms = max(newest_ms, bar.timestamp)
            hour_ms = start_of(bar.timestamp, HOUR_MS)
            if self._has_ended(hour_ms):  # pages are kept of hours that have ended, and of no others
                touched.add((bar.exchange, bar.symbol, hour_ms))
        self.end_ms = newest_ms + SECOND_MS
        self.pages.touch(touched)

    def is_over(self, day_ms: int) -> bool:
        """Whether a day is over, and settled."""
        return day_ms + DAY_MS + SETTLED_MS <= self.end_ms

    async def seconds(self, exchange: str, symbol: str, hour_ms: int) -> pa.Table:
        """The current seconds of a symbol in an hour, as the files have them. Oldest first."""
        files, key = self.files.of_hour(hour_ms), (exchange, symbol)
        if not files:
            return rows.SECONDS.empty_table()
        read = partial(data.read_current, self._table, files, hour_ms, hour_ms + HOUR_MS, key=key)
        page = Page("seconds", start_of(hour_ms, DAY_MS), hour_ms, *key)
        return await self.pages.get(page, lambda: self._apart(read), keep=self._has_ended(hour_ms))

    async def minutes(self, exchange: str, symbol: str, day_ms: int, end_ms: int) -> pa.Table:
        """The minutes of a symbol in a day that begin before `end_ms`. Oldest first.

        `end_ms` is a whole minute; what begins before it is in the files.
        """
        if self.is_over(day_ms):
            hours = await self.hours_of_all(day_ms)
            if not rows.of_key(hours, exchange, symbol).num_rows:
                return rows.WIDER.empty_table()
            found = await self._minutes_of_day(exchange, symbol, day_ms)
        else:
            parts = []
            for hour_ms in self.files.hours(day_ms):
                if hour_ms < end_ms and self._has_ended(hour_ms):
                    parts.append(rows.of_key(await self.block(hour_ms), exchange, symbol))
                elif hour_ms < end_ms:
                    some = rows.between(await self.seconds(exchange, symbol, hour_ms), hour_ms, end_ms)
                    parts.append(rows.rolled(some, MINUTE_MS))
            found = rows.joined(parts)
        return rows.between(found, day_ms, end_ms)

    async def hours(self, exchange: str, symbol: str, day_ms: int, end_ms: int) -> pa.Table:
        """The hours of a symbol in a day that begin before `end_ms`, a whole hour that has ended. Oldest first."""
        if self.is_over(day_ms):
            found = rows.of_key(await self.hours_of_all(day_ms), exchange, symbol)
        else:
            found = hours_of(await self.minutes(exchange, symbol, day_ms, end_ms))
        return rows.between(found, day_ms, end_ms)

    async def block(self, hour_ms: int) -> pa.Table:
        """The minutes of all symbols in an hour that has ended."""
        return await self.pages.get(Page("block", start_of(hour_ms, DAY_MS), hour_ms), lambda: self._block(hour_ms))

    async def hours_of_all(self, day_ms: int) -> pa.Table:
        """The hours of all symbols in a day that is over. Makes the day if it was not made yet."""
        return await self.pages.get(Page("hours", day_ms), lambda: self._hours_of_day(day_ms))

    def hours_at_hand(self, day_ms: int) -> pa.Table | None:
        """The same, if it is in memory."""
        return self.pages.at_hand(Page("hours", day_ms))

    async def keys(self, day_ms: int) -> set[tuple[str, str]]:
        """Every exchange and symbol that has a row in a day."""
        if self.is_over(day_ms):
            return rows.keys_in(await self.hours_of_all(day_ms))
        return await self._apart(partial(data.read_keys, self._table, self.files.of_day(day_ms)))

    def _has_ended(self, hour_ms: int) -> bool:
        return hour_ms + HOUR_MS <= self.end_ms

    async def _block(self, hour_ms: int) -> pa.Table:
        return await self._apart(partial(_minutes_in, self._table, self.files.of_hour(hour_ms), hour_ms))

    async def _hours_of_day(self, day_ms: int) -> pa.Table:
        kept = await self._apart(partial(self._days.hours, day_ms, self.files.of_day(day_ms)))
        return await self._apart(partial(hours_of, await self._made(day_ms))) if kept is None else kept

    async def _minutes_of_day(self, exchange: str, symbol: str, day_ms: int) -> pa.Table:
        async def found() -> pa.Table:
            day = self.pages.at_hand(Page("day", day_ms))
            if day is None:
                files = self.files.of_day(day_ms)
                kept = await self._apart(partial(self._days.minutes, day_ms, files, exchange, symbol))
                if kept is not None:
                    return kept
                day = await self._made(day_ms)
            return rows.of_key(day, exchange, symbol)

        return await self.pages.get(Page("minutes", day_ms, None, exchange, symbol), found)

    async def _made(self, day_ms: int) -> pa.Table:
        """All minutes of a day that is over, made of its seconds, an hour at a time; and kept on disk if that works."""
        return await self.pages.get(Page("day", day_ms), lambda: self._make(day_ms))

    async def _make(self, day_ms: int) -> pa.Table:
        files, stamp = self.files.of_day(day_ms), self.pages.stamp(day_ms)
        parts = []
        for hour_ms in self.files.hours(day_ms):
            block = self.pages.at_hand(Page("block", day_ms, hour_ms))
            parts.append(await self._block(hour_ms) if block is None else block)
        minutes = await self._apart(partial(_in_order, parts))
        self.days_made += 1
        if stamp == self.pages.stamp(day_ms):
            # Beside everything else: nobody waits for a disk that is slow, full or gone.
            task = asyncio.ensure_future(self._keep(day_ms, files, minutes))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)
        return minutes

    async def _keep(self, day_ms: int, files: Sequence[File], minutes: pa.Table) -> None:
        if self._keeper.is_closed:
            return  # the table was left: nobody asks for its days here any more
        try:
            await self._keeper(partial(_store, self._days, day_ms, files, minutes))
        except (OSError, pa.ArrowException, BarsAway) as error:
            self.days_not_kept += 1
            why = "the disk does not keep up" if isinstance(error, BarsAway) else str(error)
            if why != self._failed:
                log.warning("minutes and hours are not kept on disk, and made again when they are needed: %s", why)
            self._failed = why


def _store(days: Days, day_ms: int, files: Sequence[File], minutes: pa.Table) -> None:
    days.store(day_ms, files, minutes, hours_of(minutes))


def _minutes_in(table: Path, files: Sequence[File], hour_ms: int) -> pa.Table:
    return rows.rolled(data.read_current(table, files, hour_ms, hour_ms + HOUR_MS), MINUTE_MS)


def _in_order(parts: Sequence[pa.Table]) -> pa.Table:
    return rows.joined(parts).sort_by([(name, "ascending") for name in rows.KEY])
