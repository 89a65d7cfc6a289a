"""What is refused at a start because checkpoint, tables, topic and settings do not belong together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow
import pytest
from deltalake import DeltaTable, write_deltalake

from bars.recovery import pairing
from bars.recovery.checkpoint import CheckpointError
from bars.recovery.identity import PairingError, checkpoint_of
from bars.tables import BARS, REJECTED, TABLES, TRADES, create_tables
from bars.topic import Holding, Range, SourceError
from market import settings
from market.settings import Settings
from market.trade import CONFLICT, Reason

CONF = {"spark.sql.shuffle.partitions": "2"}
HOLDING: Holding = {0: Range(0, 7)}
"""What the topic holds: all that the job has read, and no more."""


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """Settings with folders of the test's own."""
    return settings_with(tmp_path)


def settings_with(folder: Path, **options: str) -> Settings:
    folders = {"output_dir": str(folder / "data"), "checkpoint_dir": str(folder / "checkpoints")}
    return settings.load({}, None, folders | {"kafka_bootstrap": "broker:9092"} | options)


def ran(configured: Settings) -> None:
    """Leaves what a run leaves behind, in Spark's and Delta's own file formats."""
    planned(configured)
    create_tables(configured)
    for query in configured.queries:
        for table in TABLES[query]:
            write(table.path(configured), query, 0)


def planned(configured: Settings) -> None:
    """Leaves the checkpoints of one finished batch."""
    for query in ("bars", "archive"):
        checkpoint = checkpoint_of(configured, query)
        batch = {"batchWatermarkMs": 1_000, "batchTimestampMs": 2_000, "conf": CONF}
        for folder, text in (
            ("offsets", f"v1\n{json.dumps(batch)}\n" + '{"crypto-trades":{"0":7}}'),
            ("commits", 'v1\n{"nextBatchWatermarkMs":1000}'),
        ):
            (checkpoint / folder).mkdir(parents=True)
            (checkpoint / folder / "0").write_text(text)
            (checkpoint / folder / ".0.crc").write_text("")
        (checkpoint / "metadata").write_text(json.dumps({"id": query}))


def write(table: Path, query: str, batch: int) -> None:
    """Commits a query's batch to a table, in the form of the Delta protocol."""
    transaction = {"txn": {"appId": query, "version": batch, "lastUpdated": 0}}
    (table / "_delta_log" / f"{batch + 1:020}.json").write_text(json.dumps(transaction) + "\n")


def pair(configured: Settings, topic_id: str, holding: Holding = HOLDING) -> None:
    """Starts the job on a topic that holds this."""
    pairing.pair(configured, topic_id, held=lambda _settings: holding)


@pytest.fixture
def paired(configured: Settings) -> Settings:
    """A job that has started once and run."""
    pair(configured, "topic-1")
    ran(configured)
    return configured


def refusal(configured: Settings, topic_id: str = "topic-1", holding: Holding = HOLDING) -> str:
    """Why a start is refused."""
    with pytest.raises(PairingError) as caught:
        pair(configured, topic_id, holding)
    return str(caught.value)


START_OVER = (
    "start over from what the topic still holds, keeping the old aside: run jobs/ohlcv.py once with --rebuild, which "
    "says first what that costs"
)
"""The way to start over, as every refusal names it."""


def test_the_next_start_is_let_through(paired: Settings) -> None:
    """With everything as it was, a start is refused nothing."""
    pair(paired, "topic-1")
    pairing.check_engine(paired, CONF)


def test_a_start_cut_off_before_its_first_batch_is_made_good(configured: Settings) -> None:
    """Before anything is read, either half of the pairing may be lost: nothing else is."""
    pair(configured, "topic-1")
    shutil.rmtree(configured.checkpoints)
    pair(configured, "topic-2")
    pair(configured, "topic-2")


def test_a_lost_checkpoint(paired: Settings) -> None:
    """With the checkpoint gone, the start is refused, and the message says the way out."""
    shutil.rmtree(paired.checkpoints)
    table, checkpoint = BARS.path(paired), checkpoint_of(paired, "bars")
    assert refusal(paired) == (
        f"the table {table} has rows, but its checkpoint {checkpoint} is gone: reading the topic again would write "
        f"every row twice. Put the checkpoint back, or: {START_OVER}"
    )


def test_a_lost_table(paired: Settings) -> None:
    """With a table gone, the start is refused, and the message says the way out."""
    shutil.rmtree(TRADES.path(paired))
    assert refusal(paired) == (
        f"the table {TRADES.path(paired)} is gone, but its checkpoint {checkpoint_of(paired, 'archive')} is "
        f"there: going on would leave out everything before now. Put the table back, or: {START_OVER}"
    )


def test_all_tables_lost(paired: Settings) -> None:
    """With the whole folder of tables gone, the start is refused."""
    shutil.rmtree(paired.tables)
    assert refusal(paired).startswith(f"the table {BARS.path(paired)} is gone")


def test_a_table_deleted_between_two_starts_of_another_query(paired: Settings, tmp_path: Path) -> None:
    """A start of the archive alone does not put an empty table in the place of the bars that are gone."""
    shutil.rmtree(BARS.path(paired))
    alone = settings_with(tmp_path, queries="archive")
    pair(alone, "topic-1")
    create_tables(alone)
    assert refusal(paired).startswith(f"the table {BARS.path(paired)} is gone")


def test_an_older_checkpoint_put_back(paired: Settings) -> None:
    """A checkpoint behind its table is refused: Delta would skip what it reads again."""
    write(BARS.path(paired), "bars", 1)
    assert refusal(paired) == (
        f"the table {BARS.path(paired)} has batch 1 of the query bars, but its checkpoint "
        f"{checkpoint_of(paired, 'bars')} is at batch 0: an older copy of it was put back, and what it reads "
        f"again would be skipped. Put back the newest copy, or: {START_OVER}"
    )


def test_tables_of_another_start(paired: Settings, tmp_path: Path) -> None:
    """A checkpoint beside tables that another start has made is refused."""
    other = settings_with(tmp_path / "other")
    pair(other, "topic-1")
    ran(other)
    shutil.rmtree(paired.tables)
    shutil.copytree(other.tables, paired.tables)
    assert refusal(paired) == (
        f"the checkpoint {paired.checkpoints / 'ohlcv'} (CHECKPOINT_DIR) and the tables {paired.tables} (OUTPUT_DIR) "
        f"are not of one start (identity.json differs or is missing). Name two that belong together, or: {START_OVER}"
    )


def test_another_topic_of_the_same_name(paired: Settings) -> None:
    """A topic that was deleted and created again is not read on in its middle."""
    assert refusal(paired, "topic-2") == (
        f"the topic crypto-trades at broker:9092 is not the one that the checkpoint {paired.checkpoints / 'ohlcv'} "
        "has read (its id is topic-2, it was topic-1): it was deleted and created again, or this is another cluster. "
        f"Go back to that topic, or: {START_OVER}"
    )


@pytest.mark.parametrize(
    ("name", "was", "becomes"), [("bar_format", "delta", "parquet"), ("future_tolerance", "2000ms", "5000ms")]
)
def test_another_form_or_rule(paired: Settings, tmp_path: Path, name: str, was: str, becomes: str) -> None:
    """What decides how tables are written, and which trades are valid in all of them, is fixed with the checkpoint."""
    assert refusal(settings_with(tmp_path, **{name: becomes})) == (
        f"{name.upper()}={becomes}, but the checkpoint {paired.checkpoints / 'ohlcv'} was started with {was}. Go on "
        f"with {name.upper()}={was}, or give the new one a CHECKPOINT_DIR and an OUTPUT_DIR of its own"
    )


def test_a_frozen_engine_setting(paired: Settings) -> None:
    """A setting that Spark would put back in silence is refused by its name."""
    with pytest.raises(PairingError) as caught:
        pairing.check_engine(paired, {"spark.sql.shuffle.partitions": "8"})
    checkpoint = checkpoint_of(paired, "bars")
    assert str(caught.value) == (
        f"STATE_PARTITIONS=8, but the checkpoint {checkpoint} was started with 2 and fixes it (Spark would put 2 back "
        f"in silence). Go on with STATE_PARTITIONS=2, or: {START_OVER}"
    )


def test_a_query_added_later_starts_afresh(tmp_path: Path) -> None:
    """A job that has run the bars alone may run the archive too."""
    alone = settings_with(tmp_path, queries="bars")
    pair(alone, "topic-1")
    ran(alone)
    shutil.rmtree(checkpoint_of(alone, "archive"))
    assert not TRADES.path(alone).exists()
    pair(settings_with(tmp_path), "topic-1")


def test_a_checkpoint_that_has_lost_its_list_of_finished_batches(paired: Settings) -> None:
    """A batch that follows another says that the first was finished: a table that is gone is missed all the same."""
    checkpoint = checkpoint_of(paired, "bars")
    shutil.copy(checkpoint / "offsets/0", checkpoint / "offsets/1")
    shutil.rmtree(checkpoint / "commits")
    shutil.rmtree(BARS.path(paired))
    assert refusal(paired).startswith(f"the table {BARS.path(paired)} is gone")


def test_conflicts_are_of_the_bars_query(tmp_path: Path) -> None:
    """The archive may start after the bars query has rejected conflicts into its table, not after it has itself."""
    alone, both = settings_with(tmp_path, queries="bars"), settings_with(tmp_path)
    pair(alone, "topic-1")
    ran(alone)
    shutil.rmtree(checkpoint_of(alone, "archive"))
    table = DeltaTable(REJECTED.path(alone))
    kinds = pyarrow.schema(table.schema().to_arrow())
    write_deltalake(table, pyarrow.Table.from_pylist([{"reason": CONFLICT}], schema=kinds), mode="append")
    pair(both, "topic-1")
    write_deltalake(table, pyarrow.Table.from_pylist([{"reason": Reason.EMPTY}], schema=kinds), mode="append")
    assert refusal(both).startswith(f"the table {REJECTED.path(alone)} has rows, but its checkpoint")


def test_a_damaged_checkpoint(paired: Settings) -> None:
    """A file of the checkpoint that is cut off is named, with the way out."""
    file = checkpoint_of(paired, "archive") / "offsets/0"
    file.write_text("v1\n")
    with pytest.raises(CheckpointError, match=f"{file} cannot be read as Spark writes it .* --rebuild"):
        pair(paired, "topic-1")


def test_a_damaged_table(paired: Settings) -> None:
    """A table whose log is cut off is named, with the way out."""
    newest = BARS.path(paired) / "_delta_log" / f"{1:020}.json"
    newest.write_text('{"txn":{"app')
    message = refusal(paired)
    assert message.startswith(f"the table {BARS.path(paired)} cannot be read: ")
    assert message.endswith(f". Put back its folder _delta_log from where it was kept, or: {START_OVER}")


def test_an_older_checkpoint_beside_a_parquet_table(tmp_path: Path) -> None:
    """Spark's Parquet sink skips batches that it has too: an older checkpoint is refused in the same words."""
    parquet = settings_with(tmp_path, bar_format="parquet", queries="bars")
    pair(parquet, "topic-1")
    planned(parquet)
    log = BARS.path(parquet) / "_spark_metadata"
    log.mkdir(parents=True)
    for name in ("0", "1", "9.compact"):
        (log / name).write_text("v1\n")
    assert refusal(parquet).startswith(f"the table {BARS.path(parquet)} has batch 9 of the query bars, but its")


LOST = [
    ({0: Range(9, 12)}, "partition 0 is read from offset 7 on and begins at 9: 2 records are gone"),
    ({0: Range(0, 4)}, "partition 0 is read from offset 7 on and ends at 4: 3 records that were read are gone"),
    ({1: Range(0, 9)}, "partition 0 is read from offset 7 on and is not there any more"),
    ({0: Range(0, 9), 1: Range(3, 5)}, "partition 1 is read from offset 0 on and begins at 3: 3 records are gone"),
]


@pytest.mark.parametrize(
    ("holding", "found"), LOST, ids=["retention", "cut off", "fewer partitions", "a new partition"]
)
def test_a_topic_that_has_lost_records(paired: Settings, holding: Holding, found: str) -> None:
    """Where records that are next are gone, or ones that were read, the start is refused, with how many."""
    assert refusal(paired, "topic-1", holding) == (
        f"the topic crypto-trades at broker:9092 has lost records before the query bars could go on (checkpoint "
        f"{checkpoint_of(paired, 'bars')}): {found}. Retention has passed the reader, or the broker has lost "
        f"data. What is gone there cannot be read; to go on with the rest, {START_OVER}"
    )


def test_a_topic_that_has_grown(paired: Settings) -> None:
    """More records, more partitions, and the loss of records that were read long ago, are all harmless."""
    pair(paired, "topic-1", {0: Range(7, 90), 1: Range(0, 5)})


def test_kafka_that_does_not_answer(paired: Settings) -> None:
    """Without knowing what the topic holds, nothing is started."""

    def held(_settings: Settings) -> Holding:
        raise SourceError("no Kafka at broker:9092 (KAFKA_BOOTSTRAP): KafkaTimeoutError")

    with pytest.raises(PairingError) as caught:
        pairing.pair(paired, "topic-1", held=held)
    assert str(caught.value) == (
        "the topic crypto-trades at broker:9092 does not say what it holds: no Kafka at broker:9092 "
        "(KAFKA_BOOTSTRAP): KafkaTimeoutError. Start again when Kafka answers"
    )
