"""What a query's checkpoint says of itself: Spark's files `offsets/N` (written before batch N) and `commits/N` (after).

Format: Spark 4.2, `OffsetSeqLog` and `CommitLog`: a line with the version, then lines of JSON. Sizes are small.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Batch:
    """One batch as its offset file plans it."""

    id: int
    watermark_ms: int
    """The watermark the batch ran with: the bars whose end it has reached are in the table once it is committed."""
    conf: dict[str, str]
    """The engine settings that Spark has fixed for this checkpoint."""
    offsets: dict[str, dict[str, int]]
    """Topic to partition to the offset up to which (without it) the batch reads."""


def last_planned(checkpoint: Path) -> Batch | None:
    """The newest batch that was planned, finished or not; None before the first."""
    ids = _ids(checkpoint / "offsets")
    return _read(checkpoint, ids[-1]) if ids else None


def last_committed(checkpoint: Path) -> Batch | None:
    """The newest batch that was finished; None before the first."""
    ids = _ids(checkpoint / "commits")
    return _read(checkpoint, ids[-1]) if ids else None


def query_id(checkpoint: Path) -> str:
    """The query's id, which Spark writes when it first starts a query on a checkpoint."""
    return str(json.loads((checkpoint / "metadata").read_text())["id"])


def _ids(folder: Path) -> list[int]:
    return sorted(int(file.name) for file in folder.glob("*") if file.name.isdecimal())


def _read(checkpoint: Path, batch_id: int) -> Batch:
    file = checkpoint / "offsets" / str(batch_id)
    try:
        _version, metadata, source = file.read_text().splitlines()
        planned, offsets = json.loads(metadata), json.loads(source)
        return Batch(batch_id, planned["batchWatermarkMs"], planned["conf"], offsets)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{file} cannot be read as Spark writes it ({type(error).__name__}: {error}). A crash does not do this: "
            "restore the checkpoint's folder from where it was kept, or start over (see README, Kill and recover)"
        ) from error


class CheckpointError(RuntimeError):
    """A checkpoint's file is missing or damaged. The message names the file and the way out."""
