"""The embedded broker serves what the project needs of a Kafka."""

from __future__ import annotations

import uuid

import pytest
from kafka import KafkaConsumer, KafkaProducer

from local import broker

pytestmark = pytest.mark.e2e


def test_it_keeps_records_for_a_consumer_group(kafka: str, topic: str) -> None:
    """Records are read back by a consumer group in the order of their partition."""
    values = [str(number).encode() for number in range(100)]
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all", enable_idempotence=True)
    try:
        futures = [producer.send(topic, key=b"BTCUSDT", value=value) for value in values]
        for future in futures:
            future.get(timeout=30)
    finally:
        producer.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=kafka,
        group_id=f"group-of-{topic}",
        auto_offset_reset="earliest",
        consumer_timeout_ms=30_000,
    )
    try:
        seen = [next(consumer).value for _ in values]
        consumer.commit()
    finally:
        consumer.close()
    assert seen == values


def test_an_id_that_reads_as_an_option_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """One in 64 would begin with a dash, and Kafka's formatting tool takes that for an option."""
    ids = iter([uuid.UUID(int=0xFB << 120), uuid.UUID(int=1)])
    monkeypatch.setattr(broker.uuid, "uuid4", lambda: next(ids))
    assert broker._cluster_id() == "AAAAAAAAAAAAAAAAAAAAAQ"


def test_it_does_not_create_topics_by_itself(kafka: str) -> None:
    """A name that was never created stays unknown, though a client asks for its partitions."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, allow_auto_create_topics=True)
    try:
        assert not consumer.partitions_for_topic("never-created")
        assert "never-created" not in consumer.topics()
    finally:
        consumer.close()
