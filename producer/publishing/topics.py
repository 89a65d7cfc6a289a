"""The topic, created with the settings that the rest relies on."""

from __future__ import annotations

import logging
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from producer import ProducerError

log = logging.getLogger(__name__)

TIMESTAMP_TYPE = "message.timestamp.type"
LOG_APPEND_TIME = "LogAppendTime"
"""A record's Kafka time is when it was written: replays of old trades would else be deleted by retention at once."""

_TIMEOUT_MS = 10_000


class TopicError(ProducerError):
    """The topic cannot be created or looked at."""


def create(bootstrap: str, topic: str, *, partitions: int) -> str:
    """Create the topic, or look at the one that is there; what was done or found, in one sentence.

    A topic with other settings stays as it is and is warned of: changing partitions moves symbols between them.
    Raises `TopicError`.
    """
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=_TIMEOUT_MS)
    except KafkaError as error:
        raise TopicError(f"Kafka does not answer at {bootstrap} ({error}); start it, or set KAFKA_BOOTSTRAP") from error
    try:
        return _create(admin, topic, partitions)
    except KafkaError as error:
        raise TopicError(f"topic {topic} at {bootstrap} could not be created: {error!r}") from error
    finally:
        admin.close()


def differences(topic: str, partitions: int, found_partitions: int, found_type: str) -> list[str]:
    """What is not as the settings say, with both values."""
    found = []
    if found_partitions != partitions:
        found.append(f"topic {topic} has {found_partitions} partitions, and KAFKA_PARTITIONS says {partitions}")
    if found_type != LOG_APPEND_TIME:
        found.append(f"topic {topic} has {TIMESTAMP_TYPE}={found_type}, and {LOG_APPEND_TIME} is expected")
    return found


def _create(admin: KafkaAdminClient, topic: str, partitions: int) -> str:
    wanted = {
        "num_partitions": partitions,
        "replication_factor": -1,  # the broker's default
        "configs": {TIMESTAMP_TYPE: LOG_APPEND_TIME},
    }
    try:
        admin.create_topics({topic: wanted}, timeout_ms=_TIMEOUT_MS, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        found = differences(topic, partitions, *_found(admin, topic))
        for difference in found:
            log.warning("%s; it stays as it is", difference)
        return f"topic {topic} exists" + ("" if found else " as it should be")
    return f"topic {topic} created: {partitions} partitions, {TIMESTAMP_TYPE}={LOG_APPEND_TIME}"


def _found(admin: KafkaAdminClient, topic: str) -> tuple[int, str]:
    description = admin.describe_topics([topic])[0]
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, [TIMESTAMP_TYPE])
    answer: Any = admin.describe_configs([resource], config_filter="all")
    return len(description["partitions"]), answer[ConfigResourceType.TOPIC.name.lower()][topic][TIMESTAMP_TYPE]["value"]
