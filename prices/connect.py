"""The way to Kafka: a consumer, once the broker answers and the topic is there."""

from __future__ import annotations

import logging
import threading
from typing import Any

from kafka import KafkaConsumer
from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

from market.settings import Settings

log = logging.getLogger(__name__)

SESSION_MS = 6_000
"""How long the group waits for a member that is silent before it gives its partitions to others.

The shortest that a broker allows unless it is told otherwise (`group.min.session.timeout.ms`). Heartbeats leave from a
thread of their own, so that neither Redis nor a long write delays them: four of them in a row have to be lost."""
HEARTBEAT_MS = 1_500
"""Members hear of a rebalance by the answer to a heartbeat."""
POLL_INTERVAL_MS = 30_000
"""How long a member may do something else than poll: Kafka and Redis are given 15 s together at the most."""
_WAIT_S = 2.0


def connected(settings: Settings, group: str, stop: threading.Event) -> Any | None:
    """A consumer that has not subscribed yet; None when told to stop. Waits for the broker and for the topic."""
    while not stop.is_set():
        try:
            consumer = _consumer(settings, group)
        except KafkaError as error:
            log.warning("Kafka does not answer at %s (%s); trying again", settings.bootstrap, error)
            stop.wait(_WAIT_S)
            continue
        try:
            if settings.kafka_topic in consumer.topics():
                return consumer
            log.warning("there is no topic %s at %s; waiting for it", settings.kafka_topic, settings.bootstrap)
        except KafkaError as error:
            log.warning("Kafka does not answer at %s (%s); trying again", settings.bootstrap, error)
        consumer.close()
        stop.wait(_WAIT_S)
    return None


def topic_id_of(consumer: Any, topic: str) -> str:
    """The id that Kafka has given a topic when it was created; empty where it gives none (before 2.8)."""
    return str(consumer._cluster.topic_id(topic) or "")  # kafka-python 3.0.12 tells it nowhere else


def _consumer(settings: Settings, group: str) -> Any:
    clients: list[Any] = []

    def client(**options: Any) -> Any:
        clients.append(KafkaNetClient(**options))
        return clients[-1]

    try:
        return KafkaConsumer(
            bootstrap_servers=settings.bootstrap.split(","),
            client_id="prices",
            group_id=group,
            # Only for offsets that retention has passed: where to begin is decided by `start_of`.
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=settings.max_poll_records,
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            max_poll_interval_ms=POLL_INTERVAL_MS,
            reconnect_backoff_max_ms=1_000,
            allow_auto_create_topics=False,
            bootstrap_timeout_ms=5_000,
            metrics_enabled=False,
            kafka_client=client,
        )
    except KafkaError:
        for one in clients:
            one.close()  # its thread would go on, one for each attempt
        raise
