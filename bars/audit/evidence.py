"""What bars are recomputed from: the records of the topic while it holds them, else the rows of the archive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.audit.proof import time_text
from bars.late import before, unread
from bars.parse import parse
from bars.recovery.checkpoint import Batch, last_committed
from bars.recovery.identity import checkpoint_of, tied_to
from bars.source import kafka_table, topic_id
from bars.tables import REJECTED, TRADES
from bars.topic import Positions, Reach, SourceError, reach
from market.bar import WIDTH_MS
from market.settings import Settings
from market.trade import CONFLICT, EXCHANGES, SYMBOL, Trade, read_record

_COLUMNS = (
    *("exchange", "symbol", "trade_id", "time_ms", "price", "quantity", "is_buyer_maker"),
    *("offset", "index", "kafka_ms", "is_rejected"),
)


class AuditError(RuntimeError):
    """The audit cannot be done. The message says why, and what to do."""


class Placed(NamedTuple):
    """A trade, and where it stands in its partition."""

    position: tuple[int, int]
    trade: Trade


@dataclass(frozen=True)
class Evidence:
    """The elements that the bars query has consumed."""

    source: str
    why: str
    is_topic: bool
    has_topic: bool
    """Whether the topic can be asked for what has come since: it answers, and is the one that was read."""
    elements: DataFrame
    """Trades and rejected elements: exchange and symbol (both empty where an element has none that is valid),
    trade_id, time_ms, price, quantity, is_buyer_maker, offset, index, kafka_ms, is_rejected. Of a rejected one the
    other fields may be anything."""
    trades_of: Callable[[Sequence[int], Sequence[int]], list[Placed]]
    """The trades of some seconds since the epoch, and all that bear some ids, be they of other seconds; read by plain
    Python as far as there is something to read."""


def evidence(
    spark: SparkSession, settings: Settings, batch: Batch, from_ms: int | None, *, patience_s: float = 60
) -> Evidence:
    """What the bars query has consumed up to this batch, for bars of `from_ms` and later, or all.

    Raises `AuditError` where neither the topic nor the archive has it.
    """
    until = batch.offsets[settings.kafka_topic]
    reached: Reach | None = None
    try:
        if not (problem := _another(settings)):
            reached = reach(settings, from_ms)
            problem = _deleted(reached, from_ms)
    except SourceError as error:
        problem = str(error)
    if reached and not problem:
        since = f"all trades since {time_text(from_ms)}" if from_ms is not None else "every record"
        return _of_topic(spark, settings, reached.starts, until, f"it still holds {since}")
    _wait_for_archive(settings, until, problem, reached, patience_s)
    return _of_archive(spark, settings, until, problem, has_topic=reached is not None)


def _another(settings: Settings) -> str:
    """How the topic is another one than the bars query has read; nothing where it is the same."""
    read = tied_to(settings).get("topic_id")
    if read is None or (now := topic_id(settings)) == read:
        return ""
    return (
        f"the topic {settings.kafka_topic} at {settings.bootstrap} is not the one that the bars query has read (its id "
        f"is {now}, it was {read})"
    )


def _deleted(reached: Reach, from_ms: int | None) -> str:
    """Which records the topic lacks; nothing where it has all that is asked for."""
    cut = {number: range_.start for number, range_ in sorted(reached.holding.items()) if range_.start > 0}
    if not cut or (from_ms is not None and reached.since_ms is not None and reached.since_ms <= from_ms):
        return ""
    partition, offset = next(iter(cut.items()))
    return f"partition {partition} of the topic begins at offset {offset:,}: what was before is deleted"


def _of_topic(spark: SparkSession, settings: Settings, since: Positions, until: Positions, why: str) -> Evidence:
    records = kafka_table(spark, settings, since, until)
    tolerance = settings.future_tolerance
    elements = (
        parse(records, future_tolerance_ms=tolerance)
        .withColumn("is_rejected", F.col("reason").isNotNull())
        .filter(F.col("is_rejected") | ~F.col("is_heartbeat"))
        .withColumn("kafka_ms", F.unix_millis("kafka_time"))
    )

    def trades_of(seconds: Sequence[int], ids: Sequence[int]) -> list[Placed]:
        # A record of a trade in that second holds the second's digits, unless it writes characters as escapes.
        text = F.col("value").cast("string")
        wanted = text.rlike("|".join((*map(str, seconds), r"\\u")))
        if ids:
            borne = F.regexp_extract_all(text, F.lit('"trade_id"[^0-9]*([0-9]+)'))
            wanted |= F.arrays_overlap(borne, F.array(*(F.lit(str(number)) for number in ids)))
        rows = records.filter(wanted).select("offset", "value", F.unix_millis("timestamp").alias("kafka_ms")).collect()
        return [
            Placed((row["offset"], index), element)
            for row in rows
            for index, element in enumerate(read_record(bytes(row["value"]), row["kafka_ms"], tolerance))
            if isinstance(element, Trade) and (element.timestamp // 1_000 in seconds or element.trade_id in ids)
        ]

    return Evidence(f"topic {settings.kafka_topic}", why, True, True, _shaped(elements), trades_of)


def _of_archive(spark: SparkSession, settings: Settings, until: Positions, why: str, *, has_topic: bool) -> Evidence:
    def table(path: Path) -> DataFrame:
        ours = F.col("topic") == settings.kafka_topic
        return spark.read.format("delta").load(str(path)).filter(ours & before(until))

    trades = (
        table(TRADES.path(settings))
        .withColumn("time_ms", F.unix_millis("timestamp"))
        .withColumn("kafka_ms", F.unix_millis("kafka_time"))
        .withColumn("is_rejected", F.lit(False))
    )
    rejected = _parsed_again(table(REJECTED.path(settings)))

    def trades_of(seconds: Sequence[int], ids: Sequence[int]) -> list[Placed]:
        wanted = F.unix_seconds("timestamp").isin(list(seconds)) | F.col("trade_id").isin(list(ids))
        return [Placed((row["offset"], row["index"]), _trade(row)) for row in trades.filter(wanted).collect()]

    elements = _shaped(trades).unionByName(_shaped(rejected))
    return Evidence(f"archive {TRADES.path(settings)}", why, False, has_topic, elements, trades_of)


def _parsed_again(rejected: DataFrame) -> DataFrame:
    """The rejected elements with what can be read of them. That each is one has been decided when it was archived."""
    place = ["topic", "partition", "offset"]
    # A copy in conflict, which the bars query adds, is in `trades` as well, as the element that it is.
    own = rejected.filter(F.col("reason") != CONFLICT)
    records = own.groupBy(*place).agg(F.any_value("kafka_time").alias("timestamp"), F.any_value("raw").alias("value"))
    elements = parse(records, future_tolerance_ms=0).withColumn("number", F.coalesce("index", F.lit(-1)))
    kept = own.select(*place, F.coalesce("index", F.lit(-1)).alias("number")).distinct()
    return (
        elements.join(kept, [*place, "number"], "left_semi")
        .withColumn("kafka_ms", F.unix_millis("kafka_time"))
        .withColumn("is_rejected", F.lit(True))
    )


def _shaped(elements: DataFrame) -> DataFrame:
    has_symbol = F.coalesce(
        F.col("exchange").isin(*EXCHANGES) & F.col("symbol").rlike(rf"\A(?:{SYMBOL})\z"), F.lit(False)
    )
    names = {name: F.when(has_symbol, F.col(name)).otherwise("").alias(name) for name in ("exchange", "symbol")}
    return elements.select(*(names.get(name, F.col(name)) for name in _COLUMNS))


def _trade(row: Any) -> Trade:
    return Trade(
        row["exchange"],
        row["symbol"],
        f"{row['price']:f}",
        f"{row['quantity']:f}",
        round(row["timestamp"].timestamp() * 1_000),
        row["trade_id"],
        row["is_buyer_maker"],
    )


def _wait_for_archive(
    settings: Settings, until: Positions, problem: str, reached: Reach | None, patience_s: float
) -> None:
    """Returns once the archive has read what the bars query has."""
    checkpoint, path = checkpoint_of(settings, "archive"), TRADES.path(settings)
    deadline = time.monotonic() + patience_s
    while True:
        batch = last_committed(checkpoint)
        if batch is None or not (path / "_delta_log").is_dir():
            raise AuditError(
                f"{problem}; and there is no archive {path} to read instead (QUERIES without archive). "
                + _way_out(reached)
            )
        short = unread(batch, settings.kafka_topic, until)
        if not short:
            return
        if time.monotonic() > deadline:
            partition, (has, needs) = next(iter(short.items()))
            raise AuditError(
                f"{problem}; and the archive {path} has read partition {partition} up to offset {has:,}, the bars "
                f"query up to {needs:,}. Run jobs/ohlcv.py with QUERIES=bars,archive until it has "
                "caught up, then this again"
            )
        time.sleep(0.5)


def _way_out(reached: Reach | None) -> str:
    if reached is None:
        return "Start Kafka, or say where it is with KAFKA_BOOTSTRAP"
    if reached.since_ms is None:
        return "What the topic has deleted cannot be audited any more"
    since_ms = -(-reached.since_ms // WIDTH_MS) * WIDTH_MS
    return f"What the topic still holds can be audited with --from {time_text(since_ms).replace(' ', 'T')}"
