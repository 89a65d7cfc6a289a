"""A topic, a table and what the bars query's checkpoint says of them, set up without running the query."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.aggregate import COLUMNS, to_bars
from bars.audit.proof import Proof
from bars.audit.reconcile import reconcile
from bars.parse import parse
from bars.recovery.identity import checkpoint_of
from bars.sink import archive_writer
from bars.source import kafka_table
from bars.tables import BARS, REJECTED, TRADES, create_tables
from bars.topic import holding_of
from market import settings
from market.bar import Bar
from market.gap import Gap, gap_record
from market.settings import Settings
from market.trade import Trade, record_of
from tests.bars.frames import bars_in, elements

START_MS = 1_762_000_000_000
"""2025-11-01 12:26:40"""
WATERMARK_MS = START_MS + 10_000
KEY = ("binance", "BTCUSDT")


def trade(number: int, second: float, *, symbol: str = "BTCUSDT", price: str = "100", quantity: str = "1") -> Trade:
    return Trade("binance", symbol, price, quantity, START_MS + round(second * 1_000), number, number % 2 == 0)


SOME = [trade(number, number / 2, price=f"{100 + number % 3}.5") for number in range(16)]
"""Two in each of the seconds 0 to 7."""
OPEN = [trade(16, 10), trade(17, 10.5)]


@dataclass
class Scene:
    """What an audit looks at."""

    spark: SparkSession
    kafka: str
    topic: str
    folder: Path

    @property
    def settings(self) -> Settings:
        options = {
            "output_dir": str(self.folder / "data"),
            "checkpoint_dir": str(self.folder / "checkpoints"),
            "kafka_bootstrap": self.kafka,
            "kafka_topic": self.topic,
        }
        return settings.load({}, None, options)

    def publish(self, *values: Trade | bytes | None, partition: int = 0) -> None:
        """Appends records to a partition, in order."""
        self._send(self.topic, [record_of(value) if isinstance(value, Trade) else value for value in values], partition)

    def tell(self, *gaps: Gap) -> None:
        """Appends gap records."""
        self._send(f"{self.topic}-gaps", [gap_record(gap) for gap in gaps], 0)

    def finish(self, watermark_ms: int, batch: int = 1, query: str = "bars", **offsets: int) -> None:
        """Writes the checkpoint of a query that has read the topic, or up to the offsets p0=…, and has closed what the
        watermark says."""
        ends = self.ends() | {int(name[1:]): offset for name, offset in offsets.items()}
        checkpoint = checkpoint_of(self.settings, query)
        for name, lines in {
            "metadata": [json.dumps({"id": f"the {query} query"})],
            f"offsets/{batch}": [
                "v1",
                json.dumps({"batchWatermarkMs": watermark_ms, "conf": {}}),
                json.dumps({self.topic: ends}),
            ],
            f"commits/{batch}": ["v1", "{}"],
        }.items():
            file = checkpoint / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("\n".join(lines))

    def ends(self) -> dict[int, int]:
        """Of each partition, the offset that its next record will bear."""
        return {number: range_.end for number, range_ in holding_of(self.settings).items()}

    def write(self, trades: Iterable[Trade], revision: int = 0) -> None:
        """Appends the bars of some trades to the table."""
        self.append(to_bars(elements(self.spark, trades)).withColumn("revision", F.lit(revision)))

    def append(self, rows: DataFrame) -> None:
        """Appends rows to the table."""
        create_tables(self.settings)
        shaped = rows.selectExpr(*(f"CAST({name} AS {kind}) AS {name}" for name, kind in COLUMNS.items()))
        shaped.write.format("delta").mode("append").save(str(BARS.path(self.settings)))

    def archive(self) -> None:
        """Writes all that the topic holds to the archive, as its query does."""
        self.finish(0, 0, "archive")
        starts = {number: range_.start for number, range_ in holding_of(self.settings).items()}
        create_tables(self.settings)
        write = archive_writer(
            TRADES.path(self.settings), REJECTED.path(self.settings), checkpoint_of(self.settings, "archive")
        )
        write(
            parse(kafka_table(self.spark, self.settings, starts, self.ends()), future_tolerance_ms=2_000),
            0,
        )

    def forget(self, offset: int, partition: int = 0) -> None:
        """Deletes a partition's records before an offset, as retention does."""
        admin = KafkaAdminClient(bootstrap_servers=self.kafka)
        try:
            admin.delete_records({TopicPartition(self.topic, partition): offset})
        finally:
            admin.close()

    def rows(self) -> list[Bar]:
        """Every row of the table."""
        return bars_in(self.spark.read.format("delta").load(str(BARS.path(self.settings))).collect())

    def _send(self, topic: str, values: Iterable[bytes | None], partition: int) -> None:
        producer = KafkaProducer(bootstrap_servers=self.kafka)
        try:
            for sent in [producer.send(topic, value, b"key", partition=partition) for value in values]:
                sent.get(timeout=10)
        finally:
            producer.close()


def audit(scene: Scene, **options: object) -> Proof:
    defaults = {"check": True, "sample": 5, "seed": 1, "patience_s": 0}
    return reconcile(scene.spark, scene.settings, **(defaults | options))  # type: ignore[arg-type]
