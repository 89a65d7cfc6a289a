"""The job in this process: `bars.run.run` on a topic of the test's own, and what it must have made of it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from deltalake import DeltaTable
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from pyspark.sql import SparkSession

from bars import run
from bars.tables import BARS, Table
from market import settings as market_settings
from market.bar import Bar, bars_of, current
from market.settings import Settings
from market.trade import Element, Trade, read_record, record_of
from tests.bars.frames import bars_in

Position = tuple[int, int, int]
"""Partition, offset, and index of an element in its record."""

START_MS = 1_723_161_600_000


def configured(kafka: str, topic: str, folder: Path, **options: str) -> Settings:
    """Settings with a topic and folders of the test's own, for the queries that read the topic."""
    folders = {"output_dir": str(folder / "data"), "checkpoint_dir": str(folder / "checkpoints")}
    own = {"kafka_bootstrap": kafka, "kafka_topic": topic, "queries": "bars,archive"}
    return market_settings.load({}, None, folders | own | options)


def new_topic(kafka: str, partitions: int = 4) -> str:
    """The name of a new topic as the product makes its own."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        time = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=time)])
    finally:
        admin.close()
    return name


def some(number: int, *, first_id: int = 0, start_ms: int = START_MS, symbol: str = "BTCUSDT") -> list[Trade]:
    """That many trades, ten to a second, of one symbol."""
    return [
        Trade("binance", symbol, f"{100 + id_ % 7}.5", f"0.{id_ + 1:08}", start_ms + 100 * count, id_, id_ % 3 == 0)
        for count, id_ in enumerate(range(first_id, first_id + number))
    ]


def heartbeat(time_ms: int) -> bytes:
    """A record that moves the watermark."""
    return json.dumps({"exchange": "binance", "heartbeat": time_ms}).encode()


@dataclass
class InTopic:
    """What a job's topic holds, and what plain Python makes of it."""

    settings: Settings

    def send(self, values: Iterable[bytes | None], partition: int = 0) -> None:
        """Puts records into a partition of the topic."""
        producer = KafkaProducer(bootstrap_servers=self.settings.bootstrap, linger_ms=20, max_request_size=2 * 2**20)
        try:
            # Without a value, a record must have a key.
            topic = self.settings.kafka_topic
            for future in [producer.send(topic, value, key=b"any", partition=partition) for value in values]:
                future.get(timeout=60)
        finally:
            producer.close()

    def send_trades(self, trades: Iterable[Trade], partition: int = 0) -> None:
        """Puts trades into a partition, and a heartbeat that closes all their seconds behind them."""
        many = list(trades)
        closing = heartbeat(max(trade.timestamp for trade in many) + 60_000)
        self.send([*map(record_of, many), closing], partition)

    def expected(self) -> list[Bar]:
        """What plain Python makes of the topic: of each identity the first element, in its partition's order."""
        found: dict[tuple[str, str, int], Trade] = {}
        for element in self.elements().values():
            if isinstance(element, Trade):
                found.setdefault((element.exchange, element.symbol, element.trade_id), element)
        return bars_of(found.values())

    def elements(self) -> dict[Position, Element]:
        """Every element of the topic, as plain Python reads it, in the order of each partition."""
        consumer = KafkaConsumer(bootstrap_servers=self.settings.bootstrap)
        found: dict[Position, Element] = {}
        try:
            topic = self.settings.kafka_topic
            partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            consumer.seek_to_beginning()
            ends = consumer.end_offsets(partitions)
            while any(consumer.position(partition) < end for partition, end in ends.items()):
                for records in consumer.poll(timeout_ms=500).values():
                    for record in records:
                        read = read_record(record.value, record.timestamp, self.settings.future_tolerance)
                        for index, element in enumerate(read):
                            found[record.partition, record.offset, index] = element
        finally:
            consumer.close()
        return found


@dataclass
class Job(InTopic):
    """The job, its topic and its tables."""

    spark: SparkSession

    def process(self, *queries: str) -> int:
        """Runs the job, or some of its queries, on what the topic holds; the exit code."""
        configured = replace(self.settings, queries=queries) if queries else self.settings
        return run.run(self.spark, configured, run.Stop(), available_now=True)

    def rows(self, table: Table) -> list[dict[str, object]]:
        """A table's rows as a plain Delta reader sees them."""
        return list(DeltaTable(table.path(self.settings)).to_pyarrow_table().to_pylist())

    def bars(self) -> list[Bar]:
        """The current bars. Fails where a bar and revision stand twice."""
        bars = bars_in(self.rows(BARS))
        assert len({(bar.exchange, bar.symbol, bar.timestamp, bar.revision) for bar in bars}) == len(bars)
        return current(bars)


def position(row: dict[str, object]) -> Position:
    """Where the element of a row of the archive stands in the topic."""
    index = row["index"] or 0
    return row["partition"], row["offset"], index  # type: ignore[return-value]
