"""The topic as any consumer sees it: kafka-python, every record from the beginning on. Nothing of the producer's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from typing import Self

from kafka import KafkaConsumer, TopicPartition

from chaos.programs import ProgramError

_POLL_MS = 200

logging.getLogger("kafka").setLevel(logging.CRITICAL)  # a broker that restarts is what is meant to happen

Take = Callable[[int, int, int, bytes | None], None]
"""Partition, offset, Kafka time in ms, and value of a record."""


class Reader:
    """Reads a topic record by record, in the order of each partition."""

    def __init__(self, bootstrap: str, topic: str, take: Take, *, partitions: Collection[int] = ()) -> None:
        """Of all partitions unless told. Raises a `KafkaError` when the broker does not answer."""
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap, fetch_max_bytes=16 * 2**20, check_crcs=True)
        self._topic = topic
        self._take = take
        self._only = partitions
        self._partitions: list[TopicPartition] = []
        self._newest_ms: dict[int, int] = {}  # the latest Kafka time of what was taken, by partition

    def __enter__(self) -> Self:
        """Raises `ProgramError` where there is no such topic."""
        numbers = self._consumer.partitions_for_topic(self._topic)
        if not numbers:
            self._consumer.close()
            raise ProgramError(f"there is no topic {self._topic}")
        self._partitions = [TopicPartition(self._topic, number) for number in sorted(self._only or numbers)]
        self._consumer.assign(self._partitions)
        self._consumer.seek_to_beginning()
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def poll(self) -> int:
        """Take what has come, waiting a little for it; how many records that were."""
        count = 0
        for records in self._consumer.poll(timeout_ms=_POLL_MS, max_records=5_000).values():
            for record in records:
                self._newest_ms[record.partition] = record.timestamp
                self._take(record.partition, record.offset, record.timestamp, record.value)
                count += 1
        return count

    def reached_ms(self) -> int:
        """The Kafka time up to which every partition was taken; the present, where there is no more to take."""
        if not any(self._consumer.position(partition) < end for partition, end in self._ends().items()):
            return time.time_ns() // 1_000_000
        return min(self._newest_ms.get(partition.partition, 0) for partition in self._partitions)

    def read_to_end(self, *, within_s: float) -> None:
        """Take everything that is in the topic now. Raises `TimeoutError`."""
        ends = self._ends()
        deadline_s = time.monotonic() + within_s
        while any(self._consumer.position(partition) < end for partition, end in ends.items()):
            self.poll()
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"topic {self._topic} was not read to its end within {within_s:g} s")

    def _ends(self) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = self._consumer.end_offsets(self._partitions)
        return ends
