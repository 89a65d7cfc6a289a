"""The embedded broker serves what the project needs of a Kafka."""

from __future__ import annotations

import pytest
from kafka import KafkaConsumer, KafkaProducer

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


def test_it_does_not_create_topics_by_itself(kafka: str) -> None:
    """A name that was never created stays unknown, though a client asks for its partitions."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, allow_auto_create_topics=True)
    try:
        assert not consumer.partitions_for_topic("never-created")
        assert "never-created" not in consumer.topics()
    finally:
        consumer.close()
