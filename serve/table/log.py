"""The log of a Delta table, followed: which files have rows, which came with a commit, and whether it is this table.

Protocol: https://github.com/delta-io/delta/blob/master/PROTOCOL.md. Versions are numbered without gaps, and a version's
entry never changes. But old entries are cleared away (`bars/upkeep`), a table can be deleted and made again under the
same name, and another one can be moved to its place. So besides the number of the last version, its entry is known by
its inode, time and size: where that is not what it was, the table is loaded anew, and its id tells if it is another.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from market.widths import DAY_MS
from serve.problems import BarsAway

READER_VERSION = 1
"""Of the protocol: the tables need no feature of readers."""
_TRIES = 3
"""Loading again because the table was replaced meanwhile."""
Mark = tuple[int, int, int]


class Anew(Exception):  # noqa: N818  # a way on
    """The log cannot be followed any further: the table has to be loaded anew. The message says why."""


@dataclass(frozen=True, slots=True)
class File:
    """A data file that counts: its path within the table, and between which times its rows begin."""

    path: str
    day_ms: int
    """The day (UTC) that it is filed under; its rows are of that day."""
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The table at one version."""

    table_id: str
    version: int
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one version has changed."""

    version: int
    added: tuple[File, ...]
    """Files with rows that were not there before."""
    rearranged: tuple[File, ...]
    """Files with rows that stood in others before."""
    gone: frozenset[str]
    """Paths of files that count no more: others have their rows."""


class Log:
    """A table's log. It blocks, and is not for several threads at once."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._entries = table / "_delta_log"
        self._id = ""
        self._version = -1
        self._mark: Mark | None = None

    def load(self) -> Snapshot:
        """The table as it is now; `commits` goes on from there. Raises `BarsAway`."""
        for _ in range(_TRIES):
            table = self._opened()
            version, table_id = table.version(), str(table.metadata().id)
            mark = self._marked(version)
            # Looked at once more behind the mark: the entry is then one of this table, and no other's.
            again = self._opened()
            if mark and str(again.metadata().id) == table_id and again.version() >= version:
                self._id, self._version, self._mark = table_id, version, mark
                return Snapshot(table_id, version, tuple(_live(table)))
        raise BarsAway(f"the table {self._table} changes faster than it can be read")

    def commits(self, most: int = 100) -> list[Commit]:
        """What came since the last call, oldest first. Raises `Anew`, or `BarsAway` where the log cannot be read."""
        found: list[Commit] = []
        while len(found) < most:
            content, mark = self._entry(self._version + 1)
            # Asked behind the next entry: where the last one still is what it was, the next one belongs to it.
            if self._marked(self._version) != self._mark:
                raise Anew(f"version {self._version} of {self._table} is no longer what it was")
            if content is None:
                break
            commit = self._commit(content)
            self._version, self._mark = commit.version, mark
            found.append(commit)
        return found

    def _opened(self) -> DeltaTable:
        if not self._entries.is_dir():
            raise BarsAway(f"there is no table {self._table} yet: it is made when the job jobs/ohlcv.py first starts")
        try:
            table = DeltaTable(self._table)
        except (DeltaError, OSError, ValueError) as error:
            raise BarsAway(f"the table {self._table} cannot be read: {error}") from error
        version = table.protocol().min_reader_version
        if version > READER_VERSION:
            raise BarsAway(
                f"the table {self._table} needs readers of version {version}; this one knows {READER_VERSION}"
            )
        return table

    def _path(self, version: int) -> Path:
        return self._entries / f"{version:020}.json"

    def _marked(self, version: int) -> Mark | None:
        try:
            return _mark(self._path(version).stat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _entry(self, version: int) -> tuple[bytes | None, Mark | None]:
        """The content and the mark of one and the same entry."""
        try:
            with self._path(version).open("rb") as file:
                return file.read(), _mark(os.fstat(file.fileno()))
        except (FileNotFoundError, NotADirectoryError):
            return None, None

    def _commit(self, content: bytes) -> Commit:
        version = self._version + 1
        try:
            actions = [json.loads(line) for line in content.splitlines() if line.strip()]
        except ValueError as error:
            raise BarsAway(f"version {version} of {self._table} cannot be read: {error}") from error
        adds = [action["add"] for action in actions if "add" in action]
        removes = [action["remove"] for action in actions if "remove" in action]
        for action in actions:
            if "metaData" in action and action["metaData"]["id"] != self._id:
                raise Anew(f"version {version} of {self._table} is another table's")
            if "protocol" in action and action["protocol"]["minReaderVersion"] > READER_VERSION:
                raise Anew(f"version {version} of {self._table} changes its protocol")
        if any(remove.get("dataChange", True) for remove in removes):
            raise Anew(f"version {version} of {self._table} has taken rows away")
        return Commit(
            version,
            added=tuple(_added(add) for add in adds if add["dataChange"]),
            rearranged=tuple(_added(add) for add in adds if not add["dataChange"]),
            gone=frozenset(unquote(remove["path"]) for remove in removes),
        )


def _mark(stat: os.stat_result) -> Mark:
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _live(table: DeltaTable) -> Iterable[File]:
    """The files that count, with the bounds that the log states for them."""
    actions = pa.table(table.get_add_actions(flatten=True))
    if not actions.num_rows:
        return []
    names = ("path", "partition.date", "min.timestamp", "max.timestamp")
    nothing = [None] * actions.num_rows
    columns = [actions[name].to_pylist() if name in actions.column_names else nothing for name in names]
    return [_file(unquote(path), day, first, last) for path, day, first, last in zip(*columns, strict=True)]


def _added(add: Mapping[str, Any]) -> File:
    try:
        stats = json.loads(add.get("stats") or "{}")
    except ValueError:
        stats = {}
    first, last = ((stats.get(name) or {}).get("timestamp") for name in ("minValues", "maxValues"))
    return _file(unquote(add["path"]), add["partitionValues"]["date"], first, last)


def _file(path: str, day: date | str, first: datetime | str | None, last: datetime | str | None) -> File:
    """A file; where nothing is stated of its rows' times, they may be anywhere in its day."""
    date_ = date.fromisoformat(day) if isinstance(day, str) else day
    day_ms = ms_of(datetime(date_.year, date_.month, date_.day, tzinfo=UTC))
    first_ms = day_ms if first is None else max(ms_of(first), day_ms)
    # What is stated may be cut at the millisecond; the rows' times are whole seconds, which is coarser.
    last_ms = day_ms + DAY_MS - 1 if last is None else min(ms_of(last), day_ms + DAY_MS - 1)
    return File(path, day_ms, first_ms, last_ms)


def ms_of(moment: datetime | str) -> int:
    """A time in ms since the epoch; one without a zone is UTC."""
    time = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    whole = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round(whole.timestamp() * 1000)
