"""The way to Kafka: wait for the broker, wait for the topics, and say so meanwhile."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import crc32c
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from kafka.record import util

from producer import ProducerError
from producer.publishing.apart import apart
from producer.publishing.session import Session

log = logging.getLogger(__name__)

_ATTEMPT_MS = 5_000
_PAUSE_S = 1.0


class SlowChecksumsError(ProducerError):
    """kafka-python would compute checksums in Python, at half the speed."""


def require_fast_checksums() -> None:
    """Raise `SlowChecksumsError` unless kafka-python uses the `crc32c` package."""
    if util.crc32c_c is not crc32c.crc32c:
        raise SlowChecksumsError(
            "kafka-python does not use the crc32c package and would run at half its speed; "
            "install the pinned dependencies again with scripts/setup"
        )


async def connect(bootstrap: str, *topics: str, linger_ms: int) -> Session:
    """A session for topics that exist. Waits for all of them without end, telling what it waits for."""
    require_fast_checksums()
    while True:
        try:
            session = await apart(partial(_session, bootstrap, linger_ms), discard=_unwanted)
            break
        except KafkaError as error:
            log.warning("Kafka does not answer at %s (%s); trying again", bootstrap, error)
            await asyncio.sleep(_PAUSE_S)
    try:
        for topic in topics:
            log.info(
                "publishing to %s (%d partitions) at %s", topic, await _learned(session, bootstrap, topic), bootstrap
            )
    except BaseException:
        _unwanted(session)
        raise
    session.never_wait()
    return session


async def _learned(session: Session, bootstrap: str, topic: str) -> int:
    while True:
        try:
            return await apart(partial(session.learn, topic))
        except KafkaTimeoutError:
            log.warning(
                "there is no topic %s at %s, or the broker went away; create the topic with "
                "`python -m producer --create-topics`; waiting for it",
                topic,
                bootstrap,
            )
        except KafkaError as error:
            log.warning("topic %s at %s cannot be used (%r); trying again", topic, bootstrap, error)
            await asyncio.sleep(_PAUSE_S)


def _unwanted(session: Session) -> None:
    session.abort("nobody waits for it any more")


def _session(bootstrap: str, linger_ms: int) -> Session:
    kafka = KafkaProducer(
        bootstrap_servers=bootstrap.split(","),
        client_id="producer",
        acks="all",
        enable_idempotence=True,  # explicitly: a conflict then raises, where the default would give way in silence
        max_in_flight_requests_per_connection=5,
        request_timeout_ms=10_000,
        delivery_timeout_ms=120_000,
        linger_ms=linger_ms,
        batch_size=64 * 1024,
        compression_type=None,  # gzip costs more than it saves here, and the faster codecs are further packages
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=_ATTEMPT_MS,
        max_block_ms=_ATTEMPT_MS,
        reconnect_backoff_max_ms=2_000,
    )
    return Session(kafka)
