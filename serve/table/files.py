"""The data files of the table: which of them may have rows of an hour, and their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from market.widths import DAY_MS, HOUR_MS, start_of
from serve.table import rows
from serve.table.log import Commit, File, ms_of

WHOLE = (0, 2**62)
"""All times."""


class Files:
    """The files that count, by day and hour: a commit's few rows are of one hour or two, merged files of many."""

    def __init__(self, files: Iterable[File] = ()) -> None:
        self._files: dict[str, File] = {}
        self._of_hour: defaultdict[int, dict[str, File]] = defaultdict(dict)
        self._wide: defaultdict[int, dict[str, File]] = defaultdict(dict)
        for file in files:
            self.add(file)

    def __len__(self) -> int:
        return len(self._files)

    def apply(self, commit: Commit) -> None:
        """Takes over what a commit has changed."""
        for path in commit.gone:
            self.remove(path)
        for file in (*commit.added, *commit.rearranged):
            self.add(file)

    def add(self, file: File) -> None:
        """A file that counts."""
        self._files[file.path] = file
        hours = _hours(file)
        if len(hours) > 2:
            self._wide[file.day_ms][file.path] = file
        else:
            for hour in hours:
                self._of_hour[hour][file.path] = file

    def remove(self, path: str) -> None:
        """A file that counts no more."""
        file = self._files.pop(path, None)
        if file is None:
            return
        places = [(self._wide, file.day_ms), *((self._of_hour, hour) for hour in _hours(file))]
        for index, key in places:
            index[key].pop(path, None)
            if not index[key]:
                del index[key]

    @property
    def newest_ms(self) -> int | None:
        """When the newest row of all begins."""
        return max((file.last_ms for file in self._files.values()), default=None)

    def days(self) -> list[int]:
        """The days that have a file, oldest first."""
        return sorted({*self._wide, *(start_of(hour, DAY_MS) for hour in self._of_hour)})

    def of_day(self, day_ms: int) -> list[File]:
        """The files of a day."""
        found = dict(self._wide.get(day_ms, {}))
        for hour in range(day_ms, day_ms + DAY_MS, HOUR_MS):
            found |= self._of_hour.get(hour, {})
        return list(found.values())

    def hours(self, day_ms: int) -> list[int]:
        """The hours of a day that a file may have rows of, oldest first."""
        whole = range(day_ms, day_ms + DAY_MS, HOUR_MS)
        found = {hour for hour in whole if hour in self._of_hour}
        for file in self._wide.get(day_ms, {}).values():
            found |= set(_hours(file))
        return sorted(found)

    def of_hour(self, hour_ms: int) -> list[File]:
        """The files that may have rows of an hour."""
        wide = self._wide.get(start_of(hour_ms, DAY_MS), {}).values()
        overlapping = [file for file in wide if file.first_ms < hour_ms + HOUR_MS and file.last_ms >= hour_ms]
        return [*self._of_hour.get(hour_ms, {}).values(), *overlapping]

    def since(self, first_ms: int) -> list[File]:
        """The files that may have rows that begin then or later."""
        return [file for file in self._files.values() if file.last_ms >= first_ms]


def _hours(file: File) -> range:
    return range(start_of(file.first_ms, HOUR_MS), file.last_ms + 1, HOUR_MS)


def read(
    table: Path,
    files: Sequence[File],
    first_ms: int = WHOLE[0],
    end_ms: int = WHOLE[1],
    *,
    key: tuple[str, str] | None = None,
) -> pa.Table:
    """The rows of files that begin in [first, end), of all symbols or of one, every revision. Blocks."""
    found = [_read(table / file.path, first_ms, end_ms, key) for file in files]
    return pa.concat_tables(found) if found else rows.SECONDS.empty_table()


def read_current(
    table: Path, files: Sequence[File], first_ms: int, end_ms: int, *, key: tuple[str, str] | None = None
) -> pa.Table:
    """The rows that count among those of `read`. Blocks."""
    return rows.current(read(table, files, first_ms, end_ms, key=key))


def read_keys(table: Path, files: Sequence[File]) -> set[tuple[str, str]]:
    """Every exchange and symbol in some files. Blocks."""
    found: set[tuple[str, str]] = set()
    for file in files:
        with pq.ParquetFile(table / file.path) as opened:
            for batch in opened.iter_batches(columns=["exchange", "symbol"], use_threads=False):
                found |= rows.keys_in(pa.Table.from_batches([batch]))
    return found


def _read(path: Path, first_ms: int, end_ms: int, key: tuple[str, str] | None) -> pa.Table:
    with pq.ParquetFile(path) as opened:
        groups = [
            group
            for group in range(opened.metadata.num_row_groups)
            if _may_hold(opened.metadata.row_group(group), first_ms, end_ms)
        ]
        if not groups:
            return rows.SECONDS.empty_table()
        # One thread: a scan of the past shall leave the other cores to those who want the present.
        found = opened.read_row_groups(groups, columns=rows.SECONDS.names, use_threads=False)
    of_time = rows.between(rows.from_file(found), first_ms, end_ms)
    return rows.of_key(of_time, *key) if key else of_time


def _may_hold(group: Any, first_ms: int, end_ms: int) -> bool:
    """Whether a group of rows may have one that begins in [first, end), by what is stated of it."""
    columns: Mapping[str, Any] = {
        column.path_in_schema: column for column in (group.column(number) for number in range(group.num_columns))
    }
    stated = columns["timestamp"].statistics
    if stated is None or not stated.has_min_max:
        return True
    return bool(ms_of(stated.min) < end_ms and ms_of(stated.max) >= first_ms)
