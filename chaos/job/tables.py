"""The job's tables as any reader of Delta sees them: without Spark."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import DeltaTable

from chaos.job.judge import as_archived
from chaos.job.oracle import ARCHIVED, Position, Refused
from market.bar import Bar

NAMES = ("bars_1s", "trades", "rejected_trades")


def bars(folder: Path) -> list[Bar]:
    """All rows of `bars_1s`."""
    rows = DeltaTable(folder / "bars_1s").to_pyarrow_table().to_pylist()
    names = [field.name for field in fields(Bar)]
    return [
        Bar(**{name: row[name] for name in names} | {"timestamp": round(row["timestamp"].timestamp() * 1000)})
        for row in rows
    ]


def archive(folder: Path, partition: int) -> pa.Table:
    """The rows of `trades` that came of one partition of the topic, as `oracle.ARCHIVED`."""
    dataset = DeltaTable(folder / "trades").to_pyarrow_dataset()
    rows = dataset.to_table(columns=ARCHIVED.names, filter=ds.field("partition") == partition)
    return as_archived(rows).cast(ARCHIVED)


def rejected(folder: Path) -> Iterator[tuple[Position, Refused]]:
    """All rows of `rejected_trades`."""
    columns = ["partition", "offset", "index", "reason", "raw"]
    for row in DeltaTable(folder / "rejected_trades").to_pyarrow_table(columns=columns).to_pylist():
        # Of a record that is no element at all, there is no index.
        yield (row["partition"], row["offset"], row["index"] or 0), Refused(row["reason"], row["raw"])


def written(*folders: Path) -> set[Path]:
    """The files by which tables and checkpoints go on: commits of Delta, and offsets and commits of Spark."""
    patterns = ("*/_delta_log/*.json", "*/*/offsets/[0-9]*", "*/*/commits/[0-9]*")
    return {file for folder in folders for pattern in patterns for file in folder.glob(pattern)}


class Growth:
    """How many rows a table has, told by its log alone: cheap enough to be asked all the time."""

    def __init__(self, table: Path) -> None:
        self.rows = 0
        self._log = table / "_delta_log"
        self._version = 0

    def look(self) -> int:
        """The rows now."""
        while (file := self._log / f"{self._version:020}.json").exists():
            for line in file.read_text().splitlines():
                add = json.loads(line).get("add")
                if add and add["dataChange"]:  # else the rows were there before, in other files
                    self.rows += json.loads(add["stats"])["numRecords"]
            self._version += 1
        return self.rows
