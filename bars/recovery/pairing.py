"""Checkpoint, tables and topic belong together: what is checked before a query starts.

Spark notices none of these by itself, or late. With the checkpoint gone, it reads the topic again and every bar would
stand twice; with a table gone, it goes on after the last batch and the bars before it are lost; on a topic that was
deleted and created again, it starts in the middle; where retention has passed the reader, it fails in the middle of a
run; and a changed setting that the checkpoint has fixed is put back in silence.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as compute
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyspark.sql import SparkSession

from bars import topic
from bars.holder import Holder
from bars.locks import held_by_jvm
from bars.recovery import checkpoint as checkpoints
from bars.recovery.checkpoint import last_committed, last_planned, query_id
from bars.recovery.identity import (
    START_OVER,
    PairingError,
    apart,
    check_identity,
    checkpoint_of,
    checkpoints_of,
    identity_in,
    tie,
)
from bars.tables import BARS, REJECTED, TRADES, Table
from bars.topic import Holding, SourceError
from market.settings import Settings
from market.trade import CONFLICT

READERS = ("bars", "archive")
"""The queries that read the topic, and write a row twice if they start afresh beside a table that has it."""
_SETTING_OF = {"spark.sql.shuffle.partitions": "STATE_PARTITIONS"}


def lock_of(settings: Settings) -> Path:
    """The file of the lock that a run holds from its start to its end."""
    return checkpoints_of(settings) / "lock"


@contextmanager
def locked(
    settings: Settings,
    spark: SparkSession,
    *,
    patience_s: float = 20,
    waiting: Callable[[Holder], bool] | None = None,
) -> Iterator[None]:
    """Holds the checkpoint, in the session's JVM. The kernel frees the lock when the JVM has ended, however it ends.

    While another run holds it, `waiting` is asked, again and again, whether to wait for that one, however long it
    takes; without it, or where it says no, `PairingError` is raised after a while; at once where a folder cannot be
    written to.
    """
    for name, folder in (("CHECKPOINT_DIR", checkpoints_of(settings)), ("OUTPUT_DIR", settings.tables)):
        _check_folder(name, folder)
    deadline = time.monotonic() + patience_s

    def refuse(holder: Holder) -> None:
        is_patient = waiting is not None and waiting(holder)
        if not is_patient and time.monotonic() > deadline:  # the JVM of a driver that was killed takes a moment to end
            raise PairingError(
                f"another run holds the checkpoint {checkpoints_of(settings)} ({holder}); end it first (--take-over "
                "does), wait for its end with --standby, or give this one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
            )

    with held_by_jvm(spark, lock_of(settings), refuse):
        yield


def pair(settings: Settings, topic_id: str, *, held: Callable[[Settings], Holding] = topic.holding_of) -> None:
    """Ties checkpoint, tables and topic together at the first start, and holds them to it ever after.

    `held` is asked what the topic holds. Raises `PairingError` where one of them is not what it was, and
    `CheckpointError` where a file of the checkpoint is missing or damaged, before anything is read or written.
    """
    kept = identity_in(checkpoints_of(settings))
    for query in settings.queries:
        checkpoints.sweep(checkpoint_of(settings, query))
        checkpoints.check(checkpoint_of(settings, query))
        _check_presence(settings, query)
    started = [query for query in READERS if _has_checkpoint(settings, query)]
    if not started:
        identity = {"id": str(uuid.uuid4())} | _properties(settings, topic_id)
        tie(settings, identity)
        return
    check_identity(settings)
    if kept is None:
        raise PairingError(apart(settings))
    for name, value in _properties(settings, topic_id).items():
        if kept.get(name, value) != value:
            raise PairingError(_changed(settings, name, str(kept.get(name)), value))
    for query in settings.queries:
        _check_age(settings, query)
    _check_holding(settings, held)


def check_engine(settings: Settings, engine: Mapping[str, str | None]) -> None:
    """Holds the session's settings (`engine`, by Spark's names) to those which the checkpoints have fixed.

    Raises `PairingError` for the first that differs.
    """
    for query in settings.queries:
        batch = last_planned(checkpoint_of(settings, query))
        for name, fixed in (batch.conf if batch else {}).items():
            given = engine.get(name)
            if given is not None and given != fixed:
                setting = _SETTING_OF.get(name, name)
                raise PairingError(
                    f"{setting}={given}, but the checkpoint {checkpoint_of(settings, query)} was started with {fixed} "
                    f"and fixes it (Spark would put {fixed} back in silence). Go on with {setting}={fixed}, or: "
                    f"{START_OVER}"
                )


def frozen_names(settings: Settings) -> set[str]:
    """The names of all engine settings that the checkpoints have fixed."""
    batches = [last_planned(checkpoint_of(settings, query)) for query in settings.queries]
    return {name for batch in batches if batch for name in batch.conf}


def _check_presence(settings: Settings, query: str) -> None:
    checkpoint = checkpoint_of(settings, query)
    planned = last_planned(checkpoint)
    # Batch 0 alone, planned and not finished, is read again as a whole.
    has_read = last_committed(checkpoint) is not None or (planned is not None and planned.id > 0)
    for table in _tables(settings, query):
        path = table.path(settings)
        if has_read and not _exists(path):
            raise PairingError(
                f"the table {path} is gone, but its checkpoint {checkpoint} is there: "
                "going on would leave out everything before now. Put the table back, or: " + START_OVER
            )
        if planned is None and query in READERS and _has_rows_of(query, table, path):
            raise PairingError(
                f"the table {path} has rows, but its checkpoint {checkpoint} is gone: "
                "reading the topic again would write every row twice. Put the checkpoint back, or: " + START_OVER
            )


def _check_age(settings: Settings, query: str) -> None:
    """A batch whose id the table has already is skipped: behind a checkpoint put back, that would lose its rows."""
    checkpoint = checkpoint_of(settings, query)
    planned = last_planned(checkpoint)
    if planned is None:
        return
    for table in _tables(settings, query):
        path = table.path(settings)
        written = _last_written(settings, path, query_id(checkpoint))
        if written is not None and written > planned.id:
            raise PairingError(
                f"the table {path} has batch {written} of the query {query}, but its checkpoint {checkpoint} is at "
                f"batch {planned.id}: an older copy of it was put back, and what it reads again would be skipped. "
                f"Put back the newest copy, or: {START_OVER}"
            )


def _last_written(settings: Settings, path: Path, app_id: str) -> int | None:
    """The newest batch of a query in a table; None where there is none."""
    if (path / "_spark_metadata").is_dir():
        return max((int(file.name.split(".")[0]) for file in path.glob("_spark_metadata/[0-9]*")), default=None)
    try:
        version = DeltaTable(path).transaction_version(app_id)
    except TableNotFoundError:
        return None
    except (DeltaError, OSError, ValueError) as error:
        raise PairingError(
            f"the table {path} cannot be read: {str(error)[:300]}. Put back its folder _delta_log from where it was "
            f"kept, or: {START_OVER}"
        ) from error
    return None if version is None else int(version)


def _check_holding(settings: Settings, held: Callable[[Settings], Holding]) -> None:
    """Holds what the queries are going to read to what the topic still has: Spark looks only in the middle of a run."""
    topic = f"the topic {settings.kafka_topic} at {settings.bootstrap}"
    try:
        now = held(settings)
    except SourceError as error:
        raise PairingError(f"{topic} does not say what it holds: {error}. Start again when Kafka answers") from error
    for query in (query for query in settings.queries if query in READERS):
        checkpoint = checkpoint_of(settings, query)
        found = []
        read = checkpoints.reads_from(checkpoint).get(settings.kafka_topic, {})
        if read:
            read = dict.fromkeys(now, 0) | read  # one that was added meanwhile is read from its beginning
        for number, offset in sorted(read.items()):
            range_ = now.get(number)
            at = f"partition {number} is read from offset {offset} on"
            if range_ is None:
                found.append(f"{at} and is not there any more")
            elif offset < range_.start:
                found.append(f"{at} and begins at {range_.start}: {range_.start - offset} records are gone")
            elif offset > range_.end:
                found.append(f"{at} and ends at {range_.end}: {offset - range_.end} records that were read are gone")
        if found:
            raise PairingError(
                f"{topic} has lost records before the query {query} could go on (checkpoint {checkpoint}): "
                f"{'; '.join(found)}. Retention has passed the reader, or the broker has lost data. What is gone "
                f"there cannot be read; to go on with the rest, {START_OVER}"
            )


def _check_folder(name: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write there: {folder}")
    except OSError as error:
        raise PairingError(f"{name}: the folder {folder} cannot be used ({error}). Name another, or mend it") from None


def _changed(settings: Settings, name: str, was: str, is_: str) -> str:
    if name == "topic_id":
        return (
            f"the topic {settings.kafka_topic} at {settings.bootstrap} is not the one that the checkpoint "
            f"{checkpoints_of(settings)} has read (its id is {is_}, it was {was}): it was deleted and created again, "
            f"or this is another cluster. Go back to that topic, or: {START_OVER}"
        )
    return (
        f"{name.upper()}={is_}, but the checkpoint {checkpoints_of(settings)} was started with {was}. Go on with "
        f"{name.upper()}={was}, or give the new one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
    )


def _properties(settings: Settings, topic_id: str) -> dict[str, str]:
    return {
        "kafka_topic": settings.kafka_topic,
        "topic_id": topic_id,
        "bar_format": settings.bar_format,
        # It decides what is valid: changed between the bars and the archive of one record, the two would differ.
        "future_tolerance": f"{settings.future_tolerance}ms",
    }


def _tables(settings: Settings, query: str) -> tuple[Table, ...]:
    """The tables that a query writes."""
    if query == "archive":
        return TRADES, REJECTED
    return (BARS, REJECTED) if query == "bars" and settings.bar_format == "delta" else (BARS,)


def _has_checkpoint(settings: Settings, query: str) -> bool:
    """Whether the query has ever planned a batch. Before that, nothing is lost with the checkpoint."""
    return any((checkpoint_of(settings, query) / "offsets").glob("[0-9]*"))


def _exists(table: Path) -> bool:
    return (table / "_delta_log").is_dir() or (table / "_spark_metadata").is_dir()


def _has_rows_of(query: str, table: Table, path: Path) -> bool:
    """Whether the query ever appended anything. In `rejected_trades`, conflicts are of the bars query, all else not."""
    # Version 0 of a Delta table only creates it.
    versions = [file for file in path.glob("_delta_log/*.json") if file.name != f"{0:020}.json"]
    if table is not REJECTED or not versions:
        return bool(versions) or any(path.glob("_spark_metadata/[0-9]*"))
    is_conflict = compute.field("reason") == CONFLICT
    rows = DeltaTable(path).to_pyarrow_dataset()
    return bool(rows.head(1, filter=is_conflict if query == "bars" else ~is_conflict).num_rows)
