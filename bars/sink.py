"""The streaming queries that write the tables, and how rows get into them.

Exactly once: a batch that Spark repeats after a crash holds the same records, and is skipped where its transaction
(query id, batch id) is in the table already. Both come from the checkpoint, so checkpoint and tables belong together
(`bars/recovery/pairing.py`).

Bars pass through the driver (`bars/append.py`): a second of trades is one row. The archive is written by Spark's tasks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as compute
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.streaming.query import StreamingQuery
from pyspark.sql.streaming.readwriter import DataStreamWriter

from bars.aggregate import closed_bars, gathered, spread, streamed_bars, to_bars
from bars.append import append
from bars.kept import kept
from bars.locks import commit_lock, held_by_jvm
from bars.recovery.checkpoint import query_id
from bars.tables import BARS, REJECTED, TRADES, Table
from bars.unique import conflicts, unique
from market.settings import Settings
from market.trade import CONFLICT

log = logging.getLogger(__name__)

BatchWriter = Callable[[DataFrame, int], None]

Market = tuple[str, str]
"""Exchange and symbol."""


@dataclass(frozen=True)
class Repeats:
    """The elements of a batch that bear the id of an earlier one, of one exchange and symbol; they are in no bar."""

    exchange: str
    symbol: str
    copies: int
    """Those with the content of the one that counts."""
    conflicts: int
    """Those with other content. Each is in `rejected_trades` too."""


Tell = Callable[[Sequence[Repeats]], object]
"""Takes what repeats itself in a batch, once it is written. A batch that Spark repeats is told again."""


def bars_stream(elements: DataFrame, settings: Settings) -> DataFrame:
    """What `write_bars` writes, made of the valid elements of a stream (`bars.parse.valid`)."""
    bars = streamed_bars if settings.bar_format == "parquet" else gathered
    return elements.transform(bars, watermark_delay_ms=settings.watermark_delay)


def write_bars(
    frame: DataFrame, settings: Settings, checkpoint: Path, *, available_now: bool, tell: Tell | None = None
) -> StreamingQuery:
    """Starts the query that appends finished bars to `bars_1s`, of `bars_stream`.

    In Parquet nobody is told of repeats, and conflicts are not recorded.
    """
    writer = writer_of(frame, "bars", checkpoint, settings.trigger_interval, available_now).outputMode("append")
    path = BARS.path(settings)
    if settings.bar_format == "parquet":
        return writer.format("parquet").option("path", str(path)).partitionBy("date").start()
    write = bars_writer(path, REJECTED.path(settings), checkpoint, topic=settings.kafka_topic, tell=tell)
    return writer.foreachBatch(write).start()


def write_archive(elements: DataFrame, settings: Settings, checkpoint: Path, *, available_now: bool) -> StreamingQuery:
    """Starts the query that appends every parsed element (`bars.parse.parse`) to `trades` or `rejected_trades`."""
    writer = writer_of(elements, "archive", checkpoint, settings.archive_interval, available_now)
    return writer.foreachBatch(archive_writer(TRADES.path(settings), REJECTED.path(settings), checkpoint)).start()


def bars_writer(
    bars_path: Path, rejected_path: Path, checkpoint: Path, *, topic: str, tell: Tell | None = None
) -> BatchWriter:
    """Appends the bars of a batch of `gathered` once, whether Spark runs the batch once or again after a crash.

    Elements in conflict with an earlier one are appended to `rejected_trades`, once too, before the bars. Their bytes
    and Kafka time are not carried along: the element stands in `trades` at the same position.

    No plan may hold the batch twice, in a join or a union: the second time Spark would not find it among what is
    persisted, and would run the stateful plan again.
    """

    @briefly
    def write(batch: DataFrame, batch_id: int) -> None:
        # Asking for the bars runs the whole plan in every case, also where they are in the table already or there are
        # none: Spark requires each batch to commit its state.
        with kept(batch):
            bars = batch.transform(closed_bars).toArrow()
            copies = _copies(bars)
            finished = bars.filter(compute.field("copies") == 0).drop_columns("copies")
            lost = dict.fromkeys(copies, 0)
            if copies:
                mended, conflicting = bars_of_unique(batch.filter("copies > 0"), batch_id)
                finished, lost = pa.concat_tables([finished, mended]), lost | conflicting
            if finished.num_rows:
                append(finished, bars_path, app_id=query_id(checkpoint), version=batch_id)
            if copies and tell:
                tell([Repeats(*market, count - lost[market], lost[market]) for market, count in copies.items()])

    def bars_of_unique(batch: DataFrame, batch_id: int) -> tuple[pa.Table, dict[Market, int]]:
        with kept(unique(spread(batch), "window")) as once:
            has_conflicts = once.agg(F.max("is_conflict")).collect()[0][0]
            return to_bars(once).toArrow(), reject_conflicts(batch, batch_id) if has_conflicts else {}

    def reject_conflicts(batch: DataFrame, batch_id: int) -> dict[Market, int]:
        with kept(conflicts(spread(batch), "window")) as lost:
            counts = lost.groupBy("exchange", "symbol").count().collect()
            append_conflicts(lost, rejected_path, topic=topic, app_id=query_id(checkpoint), version=batch_id)
        log.warning("rejected %s, see %s", {CONFLICT: sum(row["count"] for row in counts)}, rejected_path)
        return {(row["exchange"], row["symbol"]): row["count"] for row in counts}

    return write


def _copies(bars: pa.Table) -> dict[Market, int]:
    """How many copies there are of trades of each exchange and symbol that has any."""
    sums = bars.select(["exchange", "symbol", "copies"]).group_by(["exchange", "symbol"]).aggregate([("copies", "sum")])
    return {(row["exchange"], row["symbol"]): row["copies_sum"] for row in sums.to_pylist() if row["copies_sum"]}


def _rejected(lost: DataFrame, topic: str) -> DataFrame:
    """Rows of `rejected_trades`, of trades in conflict with others; by the day of the trade, for lack of Kafka's."""
    known = {"topic": F.lit(topic), "kafka_time": F.lit(None), "raw": F.lit(None), "reason": F.lit(CONFLICT)}
    return _shaped(lost.withColumns(known), REJECTED, F.timestamp_millis("time_ms"))


def append_conflicts(lost: DataFrame, path: Path, *, topic: str, app_id: str, version: int) -> None:
    """Appends elements in conflict with an earlier one to `rejected_trades`, once for each (app_id, version)."""
    append(_rejected(lost, topic).toArrow(), path, app_id=app_id, version=version)


def append_revisions(bars: DataFrame, path: Path, *, app_id: str, version: int) -> None:
    """Appends amended bars, whose revisions are set, once for each (app_id, version). They pass through the driver."""
    append(bars.toArrow(), path, app_id=app_id, version=version)


def archive_writer(trades_path: Path, rejected_path: Path, checkpoint: Path) -> BatchWriter:
    """Appends a batch's trades and rejected elements once, each to its table; heartbeats go nowhere."""

    @briefly
    def write(batch: DataFrame, batch_id: int) -> None:
        is_rejected = F.col("reason").isNotNull()
        told = batch.filter(is_rejected | ~F.col("is_heartbeat")).withColumn("raw", F.when(is_rejected, F.col("raw")))
        with kept(told) as elements:
            counts = {row["reason"]: row["count"] for row in elements.groupBy("reason").count().collect()}
            if counts.pop(None, 0):
                trades = elements.filter(~is_rejected).withColumn("timestamp", F.col("event_time"))
                rows = _shaped(trades, TRADES, F.col("event_time"))
                save(rows, trades_path, app_id=query_id(checkpoint), version=batch_id)
            if counts:
                rows = _shaped(elements.filter(is_rejected), REJECTED, F.col("kafka_time"))
                save(rows, rejected_path, app_id=query_id(checkpoint), version=batch_id)
                log.warning("rejected %s, see %s", counts, rejected_path)

    return write


_INTERRUPTIONS = (
    "java.lang.InterruptedException",
    "java.io.InterruptedIOException",
    "java.nio.channels.ClosedByInterruptException",
)


class WriteError(RuntimeError):
    """A batch could not be written. The message is the beginning of what the engine said."""


def briefly(write: BatchWriter) -> BatchWriter:
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


def writer_of(frame: DataFrame, name: str, checkpoint: Path, interval_ms: int, available_now: bool) -> DataStreamWriter:
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


def save(frame: DataFrame, path: Path, *, app_id: str, version: int) -> None:
    """Appends any number of rows, by Spark's tasks, once for each (app_id, version)."""
    writer = frame.coalesce(1).write.format("delta").mode("append")  # one file per commit
    writer = writer.option("txnAppId", app_id).option("txnVersion", version)
    with held_by_jvm(frame.sparkSession, commit_lock(path)):
        writer.save(str(path))
