"""Tables and checkpoints written down by hand, and the amend query on them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import DataFrame, SparkSession

from bars.amend import Amender
from bars.recovery.identity import checkpoint_of
from bars.tables import BARS, REJECTED, TRADES, Table, create_tables
from market import settings
from market.bar import Bar, bars_of
from market.trade import Trade
from tests.bars.frames import bars_in

START_MS = 1_723_161_599_000
TOPIC = "crypto-trades"


_KINDS = {
    "string": pyarrow.string(),
    "timestamp": pyarrow.timestamp("us", tz="UTC"),
    "bigint": pyarrow.int64(),
    "int": pyarrow.int32(),
    "boolean": pyarrow.bool_(),
    "date": pyarrow.date32(),
}


def _decimal(kind: str) -> pyarrow.DataType:
    precision, scale = map(int, kind.removeprefix("decimal(").removesuffix(")").split(","))
    return pyarrow.decimal128(precision, scale)


def schema_of(table: Table) -> pyarrow.Schema:
    """A table's columns, as Arrow has them."""
    return pyarrow.schema([(name, _KINDS.get(kind) or _decimal(kind)) for name, kind in table.columns.items()])


def _time(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


class Scene:
    """Tables, and the checkpoints that say how far the other two queries are."""

    def __init__(self, spark: SparkSession, folder: Path) -> None:
        own = {
            "output_dir": str(folder / "data"),
            "checkpoint_dir": str(folder / "checkpoints"),
            "queries": "bars,archive",
        }
        self.spark, self.settings = spark, settings.load({}, None, own | {"kafka_bootstrap": "none:1"})
        self.ending = threading.Event()
        create_tables(self.settings)
        amend_checkpoint = checkpoint_of(self.settings, "amend")
        amend_checkpoint.mkdir(parents=True)
        (amend_checkpoint / "metadata").write_text(json.dumps({"id": "the-amend-query"}))

    def finished(self, query: str, number: int, watermark_ms: int, *ends: int) -> None:
        """Notes a finished batch, with the offsets of partitions 0, 1, … up to which it has read."""
        planned = {"batchWatermarkMs": watermark_ms, "batchTimestampMs": 0, "conf": {}}
        offsets = {TOPIC: {str(partition): end for partition, end in enumerate(ends)}}
        for folder, text in (("offsets", f"v1\n{json.dumps(planned)}\n{json.dumps(offsets)}"), ("commits", "v1\n{}")):
            path = checkpoint_of(self.settings, query) / folder
            path.mkdir(parents=True, exist_ok=True)
            (path / str(number)).write_text(text)

    def archived(self, trades: Sequence[Trade], *, partition: int = 0, first: int = 0) -> DataFrame:
        """Appends trades to the archive, one to a record; returns them as a batch of new rows."""
        rows = [
            trade._asdict()
            | {"price": Decimal(trade.price), "quantity": Decimal(trade.quantity)}
            | {"topic": TOPIC, "partition": partition, "offset": offset, "index": 0}
            | {"kafka_time": _time(trade.timestamp), "timestamp": _time(trade.timestamp)}
            for offset, trade in enumerate(trades, first)
        ]
        self._append(TRADES, rows)
        archive = self.spark.read.format("delta").load(str(TRADES.path(self.settings)))
        last = first + len(trades)
        return archive.filter(f"partition = {partition} AND offset >= {first} AND offset < {last}")

    def barred(self, trades: Iterable[Trade]) -> None:
        """Appends the bars of trades, as the stream has to."""
        self._append(BARS, [asdict(bar) | {"timestamp": _time(bar.timestamp)} for bar in bars_of(trades)])

    def _append(self, table: Table, rows: list[dict[str, Any]]) -> None:
        dated = [row | {"date": row["timestamp"].date()} for row in rows]
        if dated:
            write_deltalake(
                table.path(self.settings), pyarrow.Table.from_pylist(dated, schema_of(table)), mode="append"
            )

    def amender(self, *, may_wait: bool = False) -> Amender:
        return Amender(self.settings, self.ending.is_set, may_wait)

    def rejected(self) -> list[tuple[int, int, int, str]]:
        """Partition, offset, index and reason of every rejected element."""
        rows = DeltaTable(REJECTED.path(self.settings)).to_pyarrow_table().to_pylist()
        return [(row["partition"], row["offset"], row["index"], row["reason"]) for row in rows]

    def rows(self) -> list[Bar]:
        """Every row of the bars."""
        return bars_in(DeltaTable(BARS.path(self.settings)).to_pyarrow_table().to_pylist())
