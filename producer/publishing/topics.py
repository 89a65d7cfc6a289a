"""The topics, of trades and of gaps, created with the settings that the rest relies on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from market.gap import TOPIC_SUFFIX
from producer import ProducerError

log = logging.getLogger(__name__)

TIMESTAMP_TYPE = "message.timestamp.type"
LOG_APPEND_TIME = "LogAppendTime"
"""A record's Kafka time is when it was written: replays of old trades would else be deleted by retention at once."""

RETENTION = "retention.ms"
_FOR_EVER = "-1"  # gaps are few, and what is missing has to be known as long as the trades around it are read
_PARTITIONS = "partitions"

_TIMEOUT_MS = 10_000


class TopicError(ProducerError):
    """The topics cannot be created or looked at."""


def create(bootstrap: str, topic: str, *, partitions: int) -> list[str]:
    """Create the topic of trades and that of its gaps, or look at those that are there; a sentence about each.

    A topic with other settings stays as it is and is warned of: changing partitions moves symbols between them.
    Raises `TopicError`.
    """
    try:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap.split(","), bootstrap_timeout_ms=_TIMEOUT_MS)
    except KafkaError as error:
        raise TopicError(f"Kafka does not answer at {bootstrap} ({error}); start it, or set KAFKA_BOOTSTRAP") from error
    wanted = {
        topic: {_PARTITIONS: str(partitions), TIMESTAMP_TYPE: LOG_APPEND_TIME},
        topic + TOPIC_SUFFIX: {_PARTITIONS: "1", TIMESTAMP_TYPE: LOG_APPEND_TIME, RETENTION: _FOR_EVER},
    }
    try:
        return [_create(admin, name, settings) for name, settings in wanted.items()]
    except KafkaError as error:
        raise TopicError(f"the topics {' and '.join(wanted)} at {bootstrap} could not be created: {error!r}") from error
    finally:
        admin.close()


def differences(topic: str, wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """What is not as it should be, with both values."""
    return [
        f"topic {topic} has {name}={found[name]}, and {value} is expected"
        for name, value in wanted.items()
        if found[name] != value
    ]


def _create(admin: KafkaAdminClient, topic: str, settings: Mapping[str, str]) -> str:
    wanted = {
        "num_partitions": int(settings[_PARTITIONS]),
        "replication_factor": -1,  # the broker's default
        "configs": {name: value for name, value in settings.items() if name != _PARTITIONS},
    }
    try:
        admin.create_topics({topic: wanted}, timeout_ms=_TIMEOUT_MS, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        found = differences(topic, settings, _found(admin, topic))
        for difference in found:
            log.warning("%s; it stays as it is", difference)
        return f"topic {topic} exists" + ("" if found else " as it should be")
    return f"topic {topic} created: {', '.join(f'{name}={value}' for name, value in settings.items())}"


def _found(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    description = admin.describe_topics([topic])[0]
    names = [TIMESTAMP_TYPE, RETENTION]
    answer: Any = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, names)], config_filter="all")
    configs = answer[ConfigResourceType.TOPIC.name.lower()][topic]
    return {_PARTITIONS: str(len(description["partitions"])), **{name: configs[name]["value"] for name in names}}
