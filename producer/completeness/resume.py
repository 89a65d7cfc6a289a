"""Resume: read what the topics say of the time before this start. Nothing else is remembered, and no file is needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from producer import ProducerError
from producer.completeness.tail import Tail

__all__ = ["ResumeError", "Tail", "tail"]

log = logging.getLogger(__name__)

GAP_RECORDS = 100_000
"""Records of the gaps topic that are read at most, the newest ones."""

_ATTEMPTS = 5
_PAUSE_S = 2.0
_STALLED_S = 20.0
_BOOTSTRAP_MS = 5_000

Offsets = Mapping[TopicPartition, int]


class ResumeError(ProducerError):
    """The topics cannot be read. To go on would be to forget what is missing."""


def tail(
    bootstrap: str, topic: str, gaps_topic: str, *, window_ms: int, records: int, exchanges: Collection[str] = ()
) -> Tail:
    """Read the newest records of both topics, up to their ends at this moment. Blocks: for a thread of its own.

    Of the trades topic, `window_ms` back from its newest record, and `records` at most, of each partition in
    proportion. Where one of `exchanges` is not in there, for others are busier, the records before are searched for it
    too, page by page, up to that window. Raises `ResumeError`.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        started_s = time.monotonic()
        try:
            found = _tail(bootstrap, topic, gaps_topic, window_ms, records, exchanges)
            break
        except KafkaError as error:
            if attempt == _ATTEMPTS:
                raise ResumeError(
                    f"what was published before cannot be read from {topic} and {gaps_topic} at {bootstrap} "
                    f"({error!r}), {_ATTEMPTS} times; without it trades would be missed in silence. Is Kafka up?"
                ) from error
            log.warning("the tail of %s cannot be read (%r); trying again", topic, error)
            time.sleep(_PAUSE_S)
    log.info(
        "read %d records of %s in %.1f s: %s",
        found.records,
        topic,
        time.monotonic() - started_s,
        ", ".join(f"{exchange} {found.described(exchange)}" for exchange in exchanges) or "done",
    )
    return found


def _tail(
    bootstrap: str, topic: str, gaps_topic: str, window_ms: int, records: int, exchanges: Collection[str]
) -> Tail:
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap.split(","),
        client_id="producer-resume",
        group_id=None,
        enable_auto_commit=False,
        allow_auto_create_topics=False,
        auto_offset_reset="earliest",  # where retention has been quicker than we
        bootstrap_timeout_ms=_BOOTSTRAP_MS,
        max_partition_fetch_bytes=8 * 2**20,
    )
    try:
        found = Tail(window_ms=window_ms)
        ends = _ends(consumer, topic)
        if not ends:
            raise ResumeError(
                f"there is no topic {topic} at {bootstrap}; create it: python -m producer --create-topics"
            )
        lowest = _starts(consumer, ends, window_ms)
        starts = _newest(ends, lowest, records)
        for record in _records(consumer, starts, ends):
            found.add_record(record.value, record.timestamp)
        while (absent := [name for name in exchanges if not found.knows(name)]) and starts != lowest:
            starts, pages_end = _newest(starts, lowest, records), starts
            for record in _records(consumer, starts, pages_end):
                found.add_record(record.value, record.timestamp, only=absent)
        ends = _ends(consumer, gaps_topic)
        if not ends:
            log.warning("there is no topic %s; create it: python -m producer --create-topics", gaps_topic)
        starts = _newest(ends, consumer.beginning_offsets(list(ends)) if ends else {}, GAP_RECORDS)
        for record in _records(consumer, starts, ends):
            found.add_gap(record.value)
        return found
    finally:
        consumer.close()


def _ends(consumer: KafkaConsumer, topic: str) -> Offsets:
    """The end of each partition; none where there is no such topic."""
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    ends: Offsets = consumer.end_offsets(partitions) if partitions else {}
    return ends


def _starts(consumer: KafkaConsumer, ends: Offsets, window_ms: int) -> Offsets:
    """Where the window begins in each partition."""
    lowest: Offsets = consumer.beginning_offsets(list(ends))
    last = {partition: max(lowest[partition], end - 1) for partition, end in ends.items()}
    newest_ms = max((record.timestamp for record in _records(consumer, last, ends)), default=None)
    if newest_ms is None:
        return ends
    found = consumer.offsets_for_times({partition: max(newest_ms - window_ms, 0) for partition in ends})
    # a time found may lie behind the ends: a twin goes on writing
    return {
        partition: ends[partition] if at is None else min(at.offset, ends[partition]) for partition, at in found.items()
    }


def _newest(ends: Offsets, starts: Offsets, records: int) -> Offsets:
    """Later starts, so that no more than so many records are left: of each partition in proportion, the newest."""
    counts = {partition: max(end - starts[partition], 0) for partition, end in ends.items()}
    total = sum(counts.values())
    if total <= records:
        return {partition: ends[partition] - count for partition, count in counts.items()}
    return {partition: ends[partition] + -count * records // total for partition, count in counts.items()}


def _records(consumer: KafkaConsumer, starts: Offsets, ends: Offsets) -> Iterator[Any]:
    """The records from the starts up to the ends, in order by partition. Raises `KafkaTimeoutError` if none comes."""
    left = {partition for partition, end in ends.items() if starts[partition] < end}
    consumer.assign(sorted(left))
    consumer.resume(*left)  # an earlier call may have paused it
    for partition in left:
        consumer.seek(partition, starts[partition])
    moved_s = time.monotonic()
    while left:
        batches = consumer.poll(timeout_ms=500, max_records=20_000)
        for partition, batch in batches.items():
            yield from (record for record in batch if record.offset < ends[partition])
        done = {partition for partition in left if consumer.position(partition) >= ends[partition]}
        left -= done
        consumer.pause(*done)
        if batches or done:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > _STALLED_S:
            raise KafkaTimeoutError(f"nothing read for {_STALLED_S:g} s, and the end is not reached")
