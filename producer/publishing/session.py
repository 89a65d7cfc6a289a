"""A KafkaProducer that can be left at any moment."""

from __future__ import annotations

import logging
from contextlib import suppress

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.future import Future
from kafka.partitioner.default import murmur2

log = logging.getLogger(__name__)

_CLOSE_S = 1.0
_END_S = 15.0
"""kafka-python's thread may be waiting for a connection, for as long as a request may take, before it looks up."""


class Session:
    """One KafkaProducer, from its connection to its end; idempotent, in order, and never waiting in `send`."""

    def __init__(self, kafka: KafkaProducer) -> None:
        """`kafka` has found its broker."""
        self.failure: str | None = None
        """Why it was aborted, if it was."""
        self._kafka = kafka
        self._partitions: dict[tuple[str, bytes], int] = {}

    def learn(self, topic: str) -> int:
        """Wait until a topic is there; how many partitions it has. Raises `KafkaTimeoutError`. Blocks."""
        return len(self._kafka.partitions_for(topic))

    def never_wait(self) -> None:
        """From now on, what is not known about a topic is an error, not a reason to wait."""
        self._kafka.config["max_block_ms"] = 0

    def send(self, topic: str, *, value: bytes, key: bytes | None, partition: int | None) -> Future:
        """Take a record; its future says what became of it. Raises `KafkaError` or `ValueError`."""
        if partition is None and key is not None:
            partition = self._partitions.get((topic, key))
            if partition is None:
                partition = self._partitions[topic, key] = self._partition_of(topic, key)
        return self._kafka.send(topic, value=value, key=key, partition=partition)

    def partitions_for(self, topic: str) -> set[int]:
        """The partitions of a topic. Raises `KafkaError`."""
        partitions: set[int] = self._kafka.partitions_for(topic)
        return partitions

    def abort(self, reason: str) -> None:
        """Send nothing more, fail what is not acknowledged, and end. From any thread, kafka-python's own included.

        KafkaProducer has no such call: its `close` waits for all records first, raises when they are not acknowledged
        in time, and then leaves the thread running. A request on its way may still be answered, and its connection's
        bytes may still be read by the broker: they are the first un-acknowledged records of their partition, in order.
        """
        self.failure = self.failure or reason
        self._kafka._sender.force_close()
        self._kafka._unregister_cleanup()
        self._kafka._closed = True  # or it would be closed, and waited for, when its memory is freed

    def ended(self) -> None:
        """Wait until an aborted session has ended. Blocks."""
        self._kafka._sender.join(_END_S)
        if self._kafka._sender.is_alive():
            log.warning("the last connection to Kafka is still ending; it sends no more records")

    def close(self) -> None:
        """End a session that has nothing left to send. Blocks for a moment."""
        with suppress(KafkaError):  # it raises only where records are left
            self._kafka.close(timeout=_CLOSE_S)
        self.abort("closed")

    def _partition_of(self, topic: str, key: bytes) -> int:
        """As every Kafka client has it; kafka-python would compute it anew for each record."""
        partitions = sorted(self.partitions_for(topic))
        return int(partitions[(murmur2(key) & 0x7FFFFFFF) % len(partitions)])
