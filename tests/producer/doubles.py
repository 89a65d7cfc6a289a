"""A Kafka producer that acknowledges when it is told to, and what else the tests of this package share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import IllegalStateError
from kafka.future import Future

from market.trade import Trade
from producer.publishing.publish import Publisher
from producer.publishing.session import Session
from producer.publishing.spill import Spill

WITHIN_S = 10.0


class ScriptedKafka:
    """Takes records as a session does: at once, with a future each. Acknowledges at once unless `held`."""

    def __init__(self, *, held: bool = False) -> None:
        self.held = held
        self.failure: str | None = None
        self.closed = False
        self.futures: list[Future] = []
        self.sent: list[tuple[Any, bytes | None, int | None]] = []
        """(content, key, partition) of each record, in the order of sending."""
        self.topics: list[str] = []
        """Theirs."""

    def send(self, topic: str, *, value: bytes, key: bytes | None, partition: int | None) -> Future:
        """Take a record."""
        self.sent.append((json.loads(value), key, partition))
        self.futures.append(Future())
        self.topics.append(topic)
        if not self.held:
            self._acknowledge(len(self.futures) - 1)
        return self.futures[-1]

    def acknowledge(self, count: int) -> None:
        """Acknowledge the next records that are not."""
        for number in [number for number, future in enumerate(self.futures) if not future.is_done][:count]:
            self._acknowledge(number)

    def acknowledge_last(self) -> None:
        """Acknowledge the newest record."""
        self._acknowledge(len(self.futures) - 1)

    def partitions_for(self, topic: str) -> set[int]:
        """Two partitions."""
        return {1, 0}

    def abort(self, reason: str) -> None:
        """Fail what is not acknowledged, as kafka-python does."""
        self.failure = self.failure or reason
        for future in self.futures:
            if not future.is_done:
                future.failure(IllegalStateError("Producer is closed forcefully."))

    def ended(self) -> None:
        """It has no thread."""

    def close(self) -> None:
        """Nothing to close."""
        self.closed = True

    def _acknowledge(self, number: int) -> None:
        partition = self.sent[number][2] or 0
        self.futures[number].success(SimpleNamespace(topic_partition=TopicPartition(self.topics[number], partition)))


def publisher(
    kafka: ScriptedKafka,
    *later: ScriptedKafka,
    batch_size: int = 1,
    linger_ms: int = 5,
    records_in_flight: int = 10_000,
    spill: Spill | None = None,
    stall_s: float = 5.0,
    gate: asyncio.Event | None = None,
    **callbacks: Any,
) -> Publisher:
    """A publisher over a scripted Kafka; when that fails, over the `later` ones, behind the gate, then over none."""
    sessions = iter(later)

    async def connect() -> Session:
        if gate:
            await gate.wait()
        session = next(sessions, None)
        if session is None:
            await asyncio.Event().wait()
        return cast(Session, session)

    return Publisher(
        connect,
        cast(Session, kafka),
        "topic",
        batch_size=batch_size,
        linger_ms=linger_ms,
        records_in_flight=records_in_flight,
        spill=spill,
        stall_s=stall_s,
        **callbacks,
    )


def trade(trade_id: int, symbol: str = "BTCUSDT", timestamp: int = 1_700_000_000_000) -> Trade:
    """A trade that differs in what these tests look at."""
    return Trade("binance", symbol, "1.50", "2", timestamp, trade_id, True)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until a condition holds."""
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.002)


def records(bootstrap: str, topic: str) -> list[Any]:
    """All records of a topic, by partition and offset."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for batch in consumer.poll(timeout_ms=1_000).values():
                found.extend(batch)
        return sorted(found, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()


def elements(bootstrap: str, topic: str) -> list[tuple[int, dict[str, Any]]]:
    """The elements of all records, with their partitions."""
    return [
        (record.partition, element)
        for record in records(bootstrap, topic)
        for content in [json.loads(record.value)]
        for element in (content if isinstance(content, list) else [content])
    ]
