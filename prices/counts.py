"""What a member of the group has done: its account for the log, and its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from market.metrics import Sample, sample
from prices.chunks import Chunk
from prices.store import Outcome


@dataclass
class Counts:
    """Written by the member alone; metrics are read beside it, from another thread."""

    records: int = 0
    new: int = 0
    seen: int = 0
    late: int = 0
    heartbeats: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    """Partitions that were begun anew, by cause."""
    deleted: int = 0
    """Records that Kafka had deleted before they were read."""
    writes: int = 0
    write_s: float = 0.0
    is_redis_up: bool = False
    redis_failures: int = 0
    failed_commits: int = 0
    kafka_sessions: int = 0
    kafka_time: int = 0
    """Of the newest record that was written."""
    lag: dict[int, int] = field(default_factory=dict)
    """Records behind the end, of each partition that this member has."""

    def written(self, chunk: Chunk, outcome: Outcome) -> None:
        """A chunk is in Redis. Records are counted last: who has seen them counted finds the rest counted, too."""
        self.heartbeats += chunk.heartbeats
        self.rejected += chunk.rejected
        self.new += outcome.new
        self.seen += outcome.seen
        self.late += outcome.late
        self.kafka_time = max(self.kafka_time, chunk.kafka_time)
        self.records += chunk.records

    def line(self) -> str:
        """The account so far."""
        partitions = ", ".join(map(str, sorted(self.lag))) or "none"
        return (
            f"{self.new} trades written, {self.seen} had come before, {self.late} too late, "
            f"{self.rejected.total()} rejected; partitions {partitions}, {sum(self.lag.values())} records behind"
        )

    def samples(self) -> Iterator[Sample]:
        """Every metric."""
        yield sample("prices_records_total", self.records)
        for what, count in (("new", self.new), ("seen", self.seen), ("late", self.late)):
            yield sample("prices_trades_total", count, outcome=what)
        for reason, count in self.rejected.copy().items():
            yield sample("prices_rejected_total", count, reason=reason)
        yield sample("prices_heartbeats_total", self.heartbeats)
        yield sample("prices_redis_up", self.is_redis_up)
        yield sample("prices_redis_failures_total", self.redis_failures)
        yield sample("prices_writes_total", self.writes)
        yield sample("prices_write_seconds_total", self.write_s)
        for cause, count in self.begun.copy().items():
            yield sample("prices_begun_anew_total", count, cause=cause)
        yield sample("prices_deleted_records_total", self.deleted)
        for partition, lag in self.lag.copy().items():
            yield sample("prices_lag_records", lag, partition=str(partition))
        yield sample("prices_newest_record_timestamp_seconds", self.kafka_time / 1000)
        yield sample("prices_kafka_sessions_total", self.kafka_sessions)
        yield sample("prices_failed_commits_total", self.failed_commits)
