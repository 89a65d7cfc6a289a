"""What is refused at a start because checkpoint, tables, topic and settings do not belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bars import pairing
from bars.checkpoint import CheckpointError, last_committed, last_planned
from bars.pairing import PairingError
from bars.sink import BARS, TABLES, TRADES, create_tables
from market import settings
from market.settings import Settings

CONF = {"spark.sql.shuffle.partitions": "2"}


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """Settings with folders of the test's own."""
    return settings_with(tmp_path)


def settings_with(folder: Path, **options: str) -> Settings:
    folders = {"output_dir": str(folder / "data"), "checkpoint_dir": str(folder / "checkpoints")}
    return settings.load({}, None, folders | {"kafka_bootstrap": "broker:9092"} | options)


def ran(configured: Settings) -> None:
    """Leaves what a run leaves behind, in Spark's and Delta's own file formats."""
    for query in ("bars", "archive"):
        checkpoint = pairing.checkpoint_of(configured, query)
        planned = {"batchWatermarkMs": 1_000, "batchTimestampMs": 2_000, "conf": CONF}
        for folder, text in (
            ("offsets", f"v1\n{json.dumps(planned)}\n" + '{"crypto-trades":{"0":7}}'),
            ("commits", 'v1\n{"nextBatchWatermarkMs":1000}'),
        ):
            (checkpoint / folder).mkdir(parents=True)
            (checkpoint / folder / "0").write_text(text)
            (checkpoint / folder / ".0.crc").write_text("")
        (checkpoint / "metadata").write_text(json.dumps({"id": query}))
    create_tables(configured)
    for query in configured.queries:
        for table in TABLES[query]:
            write(table.path(configured), query, 0)


def write(table: Path, query: str, batch: int) -> None:
    """Commits a query's batch to a table, in the form of the Delta protocol."""
    transaction = {"txn": {"appId": query, "version": batch, "lastUpdated": 0}}
    (table / "_delta_log" / f"{batch + 1:020}.json").write_text(json.dumps(transaction) + "\n")


@pytest.fixture
def paired(configured: Settings) -> Settings:
    """A job that has started once and run."""
    pairing.pair(configured, "topic-1")
    ran(configured)
    return configured


def refusal(configured: Settings, topic_id: str = "topic-1") -> str:
    with pytest.raises(PairingError) as caught:
        pairing.pair(configured, topic_id)
    return str(caught.value)


def test_the_next_start_is_let_through(paired: Settings) -> None:
    """With everything as it was, a start is refused nothing."""
    pairing.pair(paired, "topic-1")
    pairing.check_engine(paired, CONF)


def test_a_start_cut_off_before_its_first_batch_is_made_good(configured: Settings) -> None:
    """Before anything is read, either half of the pairing may be lost: nothing else is."""
    pairing.pair(configured, "topic-1")
    shutil.rmtree(configured.checkpoints)
    pairing.pair(configured, "topic-2")
    pairing.pair(configured, "topic-2")


def test_a_lost_checkpoint(paired: Settings) -> None:
    """With the checkpoint gone, the start is refused, and the message says the way out."""
    shutil.rmtree(paired.checkpoints)
    table, checkpoint = BARS.path(paired), pairing.checkpoint_of(paired, "bars")
    message = refusal(paired)
    assert message.startswith(
        f"the table {table} has rows, but its checkpoint {checkpoint} is gone: reading the topic again would write "
        "every row twice. Put the checkpoint back, or: start over from what the topic still holds, keeping the old "
        f"aside: mv {paired.tables} {paired.tables}."
    )


def test_a_lost_table(paired: Settings) -> None:
    """With a table gone, the start is refused, and the message says the way out."""
    shutil.rmtree(TRADES.path(paired))
    message = refusal(paired)
    assert message.startswith(
        f"the table {TRADES.path(paired)} is gone, but its checkpoint {pairing.checkpoint_of(paired, 'archive')} is "
        "there: going on would leave out everything before now. Put the table back, or: start over"
    )


def test_all_tables_lost(paired: Settings) -> None:
    """With the whole folder of tables gone, the start is refused."""
    shutil.rmtree(paired.tables)
    assert refusal(paired).startswith(f"the table {BARS.path(paired)} is gone")


def test_a_table_deleted_between_two_starts_of_another_query(paired: Settings, tmp_path: Path) -> None:
    """A start of the archive alone does not put an empty table in the place of the bars that are gone."""
    shutil.rmtree(BARS.path(paired))
    alone = settings_with(tmp_path, queries="archive")
    pairing.pair(alone, "topic-1")
    create_tables(alone)
    assert refusal(paired).startswith(f"the table {BARS.path(paired)} is gone")


def test_an_older_checkpoint_put_back(paired: Settings) -> None:
    """A checkpoint behind its table is refused: Delta would skip what it reads again."""
    write(BARS.path(paired), "bars", 1)
    assert refusal(paired).startswith(
        f"the table {BARS.path(paired)} has batch 1 of the query bars, but its checkpoint "
        f"{pairing.checkpoint_of(paired, 'bars')} is at batch 0: an older copy of it was put back, and what it reads "
        "again would be skipped. Put back the newest copy, or: start over"
    )


def test_tables_of_another_start(paired: Settings, tmp_path: Path) -> None:
    """A checkpoint beside tables that another start has made is refused."""
    other = settings_with(tmp_path / "other")
    pairing.pair(other, "topic-1")
    ran(other)
    shutil.rmtree(paired.tables)
    shutil.copytree(other.tables, paired.tables)
    assert "are not of one start (identity.json differs or is missing)" in refusal(paired)


def test_another_topic_of_the_same_name(paired: Settings) -> None:
    """A topic that was deleted and created again is not read on in its middle."""
    message = refusal(paired, "topic-2")
    assert message.startswith(
        f"the topic crypto-trades at broker:9092 is not the one that the checkpoint {paired.checkpoints / 'ohlcv'} "
        "has read (its id is topic-2, it was topic-1): it was deleted and created again, or this is another cluster. "
        "Go back to that topic, or: start over"
    )


def test_another_format(paired: Settings, tmp_path: Path) -> None:
    """BAR_FORMAT is fixed with the checkpoint."""
    changed = settings_with(tmp_path, bar_format="parquet")
    assert refusal(changed) == (
        f"BAR_FORMAT=parquet, but the checkpoint {paired.checkpoints / 'ohlcv'} was started with delta. Go on with "
        "BAR_FORMAT=delta, or give the new one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
    )


def test_a_frozen_engine_setting(paired: Settings) -> None:
    """A setting that Spark would put back in silence is refused by its name."""
    with pytest.raises(PairingError) as caught:
        pairing.check_engine(paired, {"spark.sql.shuffle.partitions": "8"})
    checkpoint = pairing.checkpoint_of(paired, "bars")
    assert str(caught.value).startswith(
        f"STATE_PARTITIONS=8, but the checkpoint {checkpoint} was started with 2 and fixes it (Spark would put 2 back "
        "in silence). Go on with STATE_PARTITIONS=2, or: start over"
    )


def test_two_runs_at_once(configured: Settings) -> None:
    """A second run on one checkpoint waits its patience and is then refused, with the pid of the first."""
    with (
        pairing.locked(configured),
        pytest.raises(PairingError, match=r"another run holds the checkpoint .* \(process [0-9]+\)"),
        pairing.locked(configured, patience_s=0),
    ):
        pass
    with pairing.locked(configured, patience_s=0):
        pass


def test_a_query_added_later_starts_afresh(tmp_path: Path) -> None:
    """A job that has run the bars alone may run the archive too."""
    alone = settings_with(tmp_path, queries="bars")
    pairing.pair(alone, "topic-1")
    ran(alone)
    shutil.rmtree(pairing.checkpoint_of(alone, "archive"))
    assert not TRADES.path(alone).exists()
    pairing.pair(settings_with(tmp_path), "topic-1")


def test_a_checkpoint_is_read_as_spark_writes_it(paired: Settings) -> None:
    """The newest batch is known with its watermark and offsets."""
    batch = last_committed(pairing.checkpoint_of(paired, "bars"))
    assert batch is not None
    assert (batch.id, batch.watermark_ms, batch.offsets) == (0, 1_000, {"crypto-trades": {"0": 7}})


@pytest.mark.parametrize("text", ["", "v1\n", 'v1\n{"batch', "\0\0\0"])
def test_a_torn_checkpoint_names_its_file(paired: Settings, text: str) -> None:
    """A file of the checkpoint that is cut off or empty is named, with the way out."""
    file = pairing.checkpoint_of(paired, "bars") / "offsets" / "0"
    file.write_text(text)
    with pytest.raises(CheckpointError, match=f"{file} cannot be read as Spark writes it .* restore the checkpoint"):
        last_planned(pairing.checkpoint_of(paired, "bars"))
