"""Follows the table: loads it, takes over each commit, and loads it anew when it is not what it was.

One task on the event loop, with a thread of its own for what blocks. Whatever it meets, it goes on: the problem is told
in `problem` until it has gone, and in the log when it begins.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake.exceptions import DeltaError

from market.bar import Bar
from market.widths import DAY_MS, HOUR_MS, SECOND_MS, start_of
from serve.problems import BarsAway
from serve.table import files as data
from serve.table import rows
from serve.table.apart import Apart
from serve.table.days import Days
from serve.table.files import WHOLE, Files
from serve.table.history import History
from serve.table.log import Anew, Commit, File, Log
from serve.table.recent import MOST, Recent

log = logging.getLogger(__name__)

POLL_S = 0.05
"""How often the log is looked at: two questions to the file system."""
RETRY_S = 1.0
TEND_S = 30.0
"""How often it is looked whether an hour or a day has ended, whose minutes can be made before somebody asks."""
MANY = MOST
"""Rows of one commit that are taken over as news; with more, the table is loaded anew, which reads so many at most.
A job that catches up brings a minute of a thousand symbols at once, and whoever listens would have to read anew."""
TROUBLE = (OSError, BarsAway, DeltaError, pa.ArrowException)
"""What may happen to a table that is on a disk, and is written by others."""


@dataclass
class State:
    """All that is known of one table. Another table has another state."""

    table_id: str
    version: int
    recent: Recent
    history: History
    symbols: dict[str, set[str]] = field(default_factory=dict)
    """The exchanges of each symbol, as far as the past was looked through."""
    knows_all: bool = False
    """Whether all of it was looked through for them."""

    def learn(self, keys: Iterable[tuple[str, str]]) -> None:
        """These exchanges and symbols have bars."""
        for exchange, symbol in keys:
            self.symbols.setdefault(symbol, set()).add(exchange)


@dataclass
class Counts:
    """What was seen, ever."""

    commits: int = 0
    bars: int = 0
    amended: int = 0
    loads: int = 0
    failures: int = 0


class Follower:
    """The table as it is now, and who is told when it changes."""

    def __init__(
        self, table: Path, cache: Path, *, per_symbol: int, apart: Apart, publish: Callable[[Sequence[Bar]], None]
    ) -> None:
        self._table = table
        self._cache = cache
        self._per_symbol = per_symbol
        self._apart = apart
        self._publish = publish
        self._own = Apart("log", threads=1)
        self._log = Log(table)
        self._tending: asyncio.Task[None] | None = None
        self._must_load = True
        self.state: State | None = None
        self.problem = f"the table {table} has not been read yet"
        """Why the table cannot be followed now; empty where it can."""
        self.counts = Counts()

    async def run(self) -> None:
        """Follows until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(POLL_S if await self._step() else RETRY_S)
        finally:
            self._leave()
            self._own.close()

    async def _step(self) -> bool:
        """Whether all is well."""
        try:
            if self._must_load:
                await self._load()
            for commit in await self._own(self._log.commits):
                self._take(commit, await self._own(partial(_bars_of, self._table, commit.added)))
            self.problem = ""
            return True
        except Anew as reason:
            log.info("loading the table anew: %s", reason)
            self._must_load = True
            return True
        except TROUBLE as error:
            self._fail(str(error))
        except Exception as error:  # a defect of ours: seen in the log and in /readyz, and no reason to stop
            log.exception("the table cannot be followed")
            self._fail(f"{type(error).__name__}: {error}")
        return False

    def _fail(self, problem: str) -> None:
        self._must_load = True  # a commit may have been passed over
        self.counts.failures += 1
        if problem != self.problem:
            log.warning("%s", problem)
        self.problem = problem
        if self.state and not (self._table / "_delta_log").is_dir():
            self._leave()
            self._publish(())

    def _leave(self) -> None:
        """Forgets the table."""
        if self._tending:
            self._tending.cancel()
        if self.state:
            self.state.history.close()
        self.state = self._tending = None

    async def _load(self) -> None:
        snapshot = await self._own(self._log.load)
        files = Files(snapshot.files)
        bars, from_ms, newest_ms = await self._own(partial(_newest, self._table, files, self._per_symbol))
        days = Days(self._cache, snapshot.table_id)
        try:
            await self._own(days.tidy)
        except OSError as error:
            log.warning("minutes and hours of days that are over cannot be kept in %s: %s", self._cache, error)
        recent = Recent(self._per_symbol, bars, from_ms)
        history = History(self._table, files, days, newest_ms=newest_ms, apart=self._apart)
        state = State(snapshot.table_id, snapshot.version, recent, history)
        state.learn(recent.keys())
        if self.state and self.state.table_id == state.table_id:
            state.learn((exchange, symbol) for symbol, known in self.state.symbols.items() for exchange in known)
            state.knows_all = self.state.knows_all
        if not self.state or self.state.table_id != state.table_id:
            log.info("following the table %s (%s) from version %d", self._table, state.table_id, state.version)
        self._leave()
        self.state, self._must_load = state, False
        self.counts.loads += 1
        self._tending = asyncio.ensure_future(self._tend(state))
        self._publish(())  # whoever has listened may have missed something, or has bars of another table

    def _take(self, commit: Commit, bars: Sequence[Bar]) -> None:
        state = self.state
        if state is None:
            return
        state.version = commit.version
        state.history.take(commit, bars)
        news = state.recent.take(bars)
        state.learn({(bar.exchange, bar.symbol) for bar in news})
        self.counts.commits += 1
        self.counts.bars += len(news)
        self.counts.amended += sum(1 for bar in news if bar.revision)
        if news:
            self._publish(tuple(news))

    async def _tend(self, state: State) -> None:
        """Looks through the past for symbols, and makes minutes and hours of it before somebody asks. At half speed."""
        history, known, made = state.history, set[int](), set[int]()
        while True:
            has_failed = False
            for day_ms in reversed(history.files.days()):
                began, is_over = time.monotonic(), history.is_over(day_ms)
                try:
                    if day_ms not in (made if is_over else known):  # commits tell what comes to a day that is known
                        state.learn(await history.keys(day_ms))
                        known.add(day_ms)
                        made |= {day_ms} if is_over else set()
                    last_ms = start_of(history.end_ms, HOUR_MS) - HOUR_MS
                    if not is_over and start_of(last_ms, DAY_MS) == day_ms:
                        await history.block(last_ms)
                except TROUBLE as error:
                    log.info("a day is looked through later: %s", error)
                    has_failed = True
                except Exception:  # a defect of ours: the days before are looked through all the same
                    log.exception("a day cannot be looked through")
                    has_failed = True
                await asyncio.sleep(time.monotonic() - began)
            state.knows_all = state.knows_all or not has_failed
            await asyncio.sleep(TEND_S)


def _bars_of(table: Path, added: Sequence[File]) -> list[Bar]:
    """The bars in files that a commit has added."""
    found = data.read(table, added)
    if found.num_rows > MANY:
        raise Anew(f"{found.num_rows:,} rows came with one commit")
    return rows.bars_in(found)


def _newest(table: Path, files: Files, per_symbol: int) -> tuple[list[Bar], int, int]:
    """The newest bars of all symbols; since when they are all there are; and when the newest begins."""
    last_ms = files.newest_ms
    if last_ms is None:
        return [], 0, -SECOND_MS
    found = rows.SECONDS.empty_table()
    # The day as a whole where nothing is stated of its files' rows.
    for from_ms in (start_of(last_ms, SECOND_MS) - (per_symbol - 1) * SECOND_MS, start_of(last_ms, DAY_MS)):
        found = data.read_current(table, files.since(from_ms), from_ms, WHOLE[1])
        if found.num_rows:
            break
    times = found["timestamp"].to_numpy()
    if not times.size:
        return [], from_ms, -SECOND_MS
    if times.size > MOST:
        from_ms = int(np.partition(times, times.size - MOST)[times.size - MOST]) + SECOND_MS
    return rows.bars_in(rows.between(found, from_ms, WHOLE[1])), from_ms, int(times.max())
