"""What becomes of a topic between two runs and during one, with a real Kafka: harmless, or refused at the start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from pyspark.sql import SparkSession

from bars import run
from bars.recovery.identity import PairingError, checkpoint_of
from bars.recovery.rebuild import rebuild
from bars.source import wait_for_topic
from bars.tables import BARS, TRADES
from market.settings import Settings
from market.trade import Trade
from tests.bars.runs import START_MS, Job, configured, new_topic, some
from tests.support import eventually

pytestmark = pytest.mark.spark


@pytest.fixture
def admin(kafka: str) -> Iterator[KafkaAdminClient]:
    """Who changes topics."""
    client = KafkaAdminClient(bootstrap_servers=kafka)
    yield client
    client.close()


@pytest.fixture
def job(spark: SparkSession, kafka: str, tmp_path: Path) -> Job:
    """A job that has run once, on a topic of two partitions with 101 records in the first."""
    job = Job(configured(kafka, new_topic(kafka, partitions=2), tmp_path), spark)
    job.send_trades(some(100))
    assert job.process() == 0
    return job


def later(number: int, seconds: int = 200) -> list[Trade]:
    """Trades of later seconds, with ids of their own."""
    return some(number, first_id=1_000 * seconds, start_ms=START_MS + 1_000 * seconds)


def refusal(job: Job) -> str:
    """Why a start is refused; nothing has been read or written then."""
    written = list(job.settings.tables.rglob("*.json"))
    with pytest.raises(PairingError) as caught:
        job.process()
    assert list(job.settings.tables.rglob("*.json")) == written
    return str(caught.value)


def topic_id(settings: Settings) -> str:
    id_ = wait_for_topic(settings, lambda: False)
    assert id_
    return id_


@pytest.mark.long
def test_a_topic_made_again_that_has_grown_further(job: Job, admin: KafkaAdminClient) -> None:
    """A new topic of the same name is not read on in its middle, even where it is longer than the old one was."""
    topic, before = job.settings.kafka_topic, topic_id(job.settings)
    admin.delete_topics([topic])
    eventually(lambda: topic not in admin.list_topics())
    time = {"message.timestamp.type": "LogAppendTime"}
    admin.create_topics([NewTopic(topic, 2, 1, topic_configs=time)])
    job.send_trades(later(150))
    assert refusal(job).startswith(
        f"the topic {topic} at {job.settings.bootstrap} is not the one that the checkpoint "
        f"{job.settings.checkpoints / 'ohlcv'} has read (its id is {topic_id(job.settings)}, it was {before}): it was "
        "deleted and created again, or this is another cluster. Go back to that topic, or: start over"
    )


@pytest.mark.long
def test_retention_that_has_passed_the_reader(job: Job, admin: KafkaAdminClient) -> None:
    """Records that were deleted before they were read are missed at the start; --rebuild goes on with what is left."""
    topic, settings = job.settings.kafka_topic, job.settings
    job.send_trades(later(60))
    admin.delete_records({TopicPartition(topic, 0): 101})
    assert job.process("bars") == 0  # all that is gone had been read
    admin.delete_records({TopicPartition(topic, 0): 121})
    message = refusal(job)
    assert message.startswith(
        f"the topic {topic} at {settings.bootstrap} has lost records before the query archive could go on (checkpoint "
        f"{checkpoint_of(settings, 'archive')}): partition 0 is read from offset 101 on and begins at 121: 20 "
        "records are gone. Retention has passed the reader, or the broker has lost data. What is gone there cannot be "
        "read; to go on with the rest, start over from what the topic still holds, keeping the old aside: run "
        "jobs/ohlcv.py once with --rebuild, which says first what that costs"
    )

    said: list[str] = []
    rebuild(settings, topic_id(settings), said.append)
    assert len(said) == 4
    assert said[0].startswith(
        f"--rebuild: topic {topic} at {settings.bootstrap} holds 41 records in 2 partitions, the oldest of 20"
    )
    assert said[0].endswith(" UTC; all of them are read again")
    assert said[1] == (
        "--rebuild: 100 of the 100 rows of the archive are not in the topic any more (trades from 2024-08-09 00:00:00 "
        "UTC to 2024-08-09 00:00:09 UTC): they and their bars will be in the old tables alone"
    )
    aside = [Path(line.removeprefix("--rebuild: the old is kept in ")) for line in said[2:]]
    assert [folder.parent for folder in aside] == [settings.checkpoints / "ohlcv", settings.tables]
    assert sorted(entry.name for entry in aside[1].iterdir()) == [
        "bars_1s",
        "identity.json",
        "rejected_trades",
        "trades",
    ]
    assert job.process() == 0
    assert job.bars() == job.expected()
    assert len(job.rows(TRADES)) == 40


@pytest.mark.long
def test_partitions_added_while_the_job_runs(job: Job, admin: KafkaAdminClient) -> None:
    """A running job reads partitions that are added from their first record on."""
    stop = Asked()
    code: list[int] = []
    running = threading.Thread(target=lambda: code.append(run.run(job.spark, job.settings, stop, available_now=False)))
    running.start()
    try:
        job.send_trades(later(20, seconds=100))
        eventually(lambda: len(job.rows(BARS)) == 12, within_s=120)
        admin.create_partitions({job.settings.kafka_topic: 3})
        eventually(lambda: len(admin.describe_topics([job.settings.kafka_topic])[0]["partitions"]) == 3)
        job.send_trades(later(30, seconds=300), partition=2)
        eventually(lambda: len(job.rows(BARS)) == 15, within_s=120)
    finally:
        stop.ask()
        running.join(60)
    assert code == [0]
    assert job.process() == 0
    assert job.bars() == job.expected()
    assert len(job.rows(TRADES)) == 150


class Asked(run.Stop):
    """A stop that a test asks for."""

    def ask(self) -> None:
        self._event.set()
