"""The queries as a whole, on files in place of Kafka."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from bars.parse import parse, valid
from bars.sink import Repeats, bars_stream, write_archive, write_bars
from bars.tables import BARS, create_tables
from market import settings
from market.trade import Trade
from tests.bars.frames import RECORD, records
from tests.bars.strategies import START_MS
from tests.elements import TOLERANCE_MS

DELAY_MS = 10_000
"""Longer than the trades of `strategies.trades` reach, so that no split makes one late."""
CLOSE, CLOSE_LATER = (
    json.dumps({"exchange": "binance", "heartbeat": START_MS + seconds * 1000}).encode() for seconds in (60, 160)
)


@dataclass
class Pipeline:
    """The bars query, which tells of `repeats`, and the archive, reading files of records from a folder."""

    spark: SparkSession
    folder: Path
    bar_format: str = "delta"
    repeats: list[Repeats] = field(default_factory=list)
    removed: int = 0
    """Seconds, each of an exchange and symbol, that left the state of the bars query."""
    _files: int = 0
    _offset: int = 0

    @property
    def settings(self) -> settings.Settings:
        options = {
            "output_dir": str(self.folder / "data"),
            "bar_format": self.bar_format,
            "kafka_bootstrap": "none:1",
            "watermark_delay": f"{DELAY_MS}ms",
            "queries": "bars,archive",
        }
        return settings.load({}, None, options)

    def feed(self, values: Sequence[bytes | None], kafka_ms: int = 4_000_000_000_000) -> None:
        """Adds a file of records, which becomes a batch of its own."""
        frame = records(self.spark, values, kafka_ms=kafka_ms, first=self._offset)
        self._offset += len(values)
        frame.coalesce(1).write.parquet(str(self.folder / f"in/{self._files}"))
        self._files += 1

    def run(self, *, archive: bool = True) -> None:
        """Processes what is there, as `--available-now` does."""
        create_tables(self.settings)
        elements = self._source().transform(parse, future_tolerance_ms=TOLERANCE_MS)
        bars = valid(elements).transform(bars_stream, self.settings)
        tell = self.repeats.extend
        query = write_bars(bars, self.settings, self.checkpoint("bars"), available_now=True, tell=tell)
        query.awaitTermination()
        for progress in query.recentProgress:
            self.removed += sum(operator["numRowsRemoved"] for operator in progress["stateOperators"])
        if archive:
            write_archive(elements, self.settings, self.checkpoint("archive"), available_now=True).awaitTermination()

    def forget(self, query: str) -> None:
        """Makes as if Spark had crashed after its last batch was written, before it noted so."""
        newest = max((self.checkpoint(query) / "commits").glob("[0-9]*"), key=lambda file: int(file.name))
        newest.unlink()
        (newest.parent / f".{newest.name}.crc").unlink()

    def checkpoint(self, query: str) -> Path:
        return self.folder / "checkpoints" / query

    def rows(self, table: Any = BARS) -> list[Any]:
        path = str(table.path(self.settings))
        return self.spark.read.format(self.bar_format if table is BARS else "delta").load(path).collect()

    def _source(self) -> DataFrame:
        stream = self.spark.readStream.schema(RECORD).option("maxFilesPerTrigger", 1)
        return stream.option("recursiveFileLookup", True).parquet(str(self.folder / "in"))


SOME = [
    Trade(
        "binance",
        "BTCUSDT",
        f"{100 + number % 7}.5",
        f"0.{number + 1:08}",
        START_MS + number * 37,
        number,
        number % 3 == 0,
    )
    for number in range(200)
]
