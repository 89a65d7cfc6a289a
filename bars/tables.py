"""The tables: where each lies, what its columns are, and how it is created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType

from bars.aggregate import COLUMNS
from market.settings import Settings


@dataclass(frozen=True)
class Table:
    """A table: its folder's name and its columns, the last of which partitions it."""

    name: str
    columns: dict[str, str]

    def path(self, settings: Settings) -> Path:
        """Where the table lies."""
        return settings.tables / self.name


_POSITION = {
    "topic": "string",
    "partition": "int",
    "offset": "bigint",
    "index": "int",
    "kafka_time": "timestamp",
}
BARS = Table("bars_1s", COLUMNS)
TRADES = Table(
    "trades",
    {
        "exchange": "string",
        "symbol": "string",
        "timestamp": "timestamp",
        "trade_id": "bigint",
        "price": "decimal(18,8)",
        "quantity": "decimal(19,8)",
        "is_buyer_maker": "boolean",
        **_POSITION,
        "date": "date",
    },
)
REJECTED = Table("rejected_trades", {**_POSITION, "raw": "binary", "reason": "string", "date": "date"})

TABLES: Mapping[str, tuple[Table, ...]] = {"bars": (BARS,), "archive": (TRADES, REJECTED), "amend": ()}
"""The tables each query creates: amend appends to those of the others."""

_PROPERTIES = {
    "delta.appendOnly": "true",
    "delta.checkpointInterval": "100",  # a checkpoint is written inside a batch: seldom
    "delta.enableExpiredLogCleanup": "false",  # bars/upkeep/passes.py does, and knows who still reads
    "delta.logRetentionDuration": "interval 1 hour",
    "delta.deletedFileRetentionDuration": "interval 1 hour",  # each checkpoint lists what was replaced since
    "delta.dataSkippingNumIndexedCols": "3",
    "delta.enableDeletionVectors": "false",  # every reader of Delta can read the tables
}


_KINDS = {"bigint": "long", "int": "integer"}
"""Types that the Delta protocol calls by other names than Spark."""


def create_tables(settings: Settings) -> None:
    """Creates the Delta tables of the configured queries that are not there yet.

    Without Spark: that takes milliseconds instead of seconds.
    """
    tables = [table for query in settings.queries for table in TABLES[query]]
    if "bars" in settings.queries and settings.bar_format == "delta":
        tables.append(REJECTED)  # for conflicts: it is the archive's table, and there without the archive too
    for table in tables:
        if table is BARS and settings.bar_format == "parquet":
            continue  # Spark's sink creates it
        create(table, table.path(settings))


def create(table: Table, path: Path) -> None:
    """Creates a Delta table where there is none."""
    DeltaTable.create(
        path,
        Schema([Field(name, PrimitiveType(_KINDS.get(kind, kind))) for name, kind in table.columns.items()]),
        mode="ignore",
        partition_by="date",
        configuration=_PROPERTIES,
        raise_if_key_not_exists=False,
    )
