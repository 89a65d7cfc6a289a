"""The audit: recomputes the bars of the topic in batch, holds the table to them, and a sample to plain Python.

It covers exactly what the bars query has finished: the records up to the offsets of its last committed batch, and the
seconds that this batch's watermark has closed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bars import pairing
from bars.aggregate import COLUMNS, to_bars
from bars.checkpoint import Batch, CheckpointError, last_committed
from bars.parse import parse, trades, valid
from bars.sink import BARS
from bars.source import kafka_table
from market.bar import WIDTH_MS, Bar, bars_of
from market.settings import Settings
from market.trade import Trade, read_record

KEY = ("exchange", "symbol", "timestamp")
VALUES = tuple(name for name in COLUMNS if name not in (*KEY, "revision", "date"))
SHOWN = 20
"""Differences that are told one by one."""


@dataclass
class Proof:
    """What the audit found. Counts are of record elements, of bars, and of sampled bars."""

    topic: str
    batch: int
    watermark_ms: int
    trades: int = 0
    heartbeats: int = 0
    rejected: int = 0
    in_bars: int = 0
    open: int = 0
    """Trades of seconds that the watermark has not closed."""
    bars: int = 0
    expected_bars: int = 0
    missing: int = 0
    """Ids that no trade bears, in the bars that lack some."""
    surplus: int = 0
    """Trades beyond one for each id, in the bars that have more: some came twice."""
    repeated: int = 0
    """Trades in the topic whose exchange, symbol and id an earlier one bears."""
    doubled: int = 0
    """Rows of the table beyond one for each bar and revision."""
    differences: list[str] = field(default_factory=list)
    different: int = 0
    sampled: int = 0
    sample_differences: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether the table is what the trades say."""
        equal = not self.different and not self.doubled and not self.sample_differences
        return equal and self.trades == self.in_bars + self.open

    def text(self) -> str:
        """The proof for a person to read."""
        lines = [
            f"topic {self.topic}, up to batch {self.batch} of the bars query, watermark {_time(self.watermark_ms)}",
            f"elements: {self.trades:,} trades, {self.heartbeats:,} heartbeats, {self.rejected:,} rejected",
            f"trades:   {self.trades:,} = {self.in_bars:,} in bars + {self.open:,} in seconds still open"
            + (
                ""
                if self.trades == self.in_bars + self.open
                else f"  WRONG by {self.trades - self.in_bars - self.open:,}"
            ),
            f"bars:     {self.bars:,} in the table, {self.expected_bars:,} recomputed, {self.different:,} different, "
            f"{self.doubled:,} rows twice",
            f"ids:      {self.missing:,} missing and {self.surplus:,} too many inside bars, {self.repeated:,} repeated",
            f"sample:   {self.sampled:,} bars recomputed in plain Python, {len(self.sample_differences):,} different",
            *(f"  {difference}" for difference in (*self.differences, *self.sample_differences)[: 2 * SHOWN]),
            "the table equals the trades" if self.holds else "THE TABLE DOES NOT EQUAL THE TRADES",
        ]
        return "\n".join(lines)


def reconcile(spark: SparkSession, settings: Settings, *, sample: int, seed: int | None) -> Proof:
    """Holds `bars_1s` to the topic. Reads only; raises `CheckpointError` before the first finished batch."""
    checkpoint = pairing.checkpoint_of(settings, "bars")
    batch = last_committed(checkpoint)
    if batch is None:
        raise CheckpointError(f"no batch of the bars query is finished in {checkpoint}: run jobs/ohlcv.py first")
    records = kafka_table(spark, settings, batch.offsets[settings.kafka_topic])
    proof = Proof(settings.kafka_topic, batch.id, batch.watermark_ms)
    elements = records.transform(parse, future_tolerance_ms=settings.future_tolerance)
    _count_elements(proof, elements, batch)
    rows = read_bars(spark, settings).filter(_closed(batch)).cache()
    proof.doubled = rows.count() - rows.select(*KEY, "revision").distinct().count()
    table = current(rows).cache()
    expected = elements.transform(valid).transform(to_bars, watermark_delay_ms=1).filter(_closed(batch)).cache()
    _compare(proof, table, expected)
    _sample(proof, table, records, settings, sample=sample, seed=seed)
    return proof


def read_bars(spark: SparkSession, settings: Settings) -> DataFrame:
    """Every row of `bars_1s`, all revisions."""
    return spark.read.format(settings.bar_format).load(str(BARS.path(settings)))


def current(bars: DataFrame) -> DataFrame:
    """The bars that count, as `market.bar.current` says: of each key, the row with the highest revision."""
    newest = F.max_by(F.struct("*"), F.col("revision")).alias("bar")
    return bars.groupBy(*KEY).agg(newest).select("bar.*")


def _closed(batch: Batch) -> Column:
    return F.unix_millis("timestamp") + WIDTH_MS <= batch.watermark_ms


def _count_elements(proof: Proof, elements: DataFrame, batch: Batch) -> None:
    kind = (
        F.when(F.col("reason").isNotNull(), "rejected")
        .when(F.col("is_heartbeat"), "heartbeats")
        .when(F.floor(F.col("time_ms") / WIDTH_MS) * WIDTH_MS + WIDTH_MS <= batch.watermark_ms, "closed")
        .otherwise("open")
    )
    counts = {row["kind"]: row["count"] for row in elements.groupBy(kind.alias("kind")).count().collect()}
    proof.rejected, proof.heartbeats, proof.open = (counts.get(name, 0) for name in ("rejected", "heartbeats", "open"))
    proof.trades = counts.get("closed", 0) + proof.open
    proof.repeated = proof.trades - trades(elements).select("exchange", "symbol", "trade_id").distinct().count()


def _compare(proof: Proof, table: DataFrame, expected: DataFrame) -> None:
    missing = F.col("missing_trades")
    totals = table.agg(
        F.count("*"), F.sum("trade_count"), F.sum(F.greatest(missing, F.lit(0))), F.sum(F.greatest(-missing, F.lit(0)))
    ).first()
    assert totals is not None
    proof.bars, proof.in_bars, proof.missing, proof.surplus = (int(total or 0) for total in totals)
    proof.expected_bars = expected.count()
    there, told = F.struct(*(f"there.{name}" for name in VALUES)), F.struct(*(f"told.{name}" for name in VALUES))
    joined = table.alias("there").join(expected.alias("told"), list(KEY), "full_outer")
    different = joined.filter(~there.eqNullSafe(told)).select(*KEY, there.alias("there"), told.alias("told"))
    proof.different = different.count()
    for row in different.orderBy(*KEY).limit(SHOWN).collect():
        proof.differences.append(_difference(row, row["there"].asDict(), row["told"].asDict()))


def _difference(key: Any, there: dict[str, Any], told: dict[str, Any]) -> str:
    name = f"{key['exchange']} {key['symbol']} {key['timestamp']:%Y-%m-%d %H:%M:%S}"
    if there["trade_count"] is None:
        return f"{name}: not in the table, {told['trade_count']} trades in the topic"
    if told["trade_count"] is None:
        return f"{name}: in the table with {there['trade_count']} trades, not in the topic"
    changes = [
        f"{column} {there[column]} should be {told[column]}" for column in VALUES if there[column] != told[column]
    ]
    return f"{name}: {', '.join(changes)}"


def _sample(
    proof: Proof, table: DataFrame, records: DataFrame, settings: Settings, *, sample: int, seed: int | None
) -> None:
    """Recomputes whole seconds from the raw bytes, with nothing of Spark's parsing or aggregation in between."""
    seconds = [row["second"] for row in table.select(F.unix_seconds("timestamp").alias("second")).distinct().collect()]
    chosen = sorted(random.Random(seed).sample(sorted(seconds), min(sample, len(seconds))))
    if not chosen:
        return
    # A record of a trade in that second holds the second's digits, however it writes its timestamp.
    text = F.col("value").cast("string")
    found = records.filter(text.rlike("|".join(str(second) for second in chosen)))
    rows = found.select("value", F.unix_millis("timestamp").alias("kafka_ms")).collect()
    elements = [
        element
        for row in rows
        for element in read_record(bytes(row["value"]), row["kafka_ms"], settings.future_tolerance)
    ]
    inside = [element for element in elements if isinstance(element, Trade) and element.timestamp // 1000 in chosen]
    expected = {_key(bar): bar for bar in bars_of(inside)}
    there = {_key(bar): bar for bar in map(_bar, table.filter(F.unix_seconds("timestamp").isin(chosen)).collect())}
    proof.sampled = len(expected)
    for key in sorted(expected.keys() | there.keys()):
        if expected.get(key) != there.get(key):
            proof.sample_differences.append(f"plain Python: {expected.get(key)}, table: {there.get(key)}")


def _bar(row: Any) -> Bar:
    values = row.asDict() | {"timestamp": int(row["timestamp"].timestamp() * 1000), "revision": 0}
    del values["date"]
    return Bar(**values)


def _key(bar: Bar) -> tuple[str, str, int]:
    return bar.exchange, bar.symbol, bar.timestamp


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
