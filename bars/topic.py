"""What the topic holds at this moment, asked of Kafka: the offsets of its partitions, and how far back they reach."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from market.settings import Settings

_PATIENCE_MS = 10_000


class SourceError(RuntimeError):
    """Kafka does not answer, or has no such topic. The message names them."""


Positions = Mapping[int, int]
"""Partition to offset."""


@dataclass(frozen=True)
class Range:
    """The records of a partition: from `start` to `end`, without it."""

    start: int
    """0 where nothing has been deleted."""
    end: int
    """The offset that the next record will bear."""


Holding = Mapping[int, Range]
"""What each partition of a topic holds."""


@dataclass(frozen=True)
class Reach:
    """How far back a topic reaches, for one who wants trades of a time or later."""

    holding: Holding
    starts: Positions
    """Where to begin to read, per partition: what is before is older."""
    since_ms: int | None
    """All trades of this time or later that it was ever given, it still holds. None: nobody can say."""


def holding_of(settings: Settings) -> Holding:
    """What the topic holds. Raises `SourceError`."""
    with _outsider(settings) as consumer:
        return _held(consumer, _partitions(consumer, settings))


def reach(settings: Settings, from_ms: int | None) -> Reach:
    """How far back the topic reaches, for one who wants trades of `from_ms` or later, or all. Raises `SourceError`.

    A valid trade is younger than its record's Kafka time and `FUTURE_TOLERANCE`, which ties times to offsets.
    """
    tolerance = settings.future_tolerance
    with _outsider(settings) as consumer:
        partitions = _partitions(consumer, settings)
        holding = _held(consumer, partitions)
        oldest = consumer.offsets_for_times(dict.fromkeys(partitions, 0))
        starts = {number: range_.start for number, range_ in holding.items()}
        if from_ms is not None:
            found = consumer.offsets_for_times(dict.fromkeys(partitions, max(from_ms - tolerance, 0)))
            later = {name.partition: place.offset for name, place in found.items() if place}
            starts = {number: later.get(number, range_.end) for number, range_ in holding.items()}
    cut = [name for name in partitions if holding[name.partition].start > 0]
    times = [oldest[name].timestamp if oldest.get(name) else None for name in cut]
    since_ms = None if None in times else max((time + tolerance + 1 for time in times if time is not None), default=0)
    return Reach(holding, starts, since_ms)


def oldest_ms(settings: Settings) -> int | None:
    """The Kafka time of the topic's oldest record, in ms since the epoch; None where it is empty.

    Raises `SourceError`.
    """
    with _outsider(settings) as consumer:
        found = consumer.offsets_for_times(dict.fromkeys(_partitions(consumer, settings), 0))
    return min((place.timestamp for place in found.values() if place), default=None)


def has_topic(settings: Settings, topic: str) -> bool:
    """Whether Kafka has a topic of that name. Raises `SourceError`."""
    with _outsider(settings) as consumer:
        return bool(consumer.partitions_for_topic(topic))


@contextmanager
def _outsider(settings: Settings) -> Iterator[KafkaConsumer]:
    """A consumer that belongs to no group and fetches nothing: it asks for offsets."""
    try:
        consumer = KafkaConsumer(
            bootstrap_servers=settings.bootstrap,
            enable_auto_commit=False,
            allow_auto_create_topics=False,
            bootstrap_timeout_ms=_PATIENCE_MS,
        )
        try:
            yield consumer
        finally:
            consumer.close()
    except KafkaError as error:
        raise SourceError(f"no Kafka at {settings.bootstrap} (KAFKA_BOOTSTRAP): {type(error).__name__}") from error


def _partitions(consumer: KafkaConsumer, settings: Settings) -> list[TopicPartition]:
    topic = settings.kafka_topic
    found = sorted(consumer.partitions_for_topic(topic) or ())
    if not found:
        raise SourceError(f"Kafka at {settings.bootstrap} has no topic {topic} (KAFKA_TOPIC)")
    return [TopicPartition(topic, number) for number in found]


def _held(consumer: KafkaConsumer, partitions: list[TopicPartition]) -> Holding:
    starts = consumer.beginning_offsets(partitions, timeout_ms=_PATIENCE_MS)
    ends = consumer.end_offsets(partitions, timeout_ms=_PATIENCE_MS)
    return {name.partition: Range(starts[name], ends[name]) for name in partitions}
