"""Starting over: what is said of its cost, what is moved aside, and when it is refused. With a topic made up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pytest
from deltalake import DeltaTable, write_deltalake

from bars.locks import amend_lock, commit_lock, upkeep_lock
from bars.recovery import pairing, rebuild
from bars.recovery.identity import IDENTITY, PairingError, checkpoint_of
from bars.tables import BARS, TRADES, create_tables
from bars.topic import Holding, Range, SourceError
from market import settings
from market.settings import Settings
from tests.bars.others import HOLDER, started

TOPIC, SAID_OF_TOPIC = "crypto-trades", "--rebuild: topic crypto-trades at broker:9092 holds"
OLDEST_MS = 1_762_702_224_000  # 2025-11-09 15:30:24 UTC


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """Settings with folders of the test's own, and what another job has put there."""
    folders = {"output_dir": str(tmp_path / "data"), "checkpoint_dir": str(tmp_path / "checkpoints")}
    (tmp_path / "data/local/bars_1s").mkdir(parents=True)
    return settings.load({}, None, folders | {"kafka_bootstrap": "broker:9092"})


@pytest.fixture
def ran(configured: Settings) -> Settings:
    """Tables and checkpoints of a run; the archive has the offsets 0 to 3 of partition 0, and 5 of partition 1."""
    pairing.pair(configured, "topic-1")
    create_tables(configured)
    for query in configured.queries:
        (checkpoint_of(configured, query) / "offsets").mkdir(parents=True)
    archive = DeltaTable(TRADES.path(configured))
    rows = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 5)]
    kinds = pyarrow.schema(archive.schema().to_arrow())
    values = [
        {
            "topic": TOPIC,
            "partition": partition,
            "offset": offset,
            "timestamp": datetime(2024, 8, 9, 0, partition, offset, tzinfo=UTC),
        }
        for partition, offset in rows
    ]
    write_deltalake(archive, pyarrow.Table.from_pylist(values, schema=kinds), mode="append")
    return configured


def holds(patch: pytest.MonkeyPatch, holding: Holding, oldest_ms: int | None = OLDEST_MS) -> None:
    """Lets the topic hold this."""
    patch.setattr(rebuild, "holding_of", lambda _settings: holding)
    patch.setattr(rebuild, "oldest_ms", lambda _settings: oldest_ms)


def test_nothing_is_lost(ran: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the topic holds all, only the time to read it again is to be paid."""
    holds(monkeypatch, {0: Range(0, 4_000), 1: Range(5, 7)})
    assert rebuild.cost(ran, "topic-1") == [
        f"{SAID_OF_TOPIC} 4,002 records in 2 partitions, the oldest of 2025-11-09 15:30:24 UTC; all of them are read "
        "again",
        "--rebuild: all 5 rows of the archive are still in the topic; nothing is lost",
    ]


def test_a_table_that_another_writes_to_is_not_moved(ran: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an audit or the upkeep is about to commit would end in the new table: they are waited for, then refused."""
    holds(monkeypatch, {0: Range(0, 4_000), 1: Range(5, 7)})
    monkeypatch.setattr(rebuild, "PATIENCE_S", 0)
    for lock in (amend_lock(BARS.path(ran)), commit_lock(TRADES.path(ran)), upkeep_lock(ran.tables)):
        other = started(HOLDER, "held", lock)
        try:
            with pytest.raises(PairingError, match=f"{lock} was not free .* held by process {other.process.pid}"):
                rebuild.rebuild(ran, "topic-1", lambda line: None)
        finally:
            other.end()
        assert BARS.path(ran).is_dir()
    rebuild.rebuild(ran, "topic-1", lambda line: None)
    assert not BARS.path(ran).exists()


def test_retention_has_taken_some(ran: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the archive alone has is counted, partition by partition, with the times of its trades."""
    holds(monkeypatch, {0: Range(2, 4), 1: Range(6, 6)})
    assert rebuild.cost(ran, "topic-1")[1] == (
        "--rebuild: 3 of the 5 rows of the archive are not in the topic any more (trades from 2024-08-09 00:00:00 UTC "
        "to 2024-08-09 00:01:05 UTC): they and their bars will be in the old tables alone"
    )


@pytest.mark.parametrize("identity", ["other", "damaged", "gone"])
def test_of_another_topic_nothing_is_there(ran: Settings, monkeypatch: pytest.MonkeyPatch, identity: str) -> None:
    """Offsets of a topic that was made again say nothing of the archive: all of it counts as gone from the topic."""
    holds(monkeypatch, {0: Range(0, 4), 1: Range(0, 9)})
    files = [ran.tables / IDENTITY, checkpoint_of(ran, "bars").parent / IDENTITY]
    for file in files:
        if identity == "damaged":
            file.write_text("{")
        if identity == "gone":
            file.unlink()
    topic_id = "topic-2" if identity == "other" else "topic-1"
    assert rebuild.cost(ran, topic_id)[1].startswith("--rebuild: 5 of the 5 rows of the archive are not in the topic")


def test_without_an_archive(configured: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty topic and no archive are said to be such."""
    holds(monkeypatch, {0: Range(3, 3)}, None)
    assert rebuild.cost(configured, "topic-1") == [
        f"{SAID_OF_TOPIC} 0 records in 1 partitions; all of them are read again",
        "--rebuild: there is no archive; bars of trades that are not in the topic will not come again",
    ]


def test_an_archive_that_cannot_be_read(ran: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Damage is what one starts over for: it is said, and stops nothing."""
    holds(monkeypatch, {0: Range(0, 4)})
    (TRADES.path(ran) / "_delta_log" / f"{1:020}.json").write_text("{")
    said = rebuild.cost(ran, "topic-1")[1]
    assert said.startswith(
        f"--rebuild: the archive {TRADES.path(ran)} cannot be read, so what it alone has is unknown: "
    )


def test_everything_of_the_job_is_moved_aside_and_nothing_else(ran: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and checkpoints go into folders of one stamp; the next start finds nothing and begins anew."""
    holds(monkeypatch, {0: Range(0, 4), 1: Range(5, 7)})
    said: list[str] = []
    rebuild.rebuild(ran, "topic-1", said.append)
    checkpoints = checkpoint_of(ran, "bars").parent
    (old,) = ran.tables.glob("old-*")
    assert said[2:] == [
        f"--rebuild: the old is kept in {checkpoints / old.name}",
        f"--rebuild: the old is kept in {old}",
    ]
    assert {entry.name for entry in old.iterdir()} == {"bars_1s", "trades", "rejected_trades", "identity.json"}
    assert DeltaTable(old / "trades").to_pyarrow_dataset().count_rows() == 5
    assert {entry.name for entry in (checkpoints / old.name).iterdir()} == {"bars", "archive", "amend", "identity.json"}
    locks = {lock for lock in ran.tables.iterdir() if lock.suffix in (".lock", ".amending")}
    assert {entry.name for entry in set(ran.tables.iterdir()) - locks} == {"local", old.name}
    assert {entry.name for entry in checkpoints.iterdir()} == {old.name}
    assert json.loads((old / "identity.json").read_text())["topic_id"] == "topic-1"
    pairing.pair(ran, "topic-2")


def test_with_nothing_there(configured: Settings) -> None:
    """Where there is nothing old, that is said, and nothing is asked of Kafka."""
    said: list[str] = []
    rebuild.rebuild(configured, "topic-1", said.append)
    assert said == [
        f"--rebuild: nothing to move aside, neither in {configured.tables} nor in {configured.checkpoints / 'ohlcv'}"
    ]


def test_kafka_that_does_not_answer(ran: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without knowing the cost, nothing is moved."""
    holds(monkeypatch, {})

    def held(_settings: Settings) -> Holding:
        raise SourceError("no Kafka at broker:9092 (KAFKA_BOOTSTRAP): KafkaTimeoutError")

    monkeypatch.setattr(rebuild, "holding_of", held)
    with pytest.raises(PairingError) as caught:
        rebuild.rebuild(ran, "topic-1", print)
    assert str(caught.value) == "no Kafka at broker:9092 (KAFKA_BOOTSTRAP): KafkaTimeoutError"
    assert BARS.path(ran).is_dir()
