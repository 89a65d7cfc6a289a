"""Runs the queries of one application until they end, fail, or are asked to stop."""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pyspark.errors import StreamingQueryException
from pyspark.sql import SparkSession
from pyspark.sql.streaming.listener import StreamingQueryProgress
from pyspark.sql.streaming.query import StreamingQuery

from bars import pairing
from bars.aggregate import to_bars
from bars.console import Status, view
from bars.follow import follow
from bars.lag import LagGroup
from bars.parse import parse, valid
from bars.sink import BARS, TRADES, create_tables, write_archive, write_bars
from bars.source import kafka_stream, wait_for_topic
from market.settings import Settings

log = logging.getLogger(__name__)

STOP_PATIENCE_S = 4
"""How long a stop waits for the batch under way. A batch cut off is repeated at the next start, so this is courtesy."""


WARM_BATCHES = 2
"""Batches of the first query before the next one starts. The first ones compile what they need, the second writes the
first bars; beside another query, both would take twice as long."""


class Stop:
    """Whether the program was asked to stop, by SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def listen(self) -> Stop:
        """Takes over the signals, and tells spark-submit.sh (BARS_PID_FILE) which process to send them to."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._event.set())
        if file := os.environ.get("BARS_PID_FILE"):
            Path(file).write_text(str(os.getpid()))
        return self

    def asked(self) -> bool:
        """Whether it was."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits that long, or until it is."""
        return self._event.wait(seconds)


def run(spark: SparkSession, settings: Settings, stop: Stop, *, available_now: bool) -> int:
    """Runs the configured queries on the topic; returns the program's exit code.

    Raises `PairingError` where checkpoint, tables, topic and settings do not belong together.
    """
    topic_id = wait_for_topic(settings, stop.asked)
    if topic_id is None:
        return 0
    with pairing.locked(settings):
        pairing.pair(settings, topic_id)
        engine = {name: spark.conf.get(name, None) for name in pairing.frozen_names(settings)}
        pairing.check_engine(settings, engine)
        create_tables(settings)
        starts = _starts(spark, settings, available_now=available_now)
        queries: list[StreamingQuery] = []
        try:
            return _watch(spark, settings, starts, queries, stop)
        finally:
            _end(spark, queries)


def _starts(spark: SparkSession, settings: Settings, *, available_now: bool) -> list[Callable[[], StreamingQuery]]:
    """What starts each configured query, the bars first."""
    elements = kafka_stream(spark, settings).transform(parse, future_tolerance_ms=settings.future_tolerance)
    bars = elements.transform(valid).transform(to_bars, watermark_delay_ms=settings.watermark_delay)
    frames = {"bars": (write_bars, bars), "archive": (write_archive, elements)}
    return [
        partial(write, frame, settings, pairing.checkpoint_of(settings, name), available_now=available_now)
        for name, (write, frame) in frames.items()
        if name in settings.queries
    ]


def _watch(
    spark: SparkSession,
    settings: Settings,
    starts: list[Callable[[], StreamingQuery]],
    queries: list[StreamingQuery],
    stop: Stop,
) -> int:
    """Starts the queries, and shows progress until all have ended, one has failed, or a stop is asked for."""
    status = Status(str(BARS.path(settings)), spark.sparkContext.uiWebUrl)
    follower, lag = follow(BARS.path(settings), settings.bar_format), LagGroup(settings)
    screen = view(status, os.environ.get("BARS_TERMINAL"))
    first = starts.pop(0)()
    queries.append(first)
    try:
        while True:
            if starts and (len(first.recentProgress) >= WARM_BATCHES or not first.isActive):
                queries.append(starts.pop(0)())
            running = [query for query in queries if query.isActive]
            progress = first.lastProgress if first.name == "bars" else None
            if progress and progress["batchId"] != status.batch:
                if status.take_progress(progress):
                    log.warning("trades came too late for their bars; they are in %s alone", TRADES.path(settings))
                screen.show(status.take_bars(follower.rows()))
                lag.commit(_offsets(progress))
            failed = [error for query in queries if (error := query.exception())]
            if failed:
                log.error("a query failed: %s", _brief(failed[0]))
                return 1
            if not (running or starts) or stop.wait(0.2):
                return 0
    finally:
        lag.close()
        screen.close()


def _end(spark: SparkSession, queries: list[StreamingQuery]) -> None:
    """Stops the queries between two batches if they come to one soon."""
    deadline = time.monotonic() + STOP_PATIENCE_S
    for query in queries:
        while query.isActive and query.status["isTriggerActive"]:
            if time.monotonic() > deadline:
                # What is cut off complains by the page, on both sides, and is repeated at the next start.
                spark.sparkContext.setLogLevel("OFF")
                logging.getLogger("py4j").setLevel(logging.CRITICAL)
                break
            time.sleep(0.02)
        query.stop()


def _offsets(progress: StreamingQueryProgress) -> dict[str, dict[str, int]]:
    (source,) = progress["sources"]
    return dict(json.loads(source["endOffset"]))


def _brief(error: StreamingQueryException) -> str:
    return str(error).split("JVM stacktrace", 1)[0].strip()
