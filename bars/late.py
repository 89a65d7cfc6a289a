"""Which trades came too late for their bars: a pure function of what the bars query's checkpoint says.

Batch N reads, of each partition, the records from where batch N-1 ended, and leaves out a trade if the watermark of
batch N-1 has reached the end of its second (Spark 4.2, IncrementalExecution: rows are late by the watermark of the
batch before, while bars are closed by that of the batch itself; so batch 0 leaves out nothing). Spark keeps the newest
batches only. Of a record that an older one has read it is not known whether it was late, but if it was, then the
watermark of any later batch has passed its second as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.recovery.checkpoint import Batch
from bars.topic import Positions
from market.bar import WIDTH_MS

NEVER_MS = 0
"""A watermark that no trade is late by."""


@dataclass(frozen=True)
class Stretch:
    """The records of one partition from `start` up to `end` (without it), all late or not by one watermark."""

    partition: int
    start: int
    end: int
    watermark_ms: int
    """Trades of seconds that end at or before this were late, or may have been."""
    closed_by: int
    """The batch that had this watermark: what the bars of these seconds hold, it or one before has read."""
    is_known: bool
    """Whether those trades were late for certain. Else the watermark is one that came later."""


@dataclass
class Tally:
    """What the amend query has found since its start. Its own thread counts; others read."""

    trades: int = 0
    """Elements of the archive that came too late for their bars, copies among them."""
    latest_ms: int = 0
    """By how much at most: the watermark that left a trade out, less the end of its second."""
    amended: int = 0
    """Bars that got a further revision."""
    equal: int = 0
    """Seconds that were looked at and were as they should be."""
    refused: int = 0
    """Bars with trades that the archive lacks: amended, they would lose these."""


def stretches(batches: Sequence[Batch], topic: str) -> list[Stretch]:
    """All that the query has read, given the finished batches that are still known, oldest first."""
    found: list[Stretch] = []
    before: Batch | None = None
    for batch in batches:
        follows = before is not None and before.id == batch.id - 1
        if batch.id == 0:
            watermark_ms, closed_by, is_known = NEVER_MS, -1, True
        elif follows and before is not None:
            watermark_ms, closed_by, is_known = before.watermark_ms, before.id, True
        else:  # a batch at or before this one has read it, and was late by a watermark no higher than this one's
            watermark_ms, closed_by, is_known = batch.watermark_ms, batch.id, False
        starts = before.offsets.get(topic, {}) if before else {}
        for partition, end in batch.offsets.get(topic, {}).items():
            start = starts.get(partition, 0)
            if start < end:
                found.append(Stretch(partition, start, end, watermark_ms, closed_by, is_known))
        before = batch
    return found


@dataclass(frozen=True)
class Span:
    """Some records of one partition: from offset `start` up to `end` (without it), and their earliest trade."""

    start: int
    end: int
    earliest_ms: int


def possible(stretches: Sequence[Stretch], spans: Mapping[int, Span]) -> list[Stretch]:
    """Those stretches by which a record of the spans (per partition) may have been late."""

    def concerns(stretch: Stretch, span: Span | None) -> bool:
        if span is None or stretch.end <= span.start or span.end <= stretch.start:
            return False
        return stretch.watermark_ms >= span.earliest_ms - span.earliest_ms % WIDTH_MS + WIDTH_MS

    return [stretch for stretch in stretches if concerns(stretch, spans.get(stretch.partition))]


def unread(batch: Batch | None, topic: str, needed: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """The partitions that a query has not read up to the offsets needed: how far it has, and how far it must."""
    read = batch.offsets.get(topic, {}) if batch else {}
    return {
        partition: (read.get(partition, 0), offset)
        for partition, offset in sorted(needed.items())
        if read.get(partition, 0) < offset
    }


def suspects(trades: DataFrame, stretches: Sequence[Stretch]) -> DataFrame:
    """The seconds of trades that were late, or may have been: exchange, symbol, second_ms, and

    late (how many were for certain), late_ms (by how much at most, the watermark less the second's end; null where
    none was for certain) and closed_by (the newest batch that had closed the second).

    `trades` has exchange, symbol, timestamp, partition and offset.
    """
    rows = trades.select("exchange", "symbol", "partition", "offset", second_ms().alias("second_ms"))
    table = F.broadcast(_table(trades.sparkSession, stretches))
    inside = (
        (F.col("partition") == F.col("of")) & (F.col("offset") >= F.col("start")) & (F.col("offset") < F.col("end"))
    )
    late_ms = F.col("watermark_ms") - (F.col("second_ms") + F.lit(WIDTH_MS))
    return (
        rows.join(table, inside)
        .filter(late_ms >= 0)
        .groupBy("exchange", "symbol", "second_ms")
        .agg(
            F.count(F.when(F.col("is_known"), 1)).alias("late"),
            F.max(F.when(F.col("is_known"), late_ms)).alias("late_ms"),
            F.max("closed_by").alias("closed_by"),
        )
    )


def before(ends: Positions) -> Column:
    """Whether the record of a row lies before these ends of its partition."""
    parts = [(F.col("partition") == number) & (F.col("offset") < offset) for number, offset in ends.items()]
    return reduce(lambda one, other: one | other, parts, F.lit(False))


def second_ms() -> Column:
    """Start of the second of `timestamp`, milliseconds since the epoch."""
    time_ms = F.unix_millis("timestamp")
    return time_ms - time_ms % F.lit(WIDTH_MS)


def _table(spark: SparkSession, stretches: Sequence[Stretch]) -> DataFrame:
    """The stretches as a frame. As text of SQL, because from Python objects it would be a job of its own."""
    rows = [
        f"({part.partition}, {part.start}L, {part.end}L, {part.watermark_ms}L, {part.closed_by}L, {part.is_known})"
        for part in stretches
    ] or ["(-1, 0L, 0L, 0L, 0L, false)"]
    columns = "of, start, end, watermark_ms, closed_by, is_known"
    return spark.sql(f"SELECT * FROM VALUES {', '.join(rows)} AS stretches({columns})")
