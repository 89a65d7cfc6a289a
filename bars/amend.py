"""The query that amends: trades that came too late for their bars end in a further revision of these bars.

It follows the archive (`trades`). For each batch of new rows it waits until the bars query has finished the batches
that read these records, for only then is it certain what that query left out (`bars/late.py`); recomputes the bars of
the seconds concerned from all rows of the archive; and appends those that differ. A crash repeats the batch: it finds
the bars as they should be, or the append is skipped. A second that is open is never looked at.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery

from bars import late
from bars.aggregate import to_bars
from bars.compare import KEY, amended, current, differing, keeps_trades
from bars.kept import kept
from bars.late import Span, Tally
from bars.locks import amend_lock, held
from bars.recovery.checkpoint import Batch, committed, last_committed, query_id
from bars.recovery.identity import checkpoint_of
from bars.sink import append_conflicts, append_revisions, briefly, writer_of
from bars.tables import BARS, REJECTED, TRADES
from bars.topic import Positions
from bars.unique import conflicts, unique
from market.bar import WIDTH_MS
from market.settings import Settings
from market.trade import CONFLICT

log = logging.getLogger(__name__)

POLL_S = 0.2
SAY_AFTER_S = 10
"""The archive is often some seconds ahead of the bars; only a longer wait is worth a line."""
KEPT_BATCHES = 1_000
"""Finished batches of the bars query that are remembered, beyond those that Spark keeps."""


class AmendError(RuntimeError):
    """A batch cannot be judged. The message says why."""


@dataclass
class Amender:
    """What the query does with each batch."""

    settings: Settings
    ending: Callable[[], bool]
    """Whether the program is about to end: then nothing is waited for any longer. The batch is repeated next time."""
    may_wait: bool
    """Whether the bars query and the archive go on, so that waiting for them makes sense."""
    tally: Tally = field(default_factory=Tally)
    is_cut_off: bool = False
    """Whether a batch has failed for no other reason than that the program was about to end."""
    _batches: dict[int, Batch] = field(default_factory=dict)

    def write(self, batch: DataFrame, batch_id: int) -> None:
        """Appends the revisions that a batch of new rows of `trades` calls for."""
        spark = batch.sparkSession
        spans = _spans(batch)
        if not spans:
            return
        self._wait_for(spark, "bars", {partition: span.end for partition, span in spans.items()}, "the archive holds")
        stretches = late.possible(late.stretches(self._finished(), self.settings.kafka_topic), spans)
        if not stretches:  # nearly always: then the rows are not read again
            return
        with kept(late.suspects(batch, stretches)) as seconds:
            if days := _days(seconds):
                needed = self._needed(max(day["closed_by"] for day in days))
                self._wait_for(spark, "archive", needed, "the bars were made of")
                self._amend(seconds, days, batch_id, self._finished()[-1].offsets[self.settings.kafka_topic])

    def _amend(self, seconds: DataFrame, days: list[Any], batch_id: int, read: Positions) -> None:
        spark, path = seconds.sparkSession, BARS.path(self.settings)
        # Only what the bars query has read: an audit goes by the same, and would take the rest out of the bar again.
        rows = _of(_table(spark, TRADES.path(self.settings)).filter(late.before(read)), seconds, days)
        trades = rows.withColumn("time_ms", F.unix_millis("timestamp"))
        # Each trade once within its second, as in the bars query.
        with kept(unique(trades, "second_ms")) as once, held(amend_lock(path)):
            if not once.filter("is_conflict").isEmpty():
                self._reject(trades, days, batch_id)
            there = current(_of(_table(spark, path), seconds, days).drop("second_ms"))
            with kept(differing(there, to_bars(once)).withColumn("grows", keeps_trades())) as different:
                self._append(different, days, batch_id)

    def _append(self, different: DataFrame, days: list[Any], batch_id: int) -> None:
        counts = {row["grows"]: row["count"] for row in different.groupBy("grows").count().collect()}
        if counts.get(True):
            # The alias hides the columns of the join, among which `amended` would find its own twice.
            rows = amended(different.filter("grows").alias("different"))
            app_id = query_id(checkpoint_of(self.settings, "amend"))
            append_revisions(rows, BARS.path(self.settings), app_id=app_id, version=batch_id)
        self._count(days, counts, different)

    def _reject(self, trades: DataFrame, days: list[Any], batch_id: int) -> None:
        """Records the conflicts among trades that came too late for the bars query to see them, each once."""
        path, place = REJECTED.path(self.settings), ["partition", "offset", "index"]
        dates = [day["date"] for day in days]
        told = _table(trades.sparkSession, path).filter(F.col("date").isin(dates) & (F.col("reason") == CONFLICT))
        with kept(conflicts(trades, "second_ms").join(told, place, "left_anti")) as lost:
            if count := lost.count():
                app_id = query_id(checkpoint_of(self.settings, "amend"))
                append_conflicts(lost, path, topic=self.settings.kafka_topic, app_id=app_id, version=batch_id)
                log.warning("rejected %s, see %s", {CONFLICT: count}, path)

    def _count(self, days: list[Any], counts: Mapping[bool, int], different: DataFrame) -> None:
        trades = sum(day["late"] for day in days)
        latest_ms = max((day["late_ms"] for day in days if day["late_ms"] is not None), default=0)
        amended, refused = counts.get(True, 0), counts.get(False, 0)
        self.tally.trades += trades
        self.tally.latest_ms = max(self.tally.latest_ms, latest_ms)
        self.tally.amended += amended
        self.tally.refused += refused
        self.tally.equal += sum(day["seconds"] for day in days) - amended - refused
        if trades or amended:
            log.info("%d trades came too late, by up to %.1f s; %d bars amended", trades, latest_ms / 1000, amended)
        if refused:
            example = different.filter("NOT grows").orderBy(*KEY).select(*KEY).first()
            assert example is not None
            log.error(
                "%d bars have trades that %s lacks, and are not amended (first: %s %s %s); what they are missing is "
                "told by jobs/reconcile.py",
                refused,
                TRADES.path(self.settings),
                *example[:2],
                f"{example['timestamp']:%Y-%m-%d %H:%M:%S}",
            )

    def _finished(self) -> list[Batch]:
        """The finished batches of the bars query, oldest first: those that Spark keeps, and newer ones seen before."""
        found = committed(checkpoint_of(self.settings, "bars"), self._batches)
        self._batches = self._batches | {batch.id: batch for batch in found}
        for batch_id in sorted(self._batches)[:-KEPT_BATCHES]:
            del self._batches[batch_id]
        return [self._batches[batch_id] for batch_id in sorted(self._batches)]

    def _needed(self, closed_by: int) -> dict[int, int]:
        """The offsets up to which the archive must be there, to hold all that the bars of a batch are made of."""
        return self._batches[closed_by].offsets[self.settings.kafka_topic]

    def _wait_for(self, spark: SparkSession, query: str, needed: Mapping[int, int], because: str) -> None:
        """Returns once a query has finished reading up to these offsets, said by its checkpoint.

        Raises `AmendError` if the program ends before, or where waiting makes no sense.
        """
        checkpoint, since, said = checkpoint_of(self.settings, query), time.monotonic(), False
        while short := late.unread(last_committed(checkpoint), self.settings.kafka_topic, needed):
            partition, (read, end) = next(iter(short.items()))
            message = (
                f"the query {query} has read partition {partition} of {self.settings.kafka_topic} up to offset {read}, "
                f"and {because} it up to {end}"
            )
            if self.ending():
                self.is_cut_off = True
                hush(spark)
                raise AmendError(f"ended while it was waiting: {message}")
            if not self.may_wait or query not in self.settings.queries:
                raise AmendError(f"{message}. Run the query {query} too (QUERIES), then this again")
            if not said and time.monotonic() - since > SAY_AFTER_S:
                log.info("the query amend is waiting: %s", message)
                said = True
            if query == "bars":
                self._finished()  # remembers batches that Spark may have purged when the wait is over
            time.sleep(POLL_S)


def write_amended(
    trades: DataFrame, settings: Settings, checkpoint: Path, amender: Amender, *, available_now: bool
) -> StreamingQuery:
    """Starts the query that appends further revisions to `bars_1s`; `trades` is `bars.source.trades_stream`."""
    # Chosen here, for within a batch it is too late: Spark has read what a batch was made of.
    needed = trades.select("exchange", "symbol", "timestamp", "partition", "offset")
    writer = writer_of(needed, "amend", checkpoint, settings.amend_interval, available_now)
    return writer.foreachBatch(briefly(amender.write)).start()


def hush(spark: SparkSession) -> None:
    """Silences both sides, before a batch is cut off: it would complain by the page, and is repeated next time."""
    log4j = spark.sparkContext._jvm.org.apache.logging.log4j  # type: ignore[union-attr]
    # Spark's own setLogLevel leaves out loggers that conf/log4j2.properties names.
    log4j.core.config.Configurator.setAllLevels("", log4j.Level.OFF)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)


def speak_again(spark: SparkSession) -> None:
    """Undoes `hush`, for a program that goes on (levels: conf/log4j2.properties, bars/session.py)."""
    spark.sparkContext._jvm.org.apache.logging.log4j.core.config.Configurator.reconfigure()  # type: ignore[union-attr]
    logging.getLogger("py4j").setLevel(logging.ERROR)


def _table(spark: SparkSession, path: Path) -> DataFrame:
    return spark.read.format("delta").load(str(path))


def _spans(batch: DataFrame) -> dict[int, Span]:
    """What a batch of rows holds of each partition."""
    found = batch.groupBy("partition").agg(
        F.min("offset").alias("first"), F.max("offset").alias("last"), F.unix_millis(F.min("timestamp")).alias("ms")
    )
    return {row["partition"]: Span(row["first"], row["last"] + 1, row["ms"]) for row in found.collect()}


def _days(seconds: DataFrame) -> list[Any]:
    """What there is to look at, per day (UTC): where in the day, and how many seconds and late trades."""
    day = F.to_date(F.timestamp_millis("second_ms"))
    return (
        seconds.groupBy(day.alias("date"))
        .agg(
            F.min("second_ms").alias("first_ms"),
            F.max("second_ms").alias("last_ms"),
            F.count("*").alias("seconds"),
            F.sum("late").alias("late"),
            F.max("late_ms").alias("late_ms"),
            F.max("closed_by").alias("closed_by"),
        )
        .collect()
    )


def _of(table: DataFrame, seconds: DataFrame, days: list[Any]) -> DataFrame:
    """The rows of a table in these seconds, with `second_ms`. Files outside their days and times are not opened."""
    time = F.col("timestamp")
    ranges: list[Column] = [
        (F.col("date") == F.lit(day["date"]))
        & (time >= F.timestamp_millis(F.lit(day["first_ms"])))
        & (time < F.timestamp_millis(F.lit(day["last_ms"] + WIDTH_MS)))
        for day in days
    ]
    rows = table.filter(reduce(lambda one, other: one | other, ranges)).withColumn("second_ms", late.second_ms())
    return rows.join(seconds, ["exchange", "symbol", "second_ms"], "left_semi")
