"""The tables, and the streaming queries that write them: the only place that writes.

Exactly once: a batch that Spark repeats after a crash holds the same records, and Delta skips a write whose
transaction (query id, batch id) it has already committed. Both come from the checkpoint, so checkpoint and tables
belong together (`bars/pairing.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from bars.aggregate import COLUMNS
from bars.checkpoint import query_id
from market.settings import Settings

log = logging.getLogger(__name__)

BatchWriter = Callable[[DataFrame, int], None]


@dataclass(frozen=True)
class Table:
    """A table: its folder's name and its columns, the last of which partitions it."""

    name: str
    columns: dict[str, str]

    def path(self, settings: Settings) -> Path:
        """Where the table lies."""
        return settings.tables / self.name


_POSITION = {
    "topic": "string",
    "partition": "int",
    "offset": "bigint",
    "index": "int",
    "kafka_time": "timestamp",
}
BARS = Table("bars_1s", COLUMNS)
TRADES = Table(
    "trades",
    {
        "exchange": "string",
        "symbol": "string",
        "timestamp": "timestamp",
        "trade_id": "bigint",
        "price": "decimal(18,8)",
        "quantity": "decimal(19,8)",
        "is_buyer_maker": "boolean",
        **_POSITION,
        "date": "date",
    },
)
REJECTED = Table("rejected_trades", {**_POSITION, "raw": "binary", "reason": "string", "date": "date"})

TABLES: Mapping[str, tuple[Table, ...]] = {"bars": (BARS,), "archive": (TRADES, REJECTED)}
"""The tables each query writes."""

_PROPERTIES = {
    "delta.appendOnly": "true",
    "delta.checkpointInterval": "100",  # a checkpoint is written inside a batch: seldom
    "delta.logRetentionDuration": "interval 1 day",
    "delta.deletedFileRetentionDuration": "interval 1 day",
    "delta.dataSkippingNumIndexedCols": "3",
    "delta.enableDeletionVectors": "false",  # every reader of Delta can read the tables
}


_KINDS = {"bigint": "long", "int": "integer"}
"""Types that the Delta protocol calls by other names than Spark."""


def create_tables(settings: Settings) -> None:
    """Creates the Delta tables of the configured queries that are not there yet.

    Without Spark: that takes milliseconds instead of seconds.
    """
    for table in (table for query in settings.queries for table in TABLES[query]):
        if table is BARS and settings.bar_format == "parquet":
            continue  # Spark's sink creates it
        DeltaTable.create(
            table.path(settings),
            Schema([Field(name, PrimitiveType(_KINDS.get(kind, kind))) for name, kind in table.columns.items()]),
            mode="ignore",
            partition_by="date",
            configuration=_PROPERTIES,
            raise_if_key_not_exists=False,
        )


def write_bars(bars: DataFrame, settings: Settings, checkpoint: Path, *, available_now: bool) -> StreamingQuery:
    """Starts the query that appends finished bars to `bars_1s`."""
    writer = _writer(bars, "bars", checkpoint, settings.trigger_interval, available_now).outputMode("append")
    path = str(BARS.path(settings))
    if settings.bar_format == "parquet":
        return writer.format("parquet").option("path", path).partitionBy("date").start()
    return writer.foreachBatch(bars_writer(BARS.path(settings), checkpoint)).start()


def write_archive(elements: DataFrame, settings: Settings, checkpoint: Path, *, available_now: bool) -> StreamingQuery:
    """Starts the query that appends every parsed element (`bars.parse.parse`) to `trades` or `rejected_trades`."""
    writer = _writer(elements, "archive", checkpoint, settings.archive_interval, available_now)
    return writer.foreachBatch(archive_writer(TRADES.path(settings), REJECTED.path(settings), checkpoint)).start()


def bars_writer(path: Path, checkpoint: Path) -> BatchWriter:
    """Appends a batch of bars once, whether Spark runs the batch once or again after a crash."""

    @_briefly
    def write(batch: DataFrame, batch_id: int) -> None:
        # Counting runs the whole plan in every case, also where the write below is skipped or there is nothing to
        # write: Spark requires each batch to commit its state.
        batch.persist()
        try:
            if batch.count():
                _append(batch, path, checkpoint, batch_id)
        finally:
            batch.unpersist()

    return write


def archive_writer(trades_path: Path, rejected_path: Path, checkpoint: Path) -> BatchWriter:
    """Appends a batch's trades and rejected elements once, each to its table; heartbeats go nowhere."""

    @_briefly
    def write(batch: DataFrame, batch_id: int) -> None:
        is_rejected = F.col("reason").isNotNull()
        kept = (
            batch.filter(is_rejected | ~F.col("is_heartbeat"))
            .withColumn("raw", F.when(is_rejected, F.col("raw")))
            .persist()
        )
        try:
            counts = {row["reason"]: row["count"] for row in kept.groupBy("reason").count().collect()}
            if counts.pop(None, 0):
                trades = kept.filter(~is_rejected).withColumn("timestamp", F.col("event_time"))
                _append(_shaped(trades, TRADES, F.col("event_time")), trades_path, checkpoint, batch_id)
            if counts:
                rejected = kept.filter(is_rejected)
                _append(_shaped(rejected, REJECTED, F.col("kafka_time")), rejected_path, checkpoint, batch_id)
                log.warning("rejected %s, see %s", counts, rejected_path)
        finally:
            kept.unpersist()

    return write


_INTERRUPTIONS = (
    "java.lang.InterruptedException",
    "java.io.InterruptedIOException",
    "java.nio.channels.ClosedByInterruptException",
)


class WriteError(RuntimeError):
    """A batch could not be written. The message is the beginning of what the engine said."""


def _briefly(write: BatchWriter) -> BatchWriter:
    """The writer, its errors in few words.

    Spark looks in a failed writer's message for the marks of an interruption (PROXY_ERROR in Spark 4.2's
    StreamExecution) with a pattern that recurses on every character: on a page of stack traces it overflows the
    stack, and the error itself is lost. So the message is cut, but keeps the marks.
    """

    def wrapped(batch: DataFrame, batch_id: int) -> None:
        try:
            write(batch, batch_id)
        except Exception as error:
            text = str(error)
            mark = next((name for name in _INTERRUPTIONS if name in text), None)
            head = f"py4j.protocol.Py4JJavaError: An error occurred while calling {mark}: " if mark else ""
            raise WriteError(head + text[:500]) from None

    return wrapped


def _writer(frame: DataFrame, name: str, checkpoint: Path, interval_ms: int, available_now: bool) -> DataStreamWriter:
    # A pool of its own for each query: under the fair scheduler, neither waits for the other.
    frame.sparkSession.sparkContext.setLocalProperty("spark.scheduler.pool", name)
    writer = frame.writeStream.queryName(name).option("checkpointLocation", str(checkpoint))
    if available_now:
        return writer.trigger(availableNow=True)
    return writer.trigger(processingTime=f"{interval_ms} milliseconds")


def _shaped(frame: DataFrame, table: Table, time: object) -> DataFrame:
    return frame.withColumn("date", F.to_date(time)).select(  # type: ignore[arg-type]
        *(F.col(name).cast(kind).alias(name) for name, kind in table.columns.items())
    )


def _append(frame: DataFrame, path: Path, checkpoint: Path, batch_id: int) -> None:
    (
        frame.coalesce(1)  # one file per commit
        .write.format("delta")
        .mode("append")
        .option("txnAppId", query_id(checkpoint))
        .option("txnVersion", batch_id)
        .save(str(path))
    )
