"""One partition hours behind the other: what comes too late for its bars amends them, whatever ends in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.structs import OffsetAndMetadata
from pyspark.sql import SparkSession

from bars import amend, lag
from bars.recovery.checkpoint import last_committed
from bars.recovery.identity import checkpoint_of
from bars.tables import BARS
from market.bar import Bar, current
from market.trade import record_of
from tests.bars.frames import bars_in
from tests.bars.runs import START_MS, Job, configured, heartbeat, new_topic, some

pytestmark = [pytest.mark.e2e, pytest.mark.spark]

HOURS_MS = 3 * 3_600_000
AHEAD = some(120, start_ms=START_MS + HOURS_MS)
BEHIND = [
    *some(150, symbol="ETHUSDT"),
    *some(30, symbol="ETHUSDT", first_id=150, start_ms=START_MS + HOURS_MS),
]
"""The other partition's symbol: 15 seconds three hours ago, and three of the time that the first has reached."""


@pytest.fixture
def job(spark: SparkSession, kafka: str, tmp_path: Path) -> Job:
    """A job on a topic of two partitions, which takes 40 records to a batch."""
    topic = new_topic(kafka, partitions=2)
    options = {"max_offsets_per_trigger": "40", "queries": "bars,archive,amend"}
    return Job(spark=spark, settings=configured(kafka, topic, tmp_path, **options))


def behind(job: Job) -> None:
    """Runs the job on the first partition, which closes its seconds; then the other's trades come."""
    job.send_trades(AHEAD, partition=0)
    assert job.process() == 0
    assert len(job.bars()) == 12
    job.send(map(record_of, BEHIND), partition=1)
    job.send([heartbeat(START_MS + 2 * HOURS_MS)], partition=1)


def current_bars(job: Job) -> list[Bar]:
    """The bars that count, as the definition has them: without their revisions."""
    return [replace(bar, revision=0) for bar in job.bars()]


@pytest.mark.long
def test_a_partition_hours_behind_ends_exact(job: Job, caplog: pytest.LogCaptureFixture) -> None:
    """Every trade of the partition that lags is in a bar at the end: late ones in further revisions."""
    behind(job)
    caplog.set_level("INFO")
    assert job.process() == 0
    assert current_bars(job) == job.expected()
    revised = [bar for bar in bars_in(job.rows(BARS)) if bar.revision]
    assert {bar.symbol for bar in revised} == {"ETHUSDT"}
    assert sum(bar.trade_count for bar in current(revised)) == len(BEHIND)
    last = last_committed(checkpoint_of(job.settings, "bars"))
    assert last is not None
    assert last.id >= 8
    said = [message for message in caplog.messages if message.endswith("bars amended")]
    # The watermark is 60 s after the last trade ahead, less its delay: 10,869.9 s after the first second behind ends.
    assert said == ["180 trades came too late, by up to 10868.9 s; 18 bars amended"]


@pytest.mark.long
def test_the_same_batch_again_amends_nothing(job: Job) -> None:
    """A batch whose revisions are in the table, but which Spark has not noted as finished, leaves no trace."""
    behind(job)
    assert job.process() == 0
    before = bars_in(job.rows(BARS))
    commits = checkpoint_of(job.settings, "amend") / "commits"
    newest = max(commits.glob("[0-9]*"), key=lambda file: int(file.name))
    newest.unlink()
    (commits / f".{newest.name}.crc").unlink()
    assert job.process() == 0
    assert bars_in(job.rows(BARS)) == before
    assert newest.exists()


@pytest.mark.long
def test_a_crash_behind_the_write_amends_once(
    job: Job, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The query fails right after its revisions are in the table; the next run finds them and adds none."""
    behind(job)
    write = amend.append_revisions

    def write_and_fail(*words: object, **options: object) -> None:
        write(*words, **options)  # type: ignore[arg-type]
        raise OSError("the end")

    with monkeypatch.context() as patch:
        patch.setattr(amend, "append_revisions", write_and_fail)
        assert job.process() == 1
    assert "the end" in caplog.messages[-1]
    before = bars_in(job.rows(BARS))
    assert max(bar.revision for bar in before) == 1
    assert job.process() == 0
    assert bars_in(job.rows(BARS)) == before
    assert current_bars(job) == job.expected()


@pytest.mark.long
def test_a_query_added_later_amends_what_came_before(job: Job) -> None:
    """Begun on an archive and a checkpoint whose old batches are purged, it finds all that was ever late."""
    job.settings = replace(job.settings, queries=("bars", "archive"))
    behind(job)
    assert job.process() == 0
    assert current_bars(job) != job.expected()
    for folder in ("offsets", "commits"):
        entries = (checkpoint_of(job.settings, "bars") / folder).glob("[0-9]*")
        for entry in sorted(entries, key=lambda file: int(file.name))[:-2]:
            entry.unlink()
    assert job.process("bars", "archive", "amend") == 0
    assert current_bars(job) == job.expected()


@pytest.mark.long
def test_the_group_shows_the_true_lag_after_a_restart(job: Job, kafka: str) -> None:
    """At a start, before anything new has come, the group's offsets are those that the bars query has finished."""
    job.settings = replace(job.settings, queries=("bars",))
    job.send_trades(AHEAD, partition=0)
    assert job.process() == 0
    finished = last_committed(checkpoint_of(job.settings, "bars"))
    assert finished is not None
    partitions = finished.offsets[job.settings.kafka_topic]
    assert partitions == {0: 121, 1: 0}
    topic = job.settings.kafka_topic
    stale = {TopicPartition(topic, number): OffsetAndMetadata(0, "", -1) for number in partitions}
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.alter_group_offsets(lag.GROUP, stale)
        assert job.process() == 0
        offsets = admin.list_group_offsets(lag.GROUP)[lag.GROUP]
    finally:
        admin.close()
    shown = {place.partition: found.offset for place, found in offsets.items() if place.topic == topic}
    assert shown == partitions
