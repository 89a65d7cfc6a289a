"""Kafka records and archived trades as DataFrames: the only place that reads the topic, or a stream."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from pyspark.sql import DataFrame, SparkSession

from bars.topic import Positions, SourceError, has_topic
from market.gap import TOPIC_SUFFIX, Gap, read_gap
from market.settings import Settings

log = logging.getLogger(__name__)


def kafka_stream(spark: SparkSession, settings: Settings, since: Positions | None = None) -> DataFrame:
    """The topic from its earliest record on, or from some offsets of all its partitions, as a stream."""
    options = {
        "startingOffsets": "earliest" if since is None else json.dumps({settings.kafka_topic: dict(since)}),
        "failOnDataLoss": "true",  # the promise that no trade is lost depends on it
        "maxOffsetsPerTrigger": str(settings.max_offsets_per_trigger),
    }
    return spark.readStream.format("kafka").options(**_consumer(settings)).options(**options).load()


def kafka_table(spark: SparkSession, settings: Settings, since: Positions, until: Positions) -> DataFrame:
    """The topic's records from some offsets up to (without) others, for a batch; of the partitions that both name."""
    topic, partitions = settings.kafka_topic, since.keys() & until.keys()
    options = _consumer(settings) | {
        "assign": json.dumps({topic: sorted(partitions)}),
        "startingOffsets": json.dumps({topic: {number: min(since[number], until[number]) for number in partitions}}),
        "endingOffsets": json.dumps({topic: {number: until[number] for number in partitions}}),
        "failOnDataLoss": "true",
    }
    del options["subscribe"]
    return spark.read.format("kafka").options(**options).load()


def trades_stream(spark: SparkSession, trades: Path) -> DataFrame:
    """The rows of the archive's table `trades` as they are appended, from the first.

    Compaction of the table changes no rows, and the source passes over it. Whole days that retention has deleted are
    passed over too (`ignoreDeletes`); a commit that changes rows fails the query, and must: `skipChangeCommits` would
    pass over rows that such a commit adds.
    """
    stream = spark.readStream.format("delta").option("ignoreDeletes", "true")
    return stream.option("maxBytesPerTrigger", "64m").load(str(trades))


def gap_records(settings: Settings, spark: SparkSession) -> list[Gap]:
    """The gap records of the topic, in their order; none where there is no topic of gaps. Raises `SourceError`."""
    topic = settings.kafka_topic + TOPIC_SUFFIX
    if not has_topic(settings, topic):
        return []
    options = _consumer(settings) | {"subscribe": topic, "startingOffsets": "earliest", "failOnDataLoss": "false"}
    rows = spark.read.format("kafka").options(**options).load().orderBy("partition", "offset").select("value").collect()
    gaps = (read_gap(bytes(row["value"]) if row["value"] is not None else None) for row in rows)
    return [gap for gap in gaps if gap is not None]


def _consumer(settings: Settings) -> dict[str, str]:
    return {
        "kafka.bootstrap.servers": settings.bootstrap,
        "subscribe": settings.kafka_topic,
        "kafka.max.poll.records": str(settings.spark_max_poll_records),
        "kafka.receive.buffer.bytes": str(2**20),
        # Each query has a consumer for each partition, and each keeps up to three of these: what it reads from, what it
        # has read of it, and what it has asked for next.
        "kafka.max.partition.fetch.bytes": str(2 * 2**20),
        "kafka.fetch.max.bytes": str(64 * 2**20),
        "kafka.fetch.max.wait.ms": "50",  # a batch's end is known: waiting for more gains nothing
        # Longer than a broker takes to start again: in local mode a failed task is not tried again, and ends the job.
        "kafkaConsumer.pollTimeoutMs": "120000",
    }


def wait_for_topic(settings: Settings, stopped: Callable[[], bool]) -> str | None:
    """The id of the topic, once Kafka can be reached and has it; None if stopped before. Says what it waits for."""
    said = ""
    while not stopped():
        try:
            return topic_id(settings)
        except SourceError as error:
            if str(error) != said:
                said = str(error)
                log.warning("waiting: %s", said)
        time.sleep(0.5)
    return None


def topic_id(settings: Settings) -> str:
    """The id that Kafka has given the topic when it was created. Raises `SourceError`."""
    topic = settings.kafka_topic
    try:
        admin = KafkaAdminClient(bootstrap_servers=settings.bootstrap, bootstrap_timeout_ms=3_000)
    except KafkaError as error:
        raise SourceError(f"no Kafka at {settings.bootstrap} (KAFKA_BOOTSTRAP): {type(error).__name__}") from error
    try:
        (found,) = admin.describe_topics([topic])
    except KafkaError as error:
        raise SourceError(f"Kafka at {settings.bootstrap} does not describe topic {topic}: {error}") from error
    finally:
        admin.close()
    if found["error_code"]:
        raise SourceError(
            f"Kafka at {settings.bootstrap} has no topic {topic} (KAFKA_TOPIC); "
            "create it with: .venv/bin/python -m producer --create-topics"
        )
    return str(found["topic_id"])
