"""Checkpoint, tables and topic belong together: what is checked before a query starts.

Spark notices none of these by itself, or late. With the checkpoint gone, it reads the topic again and every bar would
stand twice; with a table gone, it goes on after the last batch and the bars before it are lost; on a topic that was
deleted and created again, it starts in the middle; where retention has passed the reader, it fails in the middle of a
run; and a changed setting that the checkpoint has fixed is put back in silence.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow.compute as compute
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyspark.sql import SparkSession

from bars.recovery import checkpoint as checkpoints
from bars.recovery import holding
from bars.recovery.checkpoint import last_committed, last_planned, query_id
from bars.recovery.holder import Holder
from bars.recovery.holding import Holding, SourceError
from bars.recovery.locks import held_by_jvm
from bars.tables import BARS, REJECTED, TRADES, Table
from market.settings import Settings
from market.trade import CONFLICT

IDENTITY = "identity.json"
READERS = ("bars", "archive")
"""The queries that read the topic, and write a row twice if they start afresh beside a table that has it."""
_SETTING_OF = {"spark.sql.shuffle.partitions": "STATE_PARTITIONS"}


class PairingError(RuntimeError):
    """Checkpoint, tables, topic or settings do not belong together. The message says what was found and the way out."""


def checkpoint_of(settings: Settings, query: str) -> Path:
    """The folder of a query's checkpoint."""
    return _checkpoints(settings) / query


def lock_of(settings: Settings) -> Path:
    """The file of the lock that a run holds from its start to its end."""
    return _checkpoints(settings) / "lock"


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
    takes; without it, or where it says no, `PairingError` is raised after a while.
    """
    deadline = time.monotonic() + patience_s

    def refuse(holder: Holder) -> None:
        is_patient = waiting is not None and waiting(holder)
        if not is_patient and time.monotonic() > deadline:  # the JVM of a driver that was killed takes a moment to end
            raise PairingError(
                f"another run holds the checkpoint {_checkpoints(settings)} ({holder}); end it first (--take-over "
                "does), wait for its end with --standby, or give this one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
            )

    with held_by_jvm(spark, lock_of(settings), refuse):
        yield


def pair(settings: Settings, topic_id: str, *, held: Callable[[Settings], Holding] = holding.held) -> None:
    """Ties checkpoint, tables and topic together at the first start, and holds them to it ever after.

    `held` is asked what the topic holds. Raises `PairingError` where one of them is not what it was, and
    `CheckpointError` where a file of the checkpoint is missing or damaged, before anything is read or written.
    """
    kept = _identity(_checkpoints(settings)), _identity(settings.tables)
    for query in settings.queries:
        checkpoints.check(checkpoint_of(settings, query))
        _check_presence(settings, query)
    started = [query for query in READERS if _has_checkpoint(settings, query)]
    if not started:
        identity = {"id": str(uuid.uuid4())} | _properties(settings, topic_id)
        for folder in (settings.tables, _checkpoints(settings)):
            _write(folder / IDENTITY, identity)
        return
    if kept[0] != kept[1] or kept[0] is None:
        raise PairingError(
            f"the checkpoint {_checkpoints(settings)} and the tables {settings.tables} are not of one start "
            f"({IDENTITY} differs or is missing). {_start_over(settings)}"
        )
    for name, value in _properties(settings, topic_id).items():
        if kept[0].get(name, value) != value:
            raise PairingError(_changed(settings, name, str(kept[0].get(name)), value))
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
                    f"{_start_over(settings)}"
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
                "going on would leave out everything before now. Put the table back, or: " + _start_over(settings)
            )
        if planned is None and query in READERS and _has_rows_of(query, table, path):
            raise PairingError(
                f"the table {path} has rows, but its checkpoint {checkpoint} is gone: "
                "reading the topic again would write every row twice. Put the checkpoint back, or: "
                + _start_over(settings)
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
                f"Put back the newest copy, or: {_start_over(settings)}"
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
            f"kept, or: {_start_over(settings)}"
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
        for number, offset in sorted(checkpoints.reads_from(checkpoint).get(settings.kafka_topic, {}).items()):
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
                f"there cannot be read; to go on with the rest, {_start_over(settings)}"
            )


def _start_over(settings: Settings) -> str:
    tables, checkpoints = settings.tables, _checkpoints(settings)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    moves = [f"mv {folder} {folder}.{stamp}" for folder in (tables, checkpoints) if folder.exists()]
    return (
        "start over from what the topic still holds, keeping the old aside: run it once with --rebuild, which says "
        f"first what that costs (by hand: {' && '.join(moves)})"
    )


def _changed(settings: Settings, name: str, was: str, is_: str) -> str:
    if name == "topic_id":
        return (
            f"the topic {settings.kafka_topic} at {settings.bootstrap} is not the one that the checkpoint "
            f"{_checkpoints(settings)} has read (its id is {is_}, it was {was}): it was deleted and created again, "
            f"or this is another cluster. Go back to that topic, or: {_start_over(settings)}"
        )
    return (
        f"{name.upper()}={is_}, but the checkpoint {_checkpoints(settings)} was started with {was}. Go on with "
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


def identity(settings: Settings) -> dict[str, str]:
    """What the checkpoint is tied to, by name; empty where there is none yet."""
    return _identity(_checkpoints(settings)) or {}


def _checkpoints(settings: Settings) -> Path:
    return settings.checkpoints / "ohlcv"


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


def _identity(folder: Path) -> dict[str, str] | None:
    file = folder / IDENTITY
    try:
        return dict(json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PairingError(
            f"{file} is damaged ({error}); restore it from its twin beside the tables or checkpoint"
        ) from None


def _write(file: Path, content: dict[str, str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(file)
