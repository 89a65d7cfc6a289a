"""A Delta table's log as upkeep needs it: the files that count, a commit that only rearranges, and clearing away.

Protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md. The tables have writer version 2, no features.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from deltalake import DeltaTable

from bars.locks import commit_lock, held

PATIENCE_S = 60
"""How long a commit of another may take. Longer, and its process is stopped."""
APPEND_ONLY = "delta.appendOnly"
_VERSION = re.compile(r"\.?([0-9]{20})\.(?:json|crc|checkpoint\..*parquet)(?:\.crc)?(?:#[0-9]+)?")
_CHECKPOINT = re.compile(r"([0-9]{20})\.checkpoint\.parquet")
_ABANDONED = re.compile(r"\..*\.tmp(?:\.crc)?|.*#[0-9]+")
"""What a death in the middle of a write leaves: of Spark `.<name>.tmp`, of delta-rs `<name>#1`."""
_DATA = re.compile(r"[^._].*\.parquet(?:#[0-9]+)?")


class LogError(RuntimeError):
    """The log is not what it must be. The message says why; nothing was committed."""


@dataclass(frozen=True)
class File:
    """A data file that counts."""

    path: str
    """Within the table, as the log has it."""
    day: date | None
    size: int
    written_ms: int
    """When its newest row was written: a file that upkeep makes of others has the latest of theirs."""


@dataclass(frozen=True)
class Made:
    """A data file that is written and not yet in the log."""

    file: File
    rows: int
    stats: Mapping[str, Any]


def live(table: Path, version: int | None = None) -> dict[str, File]:
    """The files that count, by path, at a version or now."""
    return _live(DeltaTable(table, version=version))


def _live(table: DeltaTable) -> dict[str, File]:
    actions = pa.table(table.get_add_actions(flatten=True))
    names = ("path", "partition.date", "size_bytes", "modification_time")
    files = []
    for path, day, size, written in zip(*(actions[name].to_pylist() for name in names), strict=True):
        written_ms = written if isinstance(written, int) else round(written.timestamp() * 1000)
        files.append(File(path, day, size, written_ms))
    return {file.path: file for file in files}


def settled(table: Path) -> dict[str, File]:
    """The files that count now, while nobody is in the middle of a commit."""
    now = DeltaTable(table)
    with held(commit_lock(table), patience_s=PATIENCE_S):
        now.update_incremental()  # what is new since, so that the lock is held for a moment only
    return _live(now)


def rearrange(table: Path, operation: str, gone: Sequence[File], made: Sequence[Made]) -> int | None:
    """Commits that some files take the place of others, which readers who follow the log pass over (`dataChange`).

    Returns the version; None where one of those that go has gone already, and nothing was done.
    """
    adds = [
        {
            "add": {
                "path": one.file.path,
                "partitionValues": _partition(one.file),
                "size": one.file.size,
                "modificationTime": one.file.written_ms,
                "dataChange": False,
                "stats": json.dumps(one.stats),
            }
        }
        for one in made
    ]
    return _commit(table, operation, gone, adds, data_change=False)


def delete(table: Path, gone: Sequence[File]) -> int | None:
    """Commits that files go, with their rows. Takes back the table's promise to be append-only, which this breaks."""
    return _commit(table, "DELETE", gone, [], data_change=True)


def _commit(
    table: Path, operation: str, gone: Sequence[File], adds: Iterable[dict[str, Any]], *, data_change: bool
) -> int | None:
    for file in gone:
        # From now on its age on disk is counted, for whoever still reads the version before.
        os.utime(table / file.path)
    now = DeltaTable(table)
    with held(commit_lock(table), patience_s=PATIENCE_S):
        now.update_incremental()  # what is new since, so that the lock is held for a moment only
        if not {file.path for file in gone} <= _live(now).keys():
            return None
        protocol = now.protocol()
        if (protocol.min_reader_version, protocol.min_writer_version) != (1, 2):
            raise LogError(f"{table} has protocol {protocol}: upkeep knows reader version 1 and writer version 2")
        time_ms = time.time_ns() // 1_000_000
        removes = [
            {
                "remove": {
                    "path": file.path,
                    "deletionTimestamp": time_ms,
                    "dataChange": data_change,
                    "extendedFileMetadata": True,
                    "partitionValues": _partition(file),
                    "size": file.size,
                }
            }
            for file in gone
        ]
        info = {
            "timestamp": time_ms,
            "operation": operation,
            "operationParameters": {},
            "isBlindAppend": False,
            "engineInfo": "live-bars",
        }
        metadata = [_appendable(now)] if data_change and now.metadata().configuration.get(APPEND_ONLY) == "true" else []
        _write(table, now.version() + 1, [{"commitInfo": info}, *metadata, *removes, *adds])
        return int(now.version()) + 1


def _write(table: Path, version: int, actions: Iterable[Mapping[str, Any]]) -> None:
    """Writes a version whole, or not at all; raises `LogError` where there is one already."""
    log = table / "_delta_log"
    partial = log / f".{uuid.uuid4()}.tmp"
    with partial.open("x") as file:
        file.write("".join(json.dumps(action, separators=(",", ":")) + "\n" for action in actions))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, log / f"{version:020}.json")
    except FileExistsError:
        raise LogError(f"{log} got version {version} from somebody who does not hold {commit_lock(table)}") from None
    finally:
        partial.unlink()


def _appendable(table: DeltaTable) -> dict[str, Any]:
    """The table's metadata, but without the promise that no row ever goes."""
    known = table.metadata()
    return {
        "metaData": {
            "id": known.id,
            "name": known.name,
            "description": known.description,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": table.schema().to_json(),
            "partitionColumns": known.partition_columns,
            "createdTime": known.created_time,
            "configuration": dict(known.configuration) | {APPEND_ONLY: "false"},
        }
    }


def _partition(file: File) -> dict[str, str | None]:
    return {"date": file.day.isoformat() if file.day else None}


def strays(table: Path, *, before_ms: int) -> list[Path]:
    """Data files on disk that do not count any more, or never did, untouched since then; with their checksums.

    They are listed before it is asked which count: a file of a commit that is under way is not among them.
    """
    found = [
        file
        for file in table.glob("date=*/*.parquet*")
        if _DATA.fullmatch(file.name) and file.stat().st_mtime_ns < before_ms * 1_000_000
    ]
    if not found:
        return []
    counting = settled(table)
    return [file for file in found if str(file.relative_to(table)) not in counting]


def old_versions(table: Path, *, before_ms: int, needed: int | None) -> list[Path]:
    """Files of the log that nobody needs: of versions before a checkpoint that was written before then.

    `needed` is the first version that somebody is still going to read; None where there is no such reader.
    """
    log = table / "_delta_log"
    names = [file.name for file in log.iterdir()]
    checkpoints = sorted((int(found[1]) for name in names if (found := _CHECKPOINT.fullmatch(name))), reverse=True)
    first = next(
        (
            version
            for version in checkpoints
            if (needed is None or version < needed) and _is_old_and_whole(log, version, before_ms)
        ),
        0,
    )
    old = [log / name for name in names if (found := _VERSION.fullmatch(name)) and int(found[1]) < first]
    abandoned = [log / name for name in names if _ABANDONED.fullmatch(name)]
    return old + [file for file in abandoned if _age(file) < before_ms * 1_000_000]


def _age(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except FileNotFoundError:  # one that was being renamed
        return time.time_ns()


def _is_old_and_whole(log: Path, version: int, before_ms: int) -> bool:
    file = log / f"{version:020}.checkpoint.parquet"
    if file.stat().st_mtime_ns >= before_ms * 1_000_000:
        return False
    return bool(pyarrow.parquet.read_metadata(file).num_rows)


def remove(files: Iterable[Path]) -> tuple[int, int]:
    """Deletes files with their checksums; how many, and their bytes."""
    number = size = 0
    for file in files:
        for each in (file, file.with_name(f".{file.name}.crc")):
            try:
                bytes_ = each.stat().st_size
                each.unlink()
            except FileNotFoundError:
                continue
            number, size = number + 1, size + bytes_
    return number, size
