"""One member of the consumer group: polls, writes to Redis, and then commits.

Each partition that it is given is paused until it is settled: until Redis has said how far it has come, which is where
reading begins. When Redis fails, or lacks what it had, nothing is kept in memory: partitions are paused and settled
anew, so that what was polled and not written is polled once more. Meanwhile polling goes on, which keeps the place in
the group.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from market.latest import position_field
from market.settings import Settings
from prices.chunks import Chunk, Name, Newest, chunks
from prices.connect import connected, topic_id_of
from prices.counts import Counts
from prices.report import Report
from prices.retry import Retry
from prices.start import Known, start_of
from prices.store import Store, StoreAway

log = logging.getLogger(__name__)

GROUP = "stream-processor"
_POLL_MS = 200
_REST_S = 0.0005
"""Pause after a poll that brought little: what comes meanwhile is written together, at a fraction of the cost."""
_COMMIT_S = 1.0
_CHECK_S = 1.0
"""After so long without a write, Redis is asked whether it still has everything."""
_ASK_KAFKA_MS = 3_000
_CLOSE_MS = 2_000
_AGAIN_S = 1.0
_JOIN_S = 60.0
"""A rebalance takes half of it at the most (`POLL_INTERVAL_MS`): one that takes longer will not end."""


class Member:
    """Runs until it is told to stop."""

    def __init__(
        self, settings: Settings, store: Store, counts: Counts, stop: threading.Event, *, group: str = GROUP
    ) -> None:
        self._settings, self._store, self._counts, self._stop, self._group = settings, store, counts, stop, group
        self._consumer: Any = None
        self._next: dict[TopicPartition, int] = {}
        """The offset after the last that is in Redis, of each settled partition."""
        self._owned: set[TopicPartition] = set()
        self._committed: dict[TopicPartition, int] = {}
        self._newest: dict[Name, Newest] = {}
        """What was written last of each symbol: so that quiet ones too have a price when Redis comes back empty."""
        self._joining_since: float | None = None
        """While the group has not said which partitions are ours."""
        self._retry = Retry()
        self._report = Report(counts, settings.kafka_topic)
        self._written_at = self._commit_at = time.monotonic()

    def run(self) -> None:
        """Follow the topic, whatever happens to Kafka and Redis meanwhile."""
        while not self._stop.is_set():
            self._consumer = connected(self._settings, self._group, self._stop)
            if self._consumer is None:
                return
            self._counts.kafka_sessions += 1
            try:
                self._joining_since = time.monotonic()
                self._consumer.subscribe([self._settings.kafka_topic], listener=_Rebalanced(self))
                log.info("%s at %s, as group %s", self._settings.kafka_topic, self._settings.bootstrap, self._group)
                while not self._stop.is_set():
                    self._step()
            except KafkaError as error:
                log.warning("Kafka has failed (%s); connecting again", error)
                self._stop.wait(_AGAIN_S)
            finally:
                self._close()

    def given(self, partitions: Collection[TopicPartition]) -> None:
        """These are ours, and to be settled. (On a thread of kafka-python's, while this one waits for its poll.)"""
        self._owned, self._joining_since = set(partitions), None
        self._unsettle(partitions)

    def taken(self, partitions: Collection[TopicPartition]) -> None:
        """These are no longer ours, and others are to be asked for. (On that thread, too.)"""
        self._joining_since = time.monotonic()
        # kafka-python 3.0.12 lets go of a join that it began because the topic has other partitions than it knew, when
        # a poll ends before the join does: polls go on without partitions, and without heartbeats. Not where asked to.
        self._consumer._coordinator.request_rejoin()
        self._owned -= set(partitions)
        self._forget(partitions)

    def _step(self) -> None:
        self._settle()
        records = self._consumer.poll(timeout_ms=_POLL_MS)
        if records:
            self._report.read()
            self._write(records)
            if sum(map(len, records.values())) < self._settings.max_poll_records / 2:
                self._stop.wait(_REST_S)
        now = time.monotonic()
        if now - (self._joining_since or now) > _JOIN_S:
            raise KafkaTimeoutError(f"the group {self._group} has given no partitions for {_JOIN_S:g} s")
        if now - self._written_at > _CHECK_S:
            self._check()
        if now - self._commit_at > _COMMIT_S:
            self._commit_at = now
            self._commit()
        self._report.tell_if_due(self._retry)

    def _settle(self) -> None:
        """Find out where to begin in each partition that is new, or that Redis has lost; and begin."""
        waiting = [partition for partition in self._owned if partition not in self._next]
        if not waiting or not self._retry.is_due():
            return
        try:
            self._report.evicting(self._store.address, self._store.evicting())
            topic_id = topic_id_of(self._consumer, self._settings.kafka_topic)
            known = self._known(waiting, topic_id)
            starts = {partition: start_of(known[partition], self._settings.rebuild_records) for partition in waiting}
            anew = {partition: start for partition, start in starts.items() if start.cause}
            if anew:
                self._store.restore(self._newest)  # first: where this fails, it is done again
            self._store.begin(
                {_field(partition): start.offset for partition, start in anew.items()},
                {_field(partition): topic_id for partition in waiting if topic_id},
            )
        except StoreAway as error:
            self._away(error)
            return
        except KafkaError as error:
            log.warning("Kafka does not say where the partitions begin and end (%s); asking again", error)
            self._retry.failed()
            return
        self._back()
        for partition, start in starts.items():
            if start.cause:
                self._counts.begun[start.cause] += 1
                number, topic = partition.partition, partition.topic
                log.info("partition %d of %s is read from offset %d on: %s", number, topic, start.offset, start.cause)
            self._consumer.seek(partition, start.offset)
            self._next[partition] = start.offset
        self._consumer.resume(*waiting)
        log.info("reading partitions %s", ", ".join(str(partition.partition) for partition in sorted(self._next)))
        self._written_at = time.monotonic()

    def _known(self, partitions: Sequence[TopicPartition], topic_id: str) -> dict[TopicPartition, Known]:
        fields = [_field(partition) for partition in partitions]
        stored, topics = self._store.positions(fields), self._store.topics(fields)
        ends = self._consumer.end_offsets(partitions, timeout_ms=_ASK_KAFKA_MS)
        earliest = self._consumer.beginning_offsets(partitions, timeout_ms=_ASK_KAFKA_MS)
        return {
            partition: Known(
                offset,
                self._consumer.committed(partition, timeout_ms=_ASK_KAFKA_MS),
                earliest[partition],
                ends[partition],
                is_replaced=bool(known_id and topic_id) and known_id != topic_id,
            )
            for partition, offset, known_id in zip(partitions, stored, topics, strict=True)
        }

    def _write(self, records: Mapping[TopicPartition, Sequence[Any]]) -> None:
        batch: list[tuple[TopicPartition, Chunk]] = []
        for partition, some in records.items():
            if partition in self._next:
                self._counts.deleted += max(0, some[0].offset - self._next[partition])
                made = chunks(some, self._next[partition], tolerance_ms=self._settings.future_tolerance)
                batch += [(partition, chunk) for chunk in made]
        began = time.monotonic()
        try:
            outcomes = self._store.write([(_field(partition), chunk) for partition, chunk in batch])
        except StoreAway as error:
            self._away(error)
            return
        self._back()
        self._written_at = time.monotonic()
        self._counts.writes += 1
        self._counts.write_s += self._written_at - began
        for (partition, chunk), outcome in zip(batch, outcomes, strict=True):
            if not outcome.is_written:
                self._unsettle([partition])
            elif partition in self._next:
                self._next[partition] = chunk.end
                self._remember(chunk)
                self._counts.written(chunk, outcome)
                self._report.written(partition.partition, chunk)

    def _remember(self, chunk: Chunk) -> None:
        for name, newest in chunk.newest.items():
            if name not in self._newest or newest > self._newest[name]:
                self._newest[name] = newest

    def _check(self) -> None:
        """In quiet markets nobody writes: ask whether Redis still has everything."""
        self._written_at = time.monotonic()
        partitions = list(self._next)
        if self._owned and not partitions:
            return  # settling asks
        try:
            self._store.ping()
            stored = self._store.positions([_field(partition) for partition in partitions])
        except StoreAway as error:
            self._away(error)
            return
        self._back()
        self._unsettle(
            [
                partition
                for partition, offset in zip(partitions, stored, strict=True)
                if offset is None or offset < self._next[partition]
            ]
        )

    def _unsettle(self, partitions: Collection[TopicPartition]) -> None:
        self._consumer.pause(*partitions)
        self._forget(partitions)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)
            self._committed.pop(partition, None)
            self._counts.lag.pop(partition.partition, None)

    def _away(self, error: StoreAway) -> None:
        """Redis does not do it: stand still, and say so, now and every ten seconds."""
        self._counts.redis_failures += 1
        if self._counts.is_redis_up or not self._retry.error:
            log.warning("%s. Prices stand still, trades wait in Kafka; trying again", error)
        self._counts.is_redis_up = False
        self._retry.failed(str(error))
        self._unsettle(self._owned)

    def _back(self) -> None:
        if not self._counts.is_redis_up and self._retry.error:
            log.info("Redis at %s answers again, after %.1f s", self._store.address, self._retry.seconds)
        self._counts.is_redis_up = True
        if self._retry.has_failed:
            self._retry = Retry()

    def _commit(self) -> None:
        """What is in Redis is committed, and nothing else; a commit that fails is made up for by the next one."""
        for partition, offset in self._next.items():
            end = self._consumer.highwater(partition)
            self._counts.lag[partition.partition] = max(0, (end or offset) - offset)
        if offsets := self._uncommitted():
            self._committed.update(self._next)
            self._consumer.commit_async(offsets, callback=self._on_commit)

    def _uncommitted(self) -> dict[TopicPartition, OffsetAndMetadata]:
        return {
            partition: OffsetAndMetadata(offset, "", -1)
            for partition, offset in self._next.items()
            if self._committed.get(partition) != offset
        }

    def _on_commit(self, offsets: Mapping[TopicPartition, Any], answer: Any) -> None:
        if isinstance(answer, Exception):
            self._counts.failed_commits += 1
            log.debug("offsets were not committed: %s", answer)
            for partition in offsets:
                self._committed.pop(partition, None)

    def _close(self) -> None:
        """Commit what is written, and leave the group, so that others need not wait for the end of the session."""
        try:
            if offsets := self._uncommitted():
                self._consumer.commit(offsets, timeout_ms=_CLOSE_MS)
        except KafkaError as error:
            log.info("the last offsets were not committed (%s): the next member reads those records again", error)
        try:
            self._consumer.close(timeout_ms=_CLOSE_MS)
        except KafkaError as error:
            log.info("the group was not left in order (%s): it waits for the end of the session", error)
        self.taken(list(self._owned))


class _Rebalanced(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python has no types
    """Hears of rebalances, and may not ask Kafka anything there."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def on_partitions_revoked(self, revoked: Any) -> None:
        """What was written is in Redis with its offset: who comes next goes on from there."""
        self._member.taken(revoked)

    def on_partitions_assigned(self, assigned: Any) -> None:
        """They are paused until they are settled."""
        self._member.given(assigned)


def _field(partition: TopicPartition) -> str:
    return position_field(partition.topic, partition.partition)
