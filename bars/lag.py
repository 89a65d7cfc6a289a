"""The bars query's progress as a Kafka consumer group, so that the usual tools show its lag.

Spark keeps its offsets in the checkpoint and commits none to Kafka. The group is for looking at, never for recovery:
a failure to commit is logged and changes nothing.
"""

from __future__ import annotations

import logging
import time

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from bars.recovery.checkpoint import Offsets
from market.settings import Settings

GROUP = "crypto-consumer-group"
AGAIN_S = 5.0

log = logging.getLogger(__name__)


class LagGroup:
    """Commits how far a query has read. It never subscribes, so it is no member and takes no partition."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: KafkaConsumer | None = None
        self._committed: Offsets = {}
        self._wanted: Offsets = {}
        self._tried = 0.0

    def commit(self, offsets: Offsets) -> None:
        """Commits the offsets, those of the next records to read, if they have changed."""
        self._wanted = offsets
        if offsets == self._committed:
            return
        self._tried = time.monotonic()
        positions = {
            TopicPartition(topic, partition): OffsetAndMetadata(offset, "", -1)
            for topic, partitions in offsets.items()
            for partition, offset in partitions.items()
        }
        try:
            if self._consumer is None:
                self._consumer = KafkaConsumer(
                    bootstrap_servers=self._settings.bootstrap,
                    group_id=GROUP,
                    enable_auto_commit=False,
                    allow_auto_create_topics=False,
                    bootstrap_timeout_ms=3_000,
                )
                self._consumer.assign(list(positions))
            self._consumer.commit(positions, timeout_ms=2_000)
            self._committed = offsets
        except KafkaError as error:
            log.warning("the consumer group %s does not show the current lag: %s", GROUP, error)

    def tend(self) -> None:
        """Tries again what has failed, some seconds later."""
        if self._wanted != self._committed and time.monotonic() > self._tried + AGAIN_S:
            self.commit(self._wanted)

    def close(self) -> None:
        """Leaves Kafka."""
        if self._consumer is not None:
            self._consumer.close(autocommit=False)
