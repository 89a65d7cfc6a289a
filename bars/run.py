"""Runs the queries of one application until they end, fail, or are asked to stop."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from py4j.protocol import Py4JError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

from bars.amend import Amender, hush, write_amended
from bars.console import Status, view
from bars.follow import follow
from bars.holder import Holder
from bars.lag import LagGroup
from bars.late import unread
from bars.parse import parse, valid
from bars.recovery import pairing
from bars.recovery.checkpoint import Offsets, last_committed, offsets_of
from bars.recovery.identity import checkpoint_of
from bars.sink import Tell, WriteError, bars_stream, write_archive, write_bars
from bars.source import kafka_stream, trades_stream, wait_for_topic
from bars.stop import Stop
from bars.tables import BARS, TRADES, create_tables
from bars.upkeep.background import Background
from market.settings import Settings, SettingsError

log = logging.getLogger(__name__)

STOP_PATIENCE_S = 4
"""How long a stop waits for the batch under way. A batch cut off is repeated at the next start, so this is courtesy."""


WARM_BATCHES = 2
"""Batches of a query before the next one starts. The first ones compile what they need, the second writes the first
bars; beside another query, both would take twice as long."""


def run(
    spark: SparkSession,
    settings: Settings,
    stop: Stop,
    *,
    available_now: bool,
    waiting: Callable[[Holder], bool] | None = None,
    before: Callable[[str], object] = lambda topic_id: None,
) -> int:
    """Runs the configured queries on the topic; returns the program's exit code.

    While another run holds the checkpoint, `waiting` says whether to wait for it (`pairing.locked`). With the
    checkpoint held and the topic found, `before` is called with the topic's id. Raises `PairingError` where
    checkpoint, tables, topic and settings do not belong together, and `SettingsError` where the queries cannot run in
    the format of bars.
    """
    settings = replace(settings, queries=possible(settings))
    ending = threading.Event()
    amender = Amender(settings, lambda: stop.asked() or ending.is_set(), may_wait=not available_now)
    status = Status(str(BARS.path(settings)), spark.sparkContext.uiWebUrl)
    # Made before the lock is taken, for nothing is read yet: one who stands by has that behind it.
    records = kafka_stream(spark, settings)
    starts = starts_of(records, settings, amender, status.take_repeats, available_now=available_now)
    with pairing.locked(settings, spark, waiting=waiting):
        topic_id = wait_for_topic(settings, stop.asked)
        if topic_id is None:
            return 0
        before(topic_id)
        pairing.pair(settings, topic_id)
        engine = {name: spark.conf.get(name, None) for name in pairing.frozen_names(settings)}
        pairing.check_engine(settings, engine)
        create_tables(settings)
        queries: list[StreamingQuery] = []
        try:
            return _watch(settings, starts, queries, amender, status, stop)
        finally:
            ending.set()
            end(spark, queries)
            for (exchange, symbol), copies in sorted(status.copies.items()):
                log.info("%s %s: %d trades came more than once; each counts once", exchange, symbol, copies)


def possible(settings: Settings) -> tuple[str, ...]:
    """The queries that can run: Spark's file sink alone writes bars in Parquet, so that none can be amended."""
    if settings.bar_format == "delta" or "amend" not in settings.queries:
        return settings.queries
    if settings.queries == ("amend",):
        raise SettingsError("QUERIES=amend needs BAR_FORMAT=delta: bars in Parquet cannot be amended")
    log.warning("BAR_FORMAT=%s: trades that come too late for their bars amend none", settings.bar_format)
    return tuple(query for query in settings.queries if query != "amend")


@dataclass(frozen=True)
class Start:
    """What starts a query, and when: given the queries that were started before."""

    name: str
    is_ready: Callable[[Sequence[StreamingQuery]], bool]
    start: Callable[[], StreamingQuery]
    is_needed: Callable[[], bool] = lambda: True


def starts_of(
    records: DataFrame, settings: Settings, amender: Amender, tell: Tell, *, available_now: bool
) -> list[Start]:
    """What starts each configured query on a stream of the topic's records, the bars first."""
    spark = records.sparkSession
    elements = records.transform(parse, future_tolerance_ms=settings.future_tolerance)
    bars = elements.transform(valid).transform(bars_stream, settings)

    def on(name: str) -> Mapping[str, Any]:
        return {
            "settings": settings,
            "checkpoint": checkpoint_of(settings, name),
            "available_now": available_now,
        }

    starts = {
        "bars": Start("bars", _warm, partial(write_bars, bars, **on("bars"), tell=tell)),
        "archive": Start("archive", _warm, partial(write_archive, elements, **on("archive"))),
    }
    wanted = [start for name, start in starts.items() if name in settings.queries]
    if "amend" not in settings.queries:
        return wanted
    if available_now and "bars" in settings.queries:
        # The archive started later and has read further, and only what the bars query has read can be judged.
        wanted.append(replace(starts["bars"], is_ready=_ended, is_needed=partial(_is_behind, settings)))

    def amend() -> StreamingQuery:
        return write_amended(trades_stream(spark, TRADES.path(settings)), amender=amender, **on("amend"))

    def are_there() -> bool:
        return all((table.path(settings) / "_delta_log").is_dir() for table in (BARS, TRADES))

    if not are_there() and not {"bars", "archive"} <= set(settings.queries):
        log.warning("the query amend starts when bars and archive have created their tables in %s", settings.tables)
    if available_now:
        return [*wanted, Start("amend", _ended, amend, is_needed=are_there)]
    return [*wanted, Start("amend", lambda queries: are_there() and _warm(queries), amend)]


def _warm(queries: Sequence[StreamingQuery]) -> bool:
    return not queries or len(queries[-1].recentProgress) >= WARM_BATCHES or not queries[-1].isActive


def _ended(queries: Sequence[StreamingQuery]) -> bool:
    return not any(query.isActive for query in queries)


def _is_behind(settings: Settings) -> bool:
    """Whether the archive has read what the bars query has not."""
    bars, archive = (last_committed(checkpoint_of(settings, query)) for query in ("bars", "archive"))
    topic = settings.kafka_topic
    read = archive.offsets.get(topic, {}) if archive else {}
    return bool(unread(bars, topic, read))


def _watch(
    settings: Settings,
    starts: list[Start],
    queries: list[StreamingQuery],
    amender: Amender,
    status: Status,
    stop: Stop,
) -> int:
    """Starts the queries, and shows progress until all have ended, one has failed, or a stop is asked for."""
    if "amend" in settings.queries:
        status.late = amender.tally
    follower, lag = follow(BARS.path(settings), settings.bar_format), LagGroup(settings)
    upkeep = Background(settings)
    screen = view(status, os.environ.get("BARS_TERMINAL"))
    try:
        while True:
            if starts and starts[0].is_ready(queries):
                next_ = starts.pop(0)
                if next_.is_needed():
                    queries.append(next_.start())
                if next_.name == "bars" and (finished := last_committed(checkpoint_of(settings, "bars"))):
                    lag.commit(finished.offsets)  # true at once, also where nothing new comes
            running = [query for query in queries if query.isActive]
            bars = next((query for query in reversed(queries) if query.name == "bars"), None)
            progress = bars.lastProgress if bars else None
            if progress and progress["batchId"] != status.batch:
                if status.take_progress(progress) and status.late is None:
                    log.warning("trades came too late for their bars; they are in %s alone", TRADES.path(settings))
                screen.show(status.take_bars(follower.rows()))
                lag.commit(_offsets(progress))
            upkeep.tend()
            lag.tend()
            failed = [
                error
                for query in queries
                if (error := query.exception()) and not (query.name == "amend" and amender.is_cut_off)
            ]
            if failed:
                log.error("a query failed: %s", brief(failed[0]))
                return 1
            if not (running or starts) or stop.wait(0.2):
                return 0
    finally:
        upkeep.close()
        lag.close()
        screen.close()


def end(spark: SparkSession, queries: list[StreamingQuery], *, patience_s: float = STOP_PATIENCE_S) -> None:
    """Stops the queries between two batches if they come to one soon."""
    deadline = time.monotonic() + patience_s
    for query in queries:
        while query.isActive and query.status["isTriggerActive"]:
            if time.monotonic() > deadline:
                hush(spark)
                break
            time.sleep(0.02)
        try:
            query.stop()
        except (Py4JError, PySparkException) as error:  # the others are to be stopped all the same
            log.error("the query %s does not stop: %s", query.name, str(error)[:300])


def _offsets(progress: StreamingQueryProgress) -> Offsets:
    (source,) = progress["sources"]
    return offsets_of(json.loads(source["endOffset"]))


def brief(error: Exception) -> str:
    """What a failed query says, without the pages of Spark's around it: its plan, and stack traces of both sides."""
    said = str(error).split("JVM stacktrace", 1)[0].split("=== Streaming Query ===", 1)[0]
    return said.rpartition(f"{WriteError.__module__}.{WriteError.__name__}: ")[2].strip()
