"""New rows of a table as they become readable, without Spark and without scanning what was there before."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet


class Follower(ABC):
    """Follows a table's log from now on."""

    _entries: str
    """How the names of the log's entries look."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._next = max((_number(entry) + 1 for entry in self._log().glob(self._entries)), default=0)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of all commits since the last call, in order of commit."""
        rows: list[dict[str, Any]] = []
        while (entry := self._entry(self._next)).exists():
            for file in self._added(entry):
                # A path of its own where the table was written elsewhere; `/` keeps one that is absolute.
                rows += pyarrow.parquet.read_table(self._table / file, partitioning=None).to_pylist()
            self._next += 1
        return rows

    @abstractmethod
    def _log(self) -> Path:
        """The folder with an entry per commit, each named by its number."""

    @abstractmethod
    def _entry(self, number: int) -> Path:
        """The entry of one commit."""

    @abstractmethod
    def _added(self, entry: Path) -> list[str]:
        """The files that the commit has added."""


class DeltaFollower(Follower):
    """Follows `_delta_log` (Delta protocol: one JSON file of actions per version)."""

    _entries = "[0-9]*.json"

    def _log(self) -> Path:
        return self._table / "_delta_log"

    def _entry(self, number: int) -> Path:
        return self._log() / f"{number:020}.json"

    def _added(self, entry: Path) -> list[str]:
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        added = [action["add"] for action in actions if "add" in action]
        return [unquote(add["path"]) for add in added if add["dataChange"]]  # else its rows were there before


class ParquetFollower(Follower):
    """Follows `_spark_metadata` of Spark's file sink: every tenth entry, `N.compact`, holds all files so far."""

    _entries = "[0-9]*"

    def __init__(self, table: Path) -> None:
        super().__init__(table)
        self._written_ms = 0
        if self._next:
            self._added(self._entry(self._next - 1))

    def _log(self) -> Path:
        return self._table / "_spark_metadata"

    def _entry(self, number: int) -> Path:
        compacted = self._log() / f"{number}.compact"
        return compacted if compacted.exists() else self._log() / str(number)

    def _added(self, entry: Path) -> list[str]:
        files = [json.loads(line) for line in entry.read_text().splitlines()[1:]]
        # A batch writes its files after those of the batch before are committed.
        new = [file for file in files if file["modificationTime"] > self._written_ms]
        self._written_ms = max((file["modificationTime"] for file in files), default=self._written_ms)
        return [unquote(file["path"].removeprefix("file://")) for file in new]


def follow(table: Path, bar_format: str) -> Follower:
    """A follower of a table in that format (`delta` or `parquet`)."""
    return DeltaFollower(table) if bar_format == "delta" else ParquetFollower(table)


def _number(entry: Path) -> int:
    return int(entry.name.split(".")[0])
