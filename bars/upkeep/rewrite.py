"""Data files made of data files: many small ones become few, and of bars only the current revisions stay."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet

from bars.compare import KEY
from bars.upkeep.deltalog import File, Made

ROWS = 131_072
"""Rows held in memory, and in a group of a file."""
FOLDED = "folded-"
"""How the names of files begin that hold current revisions only, of a day that was closed."""


def merged(table: Path, files: Sequence[File]) -> tuple[Made, int]:
    """Writes one file with the rows of files of one day, in their order. Returns it, and 0: no row goes."""
    writer = _Writer(table, files, "part-")
    for batch in _batches(table, files):
        writer.write(batch)
    return writer.close(), 0


def folded(table: Path, files: Sequence[File]) -> tuple[Made, int]:
    """Writes one file with the current bars of all files of one day. Returns it, and how many rows went.

    A row goes if there is one of the same bar with a higher revision. That one stays, with its revision: the next
    amendment counts on from there.
    """
    newest = _amended(table, files)
    writer, gone = _Writer(table, files, FOLDED), 0
    for batch in _batches(table, files):
        kept = _current(batch, newest)
        gone += batch.num_rows - kept.num_rows
        writer.write(kept)
    return writer.close(), gone


def superseded(table: Path, files: Sequence[File]) -> int:
    """How many rows `folded` would leave out."""
    newest, columns = _amended(table, files), [*KEY, "revision"]
    return sum(batch.num_rows - _current(batch, newest).num_rows for batch in _batches(table, files, columns))


def _amended(table: Path, files: Sequence[File]) -> pa.Table:
    """Of each bar with more than its first row: `KEY` and `newest`, its highest revision."""
    columns = [*KEY, "revision"]
    found = [batch.filter(compute.field("revision") > 0) for batch in _batches(table, files, columns)]
    rows = pa.concat_tables(found) if found else pa.table({name: [] for name in columns})
    return rows.group_by(list(KEY)).aggregate([("revision", "max")]).rename_columns([*KEY, "newest"])


def _current(batch: pa.Table, newest: pa.Table) -> pa.Table:
    if not newest.num_rows:
        return batch
    places = pa.array(range(batch.num_rows), pa.int64())
    keys = batch.select([*KEY, "revision"]).append_column("place", places)
    highest = keys.join(newest, list(KEY), join_type="inner")
    gone = highest.filter(compute.field("revision") < compute.field("newest"))["place"]
    return batch.filter(compute.invert(compute.is_in(places, value_set=gone.combine_chunks())))


def _batches(table: Path, files: Sequence[File], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """The rows of files in their order, some at a time."""
    held: list[pa.Table] = []
    for file in files:
        with pyarrow.parquet.ParquetFile(table / file.path) as opened:
            # The day is said by the log; some writers put it into the file as well.
            wanted = columns or [name for name in opened.schema_arrow.names if name != "date"]
            for batch in opened.iter_batches(ROWS, columns=wanted):
                held.append(pa.Table.from_batches([batch]).replace_schema_metadata())
                if sum(one.num_rows for one in held) >= ROWS:
                    yield pa.concat_tables(held)
                    held = []
    if held:
        yield pa.concat_tables(held)


@dataclass
class _Writer:
    """Writes the file that takes the place of others."""

    table: Path
    files: Sequence[File]
    prefix: str
    _stats: dict[str, tuple[Any, Any, int]] = field(default_factory=dict)
    _rows: int = 0
    _opened: pyarrow.parquet.ParquetWriter | None = None

    def __post_init__(self) -> None:
        folder = Path(self.files[0].path).parent
        self._path = folder / f"{self.prefix}{uuid.uuid4()}.zstd.parquet"

    def write(self, rows: pa.Table) -> None:
        if self._opened is None:
            self._opened = pyarrow.parquet.ParquetWriter(
                self.table / self._path, rows.schema, compression="zstd", store_decimal_as_integer=True
            )
        self._opened.write_table(rows, row_group_size=ROWS)
        self._rows += rows.num_rows
        for name in rows.column_names[:3]:  # delta.dataSkippingNumIndexedCols
            bounds = compute.min_max(rows[name]).as_py()
            low, high, nulls = self._stats.get(name, (None, None, 0))
            lows = [value for value in (low, bounds["min"]) if value is not None]
            highs = [value for value in (high, bounds["max"]) if value is not None]
            self._stats[name] = (min(lows, default=None), max(highs, default=None), nulls + rows[name].null_count)

    def close(self) -> Made:
        """The file, on disk for good: those it is made of will be deleted."""
        assert self._opened is not None
        self._opened.close()
        path = self.table / self._path
        with path.open("rb+") as file:
            os.fsync(file.fileno())
        written_ms = max(file.written_ms for file in self.files)
        file_ = File(str(self._path), self.files[0].day, path.stat().st_size, written_ms)
        known = {name: (low, high) for name, (low, high, _) in self._stats.items() if low is not None}
        stats = {
            "numRecords": self._rows,
            "minValues": {name: _stat(low) for name, (low, _) in known.items()},
            "maxValues": {name: _stat(high) for name, (_, high) in known.items()},
            "nullCount": {name: nulls for name, (_, _, nulls) in self._stats.items()},
        }
        return Made(file_, self._rows, stats)


def _stat(value: Any) -> Any:
    """As the log writes a bound: times in whole ms, which is all that our times have."""
    return value if isinstance(value, int | str) else value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
