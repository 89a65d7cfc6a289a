"""New rows of a table as they become readable, without Spark and without scanning what was there before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet


class Follower:
    """Follows a table's log from now on: Delta's `_delta_log`, or `_spark_metadata` of Spark's Parquet sink."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._delta = table / "_delta_log"
        self._parquet = table / "_spark_metadata"
        self._next = self._end()

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all commits since the last call, in order of commit."""
        rows: list[dict[str, Any]] = []
        while (entry := self._entry(self._next)).exists():
            for path in _added(entry):
                file = path if path.is_absolute() else self._table / path
                rows += pyarrow.parquet.read_table(file, partitioning=None).to_pylist()
            self._next += 1
        return rows

    def _entry(self, version: int) -> Path:
        if self._delta.is_dir():
            return self._delta / f"{version:020}.json"
        compacted = self._parquet / f"{version}.compact"  # holds the files of all batches so far: only the name matters
        return self._parquet / str(version) if not compacted.exists() else compacted

    def _end(self) -> int:
        names = [path.name.split(".")[0] for folder in (self._delta, self._parquet) for path in folder.glob("[0-9]*")]
        return max((int(name) + 1 for name in names if name.isdecimal()), default=0)


def _added(entry: Path) -> list[Path]:
    lines = [json.loads(line) for line in entry.read_text().splitlines() if line.startswith("{")]
    if entry.suffix == ".json":
        return [Path(unquote(line["add"]["path"])) for line in lines if "add" in line]
    if entry.suffix == ".compact":
        newest = max((line["modificationTime"] for line in lines), default=0)
        lines = [line for line in lines if line["modificationTime"] == newest]
    return [Path(unquote(line["path"].removeprefix("file://"))) for line in lines if line["action"] == "add"]
