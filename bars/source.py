"""Kafka records as DataFrames: the only place that reads the topic."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pyspark.sql import DataFrame, SparkSession

from market.settings import Settings

log = logging.getLogger(__name__)

Offsets = Mapping[str, int]
"""Partition (as text, the way Spark writes it) to offset."""


def kafka_stream(spark: SparkSession, settings: Settings) -> DataFrame:
    """The topic from its earliest record on, as a stream."""
    options = {
        "startingOffsets": "earliest",
        "failOnDataLoss": "true",  # the promise that no trade is lost depends on it
        "maxOffsetsPerTrigger": str(settings.max_offsets_per_trigger),
    }
    return spark.readStream.format("kafka").options(**_consumer(settings)).options(**options).load()


def kafka_table(spark: SparkSession, settings: Settings, until: Offsets) -> DataFrame:
    """The topic from its earliest record up to (without) the given offsets, for a batch."""
    options = {
        "startingOffsets": "earliest",
        "endingOffsets": json.dumps({settings.kafka_topic: dict(until)}),
        "failOnDataLoss": "true",
    }
    return spark.read.format("kafka").options(**_consumer(settings)).options(**options).load()


def _consumer(settings: Settings) -> dict[str, str]:
    return {
        "kafka.bootstrap.servers": settings.bootstrap,
        "subscribe": settings.kafka_topic,
        "kafka.max.poll.records": str(settings.spark_max_poll_records),
        "kafka.receive.buffer.bytes": str(2**20),
        "kafka.max.partition.fetch.bytes": str(8 * 2**20),
        "kafka.fetch.max.bytes": str(64 * 2**20),
        "kafka.fetch.max.wait.ms": "50",  # a batch's end is known: waiting for more gains nothing
        "kafkaConsumer.pollTimeoutMs": "10000",
    }


def wait_for_topic(settings: Settings, stopped: Callable[[], bool]) -> str | None:
    """The id of the topic, once Kafka can be reached and has it; None if stopped before. Says what it waits for."""
    said = ""
    while not stopped():
        topic_id, missing = _topic_id(settings)
        if topic_id:
            return topic_id
        if missing != said:
            log.warning("waiting: %s", missing)
            said = missing
        time.sleep(0.5)
    return None


def _topic_id(settings: Settings) -> tuple[str | None, str]:
    topic = settings.kafka_topic
    try:
        admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap, bootstrap_timeout_ms=3_000)
    except KafkaError as error:
        return None, f"no Kafka at {settings.bootstrap} (KAFKA_BOOTSTRAP): {type(error).__name__}"
    try:
        (found,) = admin.describe_topics([topic])
    except KafkaError as error:
        return None, f"Kafka at {settings.bootstrap} does not describe topic {topic}: {error}"
    finally:
        admin.close()
    if found["error_code"]:
        return None, (
            f"Kafka at {settings.bootstrap} has no topic {topic} (KAFKA_TOPIC); "
            "create it with: .venv/bin/python -m producer --create-topics"
        )
    return str(found["topic_id"]), ""
