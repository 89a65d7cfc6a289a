"""Standing by: everything up and its code warm, waiting for the lock that another run holds.

What makes a start slow is Java: classes to load, plans to compile, code that is interpreted until it has run often. So
one who stands by rehearses: the real queries read the end of the real topic, and write to tables and checkpoints that
are thrown away. Nothing of the run it waits for is touched, neither its folders nor its place in the topic.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from bars import locks
from bars.amend import Amender, speak_again
from bars.holder import Holder
from bars.run import STOP_PATIENCE_S, end, possible, starts_of
from bars.source import kafka_stream, wait_for_topic
from bars.stop import Stop
from bars.tables import create_tables
from bars.topic import Positions, SourceError, holding_of
from market.settings import Settings

log = logging.getLogger(__name__)

RECORDS = 20_000
"""How many of the topic's newest records the rehearsal begins with; then it follows the topic."""
PER_BATCH = 4_000
"""Of them, taken by a batch: small, for the run that works shares the cores."""
BATCHES = {"bars": 12, "archive": 6}
"""Batches of a query in a rehearsal: by then most of what they run has been compiled by the JVM. Those of amend are not
waited for: the first bar after a take-over does not need them."""
REHEARSAL_S = 120.0
"""A busy machine makes slow batches: then a rehearsal is over after this time."""
QUIET_S = 5.0
"""A topic without new records gives no more batches: a rehearsal is over when nothing has come for this time."""
POLL_S = 0.05
LOOK_S = 1.0
"""How often one who waits looks how the holder is."""


class StoppedError(Exception):
    """The program was asked to stop while it was waiting for its turn."""


def rehearse(spark: SparkSession, settings: Settings, lock: Path, stop: Stop) -> bool:
    """Runs the configured queries on the end of the topic, into a folder that is removed at the end.

    Ends, or does not begin, where nobody holds the lock: then it is this one's turn, warm or not. Returns whether it
    came to an end of its own.
    """

    def is_over() -> bool:
        return stop.asked() or locks.is_free(lock)

    if wait_for_topic(settings, is_over) is None:
        return False
    scratch = os.environ.get("SPARK_LOCAL_DIRS") or None
    with tempfile.TemporaryDirectory(prefix="rehearsal-", dir=scratch, ignore_cleanup_errors=True) as name:
        own = replace(
            settings,
            queries=possible(settings),
            output_dir=f"{name}/data",
            checkpoint_dir=f"{name}/checkpoints",
            max_offsets_per_trigger=PER_BATCH,
            archive_interval=settings.trigger_interval,  # the sooner it is warm, the better
        )
        try:
            holding = holding_of(own)
        except SourceError as error:
            log.warning("no rehearsal: %s", error)
            return True
        each = RECORDS // max(len(holding), 1)
        since = {partition: max(range_.start, range_.end - each) for partition, range_ in holding.items()}
        create_tables(own)
        _run(spark, own, since, is_over)
    return not is_over()


def is_warm(done: Mapping[str, int]) -> bool:
    """Whether the queries of a rehearsal have done enough batches, of which these are the numbers."""
    return all(count >= BATCHES.get(name, 0) for name, count in done.items())


def _run(spark: SparkSession, settings: Settings, since: Positions, is_over: Callable[[], bool]) -> None:
    deadline = time.monotonic() + REHEARSAL_S
    over = False
    amender = Amender(settings, lambda: over or is_over(), may_wait=True)
    records = kafka_stream(spark, settings, since)
    starts = starts_of(records, settings, amender, lambda repeats: None, available_now=False)
    queries: list[StreamingQuery] = []
    before: dict[str, int] = {}
    changed = time.monotonic()
    try:
        while time.monotonic() < deadline and not is_over():
            time.sleep(POLL_S)
            if starts and starts[0].is_ready(queries):
                queries.append(starts.pop(0).start())
            failed = [query for query in queries if not query.isActive]
            if failed:
                log.warning("the rehearsal failed: %s", str(failed[0].exception())[:300])
                return
            done = {str(query.name): len(query.recentProgress) for query in queries}
            if not starts and is_warm(done):
                return
            if done != before or any(query.status["isTriggerActive"] for query in queries):
                before, changed = done, time.monotonic()
            elif time.monotonic() - changed > QUIET_S:
                return
    finally:
        over = True
        end(spark, queries, patience_s=0 if is_over() else STOP_PATIENCE_S)
        speak_again(spark)


class Turn:
    """What one does who finds another run holding the checkpoint. Called with which, again and again.

    One who stands by rehearses first, and once more where it lost the race for the lock before it was warm.
    """

    def __init__(
        self,
        lock: Path,
        stop: Stop,
        say: Callable[[str], object],
        rehearse: Callable[[], bool],
        *,
        standby: bool,
        take_over: bool,
    ) -> None:
        self._lock, self._stop, self._say, self._rehearse = lock, stop, say, rehearse
        self._standby, self._may_end = standby, take_over
        self._is_warm = not standby
        self._said = ""
        self._looked = 0.0

    def __call__(self, holder: Holder) -> bool:
        """Whether to go on waiting, however long it takes. Raises `StoppedError`."""
        if self._stop.asked():
            raise StoppedError
        if not self._is_warm:
            self._is_warm = self._rehearse()
            return True  # who holds it may be another by now
        if self._may_end and holder.pids:
            self._may_end = False  # the one that was found; none that comes after it
            self._say(f"--take-over: ending the run that holds the checkpoint {self._lock.parent} ({holder})")
            holder.end()
        elif self._standby and time.monotonic() > self._looked + LOOK_S:
            self._looked = time.monotonic()
            if (holder.pids or not self._said) and (said := self._standing(holder)) != self._said:
                self._said = said
                self._say(said)
        return self._standby

    def _standing(self, holder: Holder) -> str:
        stopped = any(process.is_stopped for process in holder.processes)
        hint = ". While it is stopped, this one can only wait; --standby --take-over would end it" if stopped else ""
        return f"standing by: the checkpoint {self._lock.parent} is held by another run ({holder}){hint}"
