"""Checkpoint, tables and topic belong together: what is checked before a query starts.

Spark notices none of these by itself. With the checkpoint gone, it reads the topic again and every bar would stand
twice; with a table gone, it goes on after the last batch and the bars before it are lost; on a topic that was deleted
and created again, it starts in the middle; and a changed setting that the checkpoint has fixed is put back in silence.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deltalake import DeltaTable

from bars.checkpoint import last_committed, last_planned, query_id
from bars.sink import TABLES
from market.settings import Settings

IDENTITY = "identity.json"
_SETTING_OF = {"spark.sql.shuffle.partitions": "STATE_PARTITIONS"}


class PairingError(RuntimeError):
    """Checkpoint, tables, topic or settings do not belong together. The message says what was found and the way out."""


def checkpoint_of(settings: Settings, query: str) -> Path:
    """The folder of a query's checkpoint."""
    return _checkpoints(settings) / query


@contextmanager
def locked(settings: Settings, *, patience_s: float = 20) -> Iterator[None]:
    """Holds the checkpoint for this process. The kernel frees the lock when the process ends, however it ends."""
    folder = _checkpoints(settings)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as file:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    file.seek(0)
                    raise PairingError(
                        f"another run holds the checkpoint {folder} (process {file.read().strip() or 'unknown'}); "
                        "end it first, or give this one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
                    ) from None
                time.sleep(0.2)  # the driver of a JVM that was killed takes a moment to end
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def pair(settings: Settings, topic_id: str) -> None:
    """Ties checkpoint, tables and topic together at the first start, and holds them to it ever after.

    Raises `PairingError` where one of them is not what it was, before anything is read or written.
    """
    kept = _identity(_checkpoints(settings)), _identity(settings.tables)
    for query in settings.queries:
        _check_presence(settings, query)
    started = [query for query in TABLES if _has_checkpoint(settings, query)]
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
        if kept[0][name] != value:
            raise PairingError(_changed(settings, name, kept[0][name], value))
    for query in settings.queries:
        _check_age(settings, query)


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
    has_checkpoint = _has_checkpoint(settings, query)
    has_committed = last_committed(checkpoint_of(settings, query)) is not None
    for table in TABLES[query]:
        path = table.path(settings)
        if has_committed and not _exists(path):
            raise PairingError(
                f"the table {path} is gone, but its checkpoint {checkpoint_of(settings, query)} is there: "
                "going on would leave out everything before now. Put the table back, or: " + _start_over(settings)
            )
        if not has_checkpoint and _has_rows(path):
            raise PairingError(
                f"the table {path} has rows, but its checkpoint {checkpoint_of(settings, query)} is gone: "
                "reading the topic again would write every row twice. Put the checkpoint back, or: "
                + _start_over(settings)
            )


def _check_age(settings: Settings, query: str) -> None:
    """Delta skips a batch whose id it has already: behind a checkpoint that was put back, that would lose its rows."""
    checkpoint = checkpoint_of(settings, query)
    planned = last_planned(checkpoint)
    for table in TABLES[query]:
        path = table.path(settings)
        if planned is None or not (path / "_delta_log").is_dir():
            continue
        written = DeltaTable(path).transaction_version(query_id(checkpoint))
        if written is not None and written > planned.id:
            raise PairingError(
                f"the table {path} has batch {written} of the query {query}, but its checkpoint {checkpoint} is at "
                f"batch {planned.id}: an older copy of it was put back, and what it reads again would be skipped. "
                f"Put back the newest copy, or: {_start_over(settings)}"
            )


def _start_over(settings: Settings) -> str:
    tables, checkpoints = settings.tables, _checkpoints(settings)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    moves = [f"mv {folder} {folder}.{stamp}" for folder in (tables, checkpoints) if folder.exists()]
    return f"start over from what the topic still holds, keeping the old aside: {' && '.join(moves)}"


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
    return {"kafka_topic": settings.kafka_topic, "topic_id": topic_id, "bar_format": settings.bar_format}


def _checkpoints(settings: Settings) -> Path:
    return settings.checkpoints / "ohlcv"


def _has_checkpoint(settings: Settings, query: str) -> bool:
    """Whether the query has ever planned a batch. Before that, nothing is lost with the checkpoint."""
    return any((checkpoint_of(settings, query) / "offsets").glob("[0-9]*"))


def _exists(table: Path) -> bool:
    return (table / "_delta_log").is_dir() or (table / "_spark_metadata").is_dir()


def _has_rows(table: Path) -> bool:
    """Whether anything was ever appended: version 0 of a Delta table only creates it."""
    versions = [file for file in table.glob("_delta_log/*.json") if file.name != f"{0:020}.json"]
    return bool(versions) or any(table.glob("_spark_metadata/[0-9]*"))


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
