"""The audit: recomputes bars in batch, holds the table to them, a sample to plain Python, and amends what differs.

It judges what the bars query has finished: the seconds that the watermark of its last committed batch has closed. The
order in which things are looked at matters beside a job that runs: that batch first, then the table at one version,
then once more how far the query has read. So every judged bar is in the table, and every trade that a bar of this
version can hold, be it by an amendment of a moment ago, is among those that the bars are recomputed from.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from typing import Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.aggregate import to_bars
from bars.audit import gaps
from bars.audit.evidence import AuditError, Evidence, evidence
from bars.audit.proof import Account, Proof, time_text
from bars.audit.sample import sampled
from bars.audit.standing import Scope, put_right, read_bars, standing, version_of, wrong
from bars.compare import KEY, VALUES
from bars.kept import kept
from bars.parse import parse
from bars.recovery.checkpoint import Batch, last_committed
from bars.recovery.identity import check_identity, checkpoint_of, tied_to
from bars.source import gap_records, kafka_table
from bars.topic import SourceError, holding_of
from bars.unique import IDENTITY, position, unique
from market.bar import WIDTH_MS
from market.settings import Settings

KEPT = 1_000
"""Differences and amendments that are told, at most."""


def reconcile(
    spark: SparkSession,
    settings: Settings,
    *,
    check: bool,
    from_ms: int | None = None,
    to_ms: int | None = None,
    sample: int = 20,
    seed: int | None = None,
    patience_s: float = 10,
) -> Proof:
    """Holds `bars_1s` to the trades, for bars with from_ms ≤ start < to_ms; unless `check`, amends those that differ.

    With `check` it gives a job that runs `patience_s` to amend them. Raises `AuditError` where there is nothing to
    judge or to judge by, `PairingError` where checkpoint and tables are not of one start, and `CheckpointError` for a
    damaged checkpoint.
    """
    if settings.bar_format == "parquet" and not check:
        raise AuditError(
            "BAR_FORMAT=parquet: bars of Spark's file sink cannot be amended, for it has one revision only. "
            "Look at them with --check; to put them right, write them anew"
        )
    check_identity(settings)
    identity = tied_to(settings)
    settings = _as_read(settings, identity)
    batch = finished(settings)
    version = version_of(settings)
    found = evidence(spark, settings, finished(settings), from_ms)
    if not found.is_topic:
        from_ms, note = _since_archive(spark, settings, found, from_ms)
    proof = Proof(found.source, found.why, batch.id, batch.watermark_ms, from_ms, to_ms)
    if not found.is_topic and note:
        proof.notes.append(note)
    judged = _closed(batch.watermark_ms) & _within(F.unix_millis("timestamp"), from_ms, to_ms)
    with ExitStack() as stack:
        if found.is_topic:
            # Asked for several times, and each time would parse the whole topic again; too many for the memory.
            found = replace(found, elements=stack.enter_context(kept(found.elements, StorageLevel.DISK_ONLY)))
        told = found.elements.filter("NOT is_rejected").transform(unique).transform(to_bars)
        told = stack.enter_context(kept(told.filter(_within(F.unix_millis("timestamp"), from_ms, to_ms))))
        expected = told.filter(judged)
        table = stack.enter_context(kept(standing(read_bars(spark, settings, version).filter(judged))))
        different = stack.enter_context(kept(wrong(table, expected)))
        scope = Scope(judged, version, identity, check, found.is_topic, patience_s)
        outcome = stack.enter_context(kept(put_right(spark, settings, different, scope)))
        _consumed(proof, found.elements, told, batch.watermark_ms)
        _compared(proof, table, outcome)
        _missing(proof, spark, settings, found, expected)
        sampled(proof, spark, settings, found, table, judged, sample=sample, seed=seed)
    return proof


def _as_read(settings: Settings, identity: Mapping[str, str]) -> Settings:
    """The settings with what decided which trades are valid when the tables were written."""
    told = identity.get("future_tolerance")
    return replace(settings, future_tolerance=int(told.removesuffix("ms"))) if told else settings


def finished(settings: Settings) -> Batch:
    """The last finished batch of the bars query."""
    checkpoint = checkpoint_of(settings, "bars")
    batch = last_committed(checkpoint)
    if batch is None:
        raise AuditError(f"no batch of the bars query is finished in {checkpoint}: run jobs/ohlcv.py first")
    if settings.kafka_topic not in batch.offsets:
        raise AuditError(
            f"the bars query of {checkpoint} reads topic {', '.join(batch.offsets)}, not {settings.kafka_topic}: "
            "set KAFKA_TOPIC to it"
        )
    return batch


def _since_archive(
    spark: SparkSession, settings: Settings, found: Evidence, from_ms: int | None
) -> tuple[int | None, str]:
    """Where to begin: the archive's first day, where bars are older and nothing else was asked for."""
    days = [
        frame.agg(F.min("day")).first()
        for frame in (
            found.elements.filter("NOT is_rejected").select(F.floor(F.col("time_ms") / 86_400_000).alias("day")),
            read_bars(spark, settings).select(F.floor(F.unix_millis("timestamp") / 86_400_000).alias("day")),
        )
    ]
    archive, bars = (day[0] if day else None for day in days)
    if from_ms is not None or archive is None or bars is None or archive <= bars:
        return from_ms, ""
    from_ms = archive * 86_400_000
    return from_ms, f"the archive begins at {time_text(from_ms)}: older bars are not judged"


def _within(time_ms: Column, from_ms: int | None, to_ms: int | None) -> Column:
    start = time_ms >= from_ms if from_ms is not None else F.lit(True)
    return start & (time_ms < to_ms if to_ms is not None else F.lit(True))


def _closed(watermark_ms: int) -> Column:
    return F.unix_millis("timestamp") + WIDTH_MS <= watermark_ms


def _accounts(proof: Proof, frame: DataFrame, *columns: Column) -> list[tuple[Account, Any]]:
    rows = frame.groupBy("exchange", "symbol").agg(*columns).collect()
    return [(proof.accounts.setdefault((row["exchange"], row["symbol"]), Account()), row) for row in rows]


def _count_if(condition: Column) -> Column:
    return F.count(F.when(condition, 1))


def _consumed(proof: Proof, elements: DataFrame, told: DataFrame, watermark_ms: int) -> None:
    rejected = F.col("is_rejected")
    time_ms = F.when(rejected, F.col("kafka_ms")).otherwise(F.col("time_ms"))
    inside = elements.filter(_within(time_ms - time_ms % WIDTH_MS, proof.from_ms, proof.to_ms))
    for account, row in _accounts(proof, inside, F.count("*").alias("consumed"), _count_if(rejected).alias("rejected")):
        account.consumed, account.rejected = row["consumed"], row["rejected"]
    # Counted apart from the bars, so that the account can fail to add up.
    is_inside = _within(F.col("time_ms") - F.col("time_ms") % WIDTH_MS, proof.from_ms, proof.to_ms)
    borne = (
        elements.filter(~rejected)
        .withColumn("is_inside", is_inside.cast("int"))
        .groupBy(*IDENTITY)
        .agg((F.sum("is_inside") - F.min_by("is_inside", position())).alias("copies"))
    )
    for account, row in _accounts(proof, borne, F.sum("copies").alias("copies")):
        account.duplicates = row["copies"]
    open_trades = F.when(~_closed(watermark_ms), F.col("trade_count")).otherwise(0)
    for account, row in _accounts(proof, told, F.sum(open_trades).alias("open")):
        account.open = row["open"]
    if proof.total.duplicates:
        conflicts = elements.filter(~rejected).transform(unique).filter("is_conflict")
        start = F.col("time_ms") - F.col("time_ms") % WIDTH_MS
        for account, row in _accounts(
            proof, conflicts.filter(_within(start, proof.from_ms, proof.to_ms)), F.count("*").alias("conflicts")
        ):
            account.conflicts = row["conflicts"]


def _compared(proof: Proof, table: DataFrame, outcome: DataFrame) -> None:
    for account, row in _accounts(
        proof,
        table,
        F.count("*").alias("bars"),
        F.sum("trade_count").alias("trades"),
        _count_if(F.col("revision") > 0).alias("before"),
    ):
        account.bars, account.in_bars, account.equal, account.amended_before = (
            row["bars"],
            row["trades"],
            row["bars"],
            row["before"],
        )
    right, there, now = F.col("is_right"), F.col("there"), F.col("now")
    for account, row in _accounts(
        proof,
        outcome,
        _count_if(there.isNotNull()).alias("were"),
        _count_if(now.isNotNull()).alias("are"),
        _count_if(right).alias("right"),
        _count_if(~right).alias("wrong"),
        _count_if(there.isNotNull() & (F.col("revision") > 0)).alias("before"),
        F.coalesce(F.sum("there.trade_count"), F.lit(0)).alias("had"),
        F.coalesce(F.sum("now.trade_count"), F.lit(0)).alias("have"),
    ):
        account.bars += row["are"] - row["were"]
        account.in_bars += row["have"] - row["had"]
        account.equal -= row["were"]
        account.amended_before -= row["before"]
        account.amended_now, account.different = row["right"], row["wrong"]
    for row in outcome.filter(~right).orderBy(*KEY).limit(KEPT).collect():
        proof.differences.append(_difference(row, proof.source))
    for row in outcome.filter(right).orderBy(*KEY).limit(KEPT).collect():
        proof.amendments.append(f"{_name(row)}: revision {row['now_revision']}: {_changes(row, 'there', ' was ')}")


def _difference(row: Any, source: str) -> str:
    if row["told"] is None:
        return (
            f"{_name(row)}: in the table with {row['now']['trade_count']:,} trades, none of them in the {source}; "
            "the table is append-only, so that it stays"
        )
    if row["now"] is None:
        return f"{_name(row)}: not in the table, {row['told']['trade_count']:,} trades in the {source}"
    if row["now"] == row["told"]:
        return f"{_name(row)}: {row['now_copies']:,} rows of revision {row['now_revision']}"
    return f"{_name(row)}: {_changes(row, 'now', ' should be ')}"


def _changes(row: Any, side: str, word: str) -> str:
    """What differs between the bar of that side and what it should be."""
    if row[side] is None:
        return f"{row['told']['trade_count']:,} trades, was not in the table"
    pairs = [(name, row[side][name], row["told"][name]) for name in VALUES if row[side][name] != row["told"][name]]
    turned = pairs if side == "now" else [(name, told, was) for name, was, told in pairs]
    return (
        ", ".join(f"{name} {_plain(one)}{word}{_plain(other)}" for name, one, other in turned) or "stood more than once"
    )


def _plain(value: Any) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _name(row: Any) -> str:
    return f"{row['exchange']} {row['symbol']} {row['timestamp']:%Y-%m-%d %H:%M:%S}"


def _missing(proof: Proof, spark: SparkSession, settings: Settings, found: Evidence, expected: DataFrame) -> None:
    places, proof.places_left_out = gaps.broken(expected)
    if not places:
        return
    trades, rejected = gaps.borne(found.elements, places)
    missing = gaps.without(places, trades)
    try:
        records = gap_records(settings, spark)
        ends = {number: range_.end for number, range_ in holding_of(settings).items()} if found.has_topic else {}
    except SourceError as error:
        proof.notes.append(f"the gap records were not read: {error}")
        records, ends = [], {}
    proof.missing = gaps.explained(missing, rejected, [], records)
    if proof.unexplained and ends:
        tail = kafka_table(spark, settings, finished(settings).offsets[settings.kafka_topic], ends)
        later = parse(tail, future_tolerance_ms=settings.future_tolerance).filter("NOT is_heartbeat")
        coming, _ = gaps.borne(
            later.withColumn("is_rejected", F.col("reason").isNotNull()), [item.ids for item in proof.unexplained]
        )
        proof.missing = gaps.explained(missing, rejected, coming, records)
