"""What a query's checkpoint says of itself: Spark's files `offsets/N` (written before batch N) and `commits/N` (after).

Format: Spark 4.2, `OffsetSeqLog` and `CommitLog`: a line with the version, then lines of JSON. Sizes are small.
State: `HDFSBackedStateStoreProvider`; `N.delta` is what the batch before N has changed, `N.snapshot` all of it.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Offsets = dict[str, dict[int, int]]
"""Topic to partition to the offset up to which (without it) records are read."""

_STATE_PARTITIONS = "spark.sql.shuffle.partitions"
_STATE_PROVIDER = "spark.sql.streaming.stateStore.providerClass"
_RESTORE = (
    "Restore the checkpoint's folder from where it was kept, or start over with --rebuild, which says what it costs"
)
_RUN_AGAIN = (
    "Remove {folder}/{batch} and {folder}/.{batch}.crc: batch {batch} is then run again, and what it has written "
    "already is skipped"
)


class CheckpointError(RuntimeError):
    """A checkpoint's file is missing or damaged. The message names the file and the way out."""


@dataclass(frozen=True)
class Batch:
    """One batch as its offset file plans it."""

    id: int
    watermark_ms: int
    """The watermark the batch ran with: the bars whose end it has reached are in the table once it is committed."""
    conf: dict[str, str]
    """The engine settings that Spark has fixed for this checkpoint."""
    offsets: Offsets
    """Up to where the topic is read; empty for a query that reads a table."""


def last_planned(checkpoint: Path) -> Batch | None:
    """The newest batch that was planned, finished or not; None before the first."""
    ids = _ids(checkpoint / "offsets")
    return _read(checkpoint, ids[-1]) if ids else None


def last_committed(checkpoint: Path) -> Batch | None:
    """The newest batch that was finished; None before the first."""
    ids = _ids(checkpoint / "commits")
    return _read(checkpoint, ids[-1]) if ids else None


def committed(checkpoint: Path, known: dict[int, Batch]) -> list[Batch]:
    """All finished batches that Spark has kept, oldest first. Those in `known` are not read again: none changes."""
    batches = []
    ids = _ids(checkpoint / "commits")
    for batch_id in ids:
        try:
            batches.append(known.get(batch_id) or _read(checkpoint, batch_id))
        except CheckpointError as error:
            # Spark purges old batches at any moment, but never the newest.
            if batch_id == ids[-1] or not isinstance(error.__cause__, FileNotFoundError):
                raise
    return batches


def planned_before(checkpoint: Path) -> dict[str, Any] | None:
    """Where the newest planned batch begins, as its only source says it; None for the first batch."""
    ids = _ids(checkpoint / "offsets")
    return _json(checkpoint / "offsets" / str(ids[-1] - 1), 2) if ids and ids[-1] > 0 else None


def query_id(checkpoint: Path) -> str:
    """The query's id, which Spark writes when it first starts a query on a checkpoint."""
    return str(_json(checkpoint / "metadata", 0, "id")["id"])


def reads_from(checkpoint: Path) -> Offsets:
    """The offsets from which the query goes on: a batch that was planned but not finished is read again. {} if new."""
    planned, committed = _ids(checkpoint / "offsets"), _ids(checkpoint / "commits")
    if not planned:
        return {}
    if committed and committed[-1] == planned[-1]:
        return _read(checkpoint, planned[-1]).offsets
    if planned[-1] > 0:
        return _read(checkpoint, planned[-1] - 1).offsets
    first = checkpoint / "sources/0/0"
    return offsets_of(_json(first, 1)) if first.exists() else {}


def sweep(checkpoint: Path) -> None:
    """Removes what a run has left that was cut off while it wrote its first plan: the rest of a temporary file.

    Spark begins a query only where `offsets`, `state` and `commits` hold no file at all (4.2, `MicroBatchExecution.
    verifyNewCheckpointDirectory`), and so would refuse every further start. Only for who holds the checkpoint.
    """
    folders = checkpoint / "offsets", checkpoint / "commits"
    if not any(map(_ids, folders)):
        for folder in folders:
            for file in folder.glob(".*"):
                file.unlink()


def check(checkpoint: Path) -> None:
    """Reads all that Spark is going to read of a checkpoint when it goes on.

    Raises `CheckpointError` for the first file that is missing or damaged. Spark itself would fail on most of them
    only when the query runs, with a page of Java; and where `offsets/N` is gone it would plan another batch N, which
    is then skipped in silence.
    """
    ids, commits = _ids(checkpoint / "offsets"), _ids(checkpoint / "commits")
    if not ids and not commits:
        return
    query_id(checkpoint)
    is_finished = bool(commits) and commits[-1] >= max(ids, default=-1)
    last = commits[-1] if is_finished else ids[-1]
    batch = _read(checkpoint, last)
    if last > 0:
        _read(checkpoint, last - 1)
    again = _RUN_AGAIN.format(batch=last, folder=checkpoint / "commits") if is_finished else _RESTORE
    if commits:
        _json(checkpoint / "commits" / str(commits[-1]), 1, way_out=again)
    if "HDFSBacked" not in batch.conf.get(_STATE_PROVIDER, ""):
        return
    operators = sorted((checkpoint / "state").glob("[0-9]*"))
    if batch.watermark_ms and not operators:  # a query without state has no watermark either
        raise _damaged(checkpoint / "state", ValueError("it is gone"), _RESTORE)
    for operator in operators:
        for partition in range(int(batch.conf[_STATE_PARTITIONS])):
            _check_state(operator / str(partition), last + is_finished, again)


def _check_state(store: Path, version: int, way_out: str) -> None:
    """Follows the changes back from the version that is loaded next, to a snapshot or the beginning."""
    for number in range(version, 0, -1):
        snapshot = store / f"{number}.snapshot"
        if snapshot.exists():
            _bytes(snapshot, _RESTORE)
            return
        _bytes(store / f"{number}.delta", way_out if number == version else _RESTORE)


def _ids(folder: Path) -> list[int]:
    return sorted(int(file.name) for file in folder.glob("*") if file.name.isdecimal())


def _read(checkpoint: Path, batch_id: int) -> Batch:
    file = checkpoint / "offsets" / str(batch_id)
    planned = _json(file, 1, "batchWatermarkMs", "conf")
    return Batch(batch_id, planned["batchWatermarkMs"], planned["conf"], offsets_of(_json(file, 2)))


def _json(file: Path, line: int, *names: str, way_out: str = _RESTORE) -> dict[str, Any]:
    """An object that a file holds in that line, with these names in it."""
    try:
        content = dict(json.loads(_bytes(file, way_out).decode().splitlines()[line]))
        for name in names:
            content[name]
    except (ValueError, LookupError, TypeError) as error:
        raise _damaged(file, error, way_out) from error
    return content


def offsets_of(source: dict[str, Any]) -> Offsets:
    """The offsets that Spark has written in JSON, where a partition is a text; none of a source that is not Kafka."""
    return {
        topic: {int(number): offset for number, offset in of.items()}
        for topic, of in source.items()
        if isinstance(of, dict)
    }


def _bytes(file: Path, way_out: str) -> bytes:
    """A file's content, held to the checksums that Hadoop's local file system keeps beside it: CRC-32 of each part."""
    try:
        content = file.read_bytes()
        kept = file.with_name(f".{file.name}.crc")
        sums = kept.read_bytes() if kept.exists() else b""
    except OSError as error:
        raise _damaged(file, error, way_out) from error
    if not content:
        raise _damaged(file, ValueError("it is empty"), way_out)
    if sums[:4] == b"crc\0" and len(sums) >= 8:  # without this beginning, Hadoop does not look at it either
        (size,) = struct.unpack(">i", sums[4:8])
        parts = [zlib.crc32(content[start : start + size]) for start in range(0, len(content), size)]
        if struct.pack(f">{len(parts)}I", *parts) != sums[8:]:
            raise _damaged(file, ValueError("its checksum is another"), way_out)
    return content


def _damaged(file: Path, error: Exception, way_out: str) -> CheckpointError:
    return CheckpointError(
        f"{file} cannot be read as Spark writes it ({type(error).__name__}: {error}). The end of a process does not do "
        f"this; a power cut, a full disk or a hand may. {way_out}"
    )
