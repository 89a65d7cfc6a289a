"""Twelve places at which a run may be cut off: the next one ends with the table of the definition, or is refused.

What a crash leaves is made here in two ways. A run dies inside a batch, at a write to a table; or the files that a
death at another moment leaves are made by hand, between two runs. `tests/e2e/test_recovery.py` kills real processes.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession
from pyspark.sql.readwriter import DataFrameWriter

from bars.recovery.checkpoint import CheckpointError, last_committed
from bars.recovery.identity import PairingError, checkpoint_of
from bars.tables import BARS, REJECTED, TRADES, Table
from market.trade import CONFLICT, Element, Rejected, Trade, record_of
from tests.bars.runs import START_MS, Job, Position, configured, new_topic, position, some

pytestmark = pytest.mark.spark

FIRST, SECOND = some(100), some(100, first_id=100, start_ms=START_MS + 100_000)
OTHERS = some(100, first_id=500, start_ms=START_MS + 100_000, symbol="ETHUSDT")
COPIES = SECOND[::7]
CONFLICTS = [trade._replace(price="1") for trade in SECOND[::9]]
POISON = [b"{", b"[]", b'{"exchange":"kraken"}', record_of(SECOND[0]._replace(price="-1"))]


@pytest.fixture(scope="module")
def before(spark: SparkSession, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job that has run once, and has more to read since."""
    job = Job(configured(kafka, new_topic(kafka), tmp_path_factory.mktemp("before")), spark)
    job.send_trades(FIRST)
    assert job.process() == 0
    job.send([*map(record_of, [*COPIES, *CONFLICTS]), *POISON], 1)
    job.send_trades([*SECOND, *COPIES, *CONFLICTS, *SECOND], 1)
    job.send_trades(OTHERS, 2)
    return job


@pytest.fixture
def job(before: Job, tmp_path: Path) -> Job:
    """That job, in folders of the test's own."""
    for folder in ("data", "checkpoints"):
        shutil.copytree(before.settings.tables.parent / folder, tmp_path / folder)
    folders = {"output_dir": f"{tmp_path}/data", "checkpoint_dir": f"{tmp_path}/checkpoints"}
    return Job(replace(before.settings, **folders), before.spark)  # type: ignore[arg-type]


class DeathError(Exception):
    """The end of a run, in the middle of a batch."""


@contextmanager
def dying(table: Table, when: str) -> Iterator[None]:
    """The run dies `before` its next write to a table, or `after` it, when Spark has not noted the batch as done."""

    def failing(write: Callable[..., None], name: str) -> None:
        if name != table.name:
            return write()
        if when == "after":
            write()
        raise DeathError

    def by_spark(writer: DataFrameWriter, path: str) -> None:
        failing(lambda: save(writer, path), Path(path).name)

    def by_the_driver(there: DeltaTable, *rows: object, **options: object) -> None:
        failing(lambda: write(there, *rows, **options), Path(there.table_uri).name)

    save: Any = DataFrameWriter.save
    write: Any = write_deltalake
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataFrameWriter, "save", by_spark)
        patch.setattr("bars.append.write_deltalake", by_the_driver)
        yield


def assert_whole(job: Job, *queries: str) -> None:
    """Runs the job, or some of its queries, to the end of the topic, and holds their tables to plain Python."""
    assert job.process(*queries) == 0
    if "archive" in (queries or job.settings.queries):
        elements = job.elements()
        stored = Counter(map(position, job.rows(TRADES)))
        assert stored == Counter(place for place, element in elements.items() if isinstance(element, Trade))
        refused = Counter(position(row) for row in job.rows(REJECTED) if row["reason"] != CONFLICT)
        assert refused == Counter(place for place, element in elements.items() if isinstance(element, Rejected))
    if "bars" in (queries or job.settings.queries):
        assert job.bars() == job.expected()
        conflicts = Counter(position(row) for row in job.rows(REJECTED) if row["reason"] == CONFLICT)
        assert conflicts == Counter(conflicting(job.elements()))


def conflicting(elements: dict[Position, Element]) -> Iterator[Position]:
    """Where trades stand that bear the identity of an earlier one, and other content."""
    first: dict[tuple[str, str, int], Trade] = {}
    for place, element in elements.items():
        if isinstance(element, Trade):
            identity = element.exchange, element.symbol, element.trade_id
            if first.setdefault(identity, element) != element:
                yield place


def newest(job: Job, query: str, folder: str) -> Path:
    """The newest file of a folder of a query's checkpoint."""
    files = (checkpoint_of(job.settings, query) / folder).glob("[0-9]*")
    return max(files, key=lambda file: int(file.stem))


def remove(file: Path) -> None:
    """Deletes a file of a checkpoint and its checksum."""
    file.unlink()
    file.with_name(f".{file.name}.crc").unlink()


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "after"])
@pytest.mark.parametrize(
    ("query", "table"),
    [
        ("bars", BARS),
        pytest.param("bars", REJECTED, marks=pytest.mark.long),
        ("archive", TRADES),
        pytest.param("archive", REJECTED, marks=pytest.mark.long),
    ],
)
def test_death_at_a_write(job: Job, query: str, table: Table, when: str) -> None:
    """Points 1, 2, 7 and 8: before a table's commit, after it, and between those of two tables of one query."""
    with dying(table, when):
        assert job.process(query) == 1
    assert_whole(job, query)


@pytest.mark.long
def test_finished_batches_that_are_not_noted_as_such(job: Job) -> None:
    """Point 3: with the newest of `commits` gone, of each query, the batches are run again without a trace."""
    assert job.process() == 0
    for query in job.settings.queries:
        remove(newest(job, query, "commits"))
    assert_whole(job)


@pytest.mark.parametrize("query", ["bars", "archive"])
def test_a_plan_that_is_cut_off(job: Job, query: str) -> None:
    """Point 4: a torn file of `offsets` is refused by its name."""
    file = newest(job, query, "offsets")
    file.write_bytes(file.read_bytes()[:100])
    assert_refused(job, file)


def test_a_first_plan_that_is_cut_off(spark: SparkSession, kafka: str, tmp_path: Path) -> None:
    """Point 4 at the first start: the rest of a file that was never finished is no run, and in nobody's way."""
    job = Job(configured(kafka, new_topic(kafka, partitions=1), tmp_path), spark)
    assert job.process("archive") == 0
    for query in ("bars", "amend"):  # which had begun, and were cut off when they were about to have a plan
        folder = checkpoint_of(job.settings, query) / "offsets"
        folder.mkdir(parents=True)
        (folder / ".0.9b2f6c1e-5d1c-4c3e-8f52-0d4d0a3b8c11.TID1.tmp").write_bytes(b"v1\n{")
        (folder / "..0.9b2f6c1e-5d1c-4c3e-8f52-0d4d0a3b8c11.TID1.tmp.crc").write_bytes(b"crc\0")
    job.send_trades(FIRST)
    assert_whole(job)


def test_a_query_without_its_name(job: Job) -> None:
    """Point 5: without `metadata`, Spark would give the query another id, and Delta would take its batches twice."""
    file = checkpoint_of(job.settings, "bars") / "metadata"
    file.unlink()
    assert_refused(job, file)


@pytest.mark.long
def test_state_that_is_cut_off(job: Job) -> None:
    """Point 6: torn state is refused with a way out, which is gone here: the batch is run again and makes it anew."""
    with dying(BARS, "after"):
        assert job.process("bars") == 1
    assert job.process("bars") == 0
    batch = last_committed(checkpoint_of(job.settings, "bars"))
    assert batch is not None
    file = checkpoint_of(job.settings, "bars") / f"state/0/1/{batch.id + 1}.delta"
    file.write_bytes(file.read_bytes()[:-7])
    assert "is then run again" in assert_refused(job, file)
    remove(newest(job, "bars", "commits"))
    assert_whole(job, "bars")


def assert_refused(job: Job, file: Path) -> str:
    """The start is refused because of a file; why."""
    with pytest.raises(CheckpointError) as caught:
        job.process()
    assert str(caught.value).startswith(f"{file} cannot be read as Spark writes it (")
    return str(caught.value)


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
def test_death_at_an_amendment(spark: SparkSession, kafka: str, tmp_path: Path, when: str) -> None:
    """Points 9 and 12: late trades end in their bars once, whether the run that amended them died before or after it
    did, or before Spark had noted the batch as done."""
    job = Job(configured(kafka, new_topic(kafka, partitions=1), tmp_path), spark)
    job.send_trades(FIRST)
    assert job.process() == 0
    late = [trade._replace(trade_id=trade.trade_id + 10_000, price="7") for trade in FIRST[::3]]
    job.send(map(record_of, late))
    assert job.process() == 0
    assert job.bars() != job.expected()
    with dying(BARS, when):
        assert job.process("amend") == 1
    assert job.process("amend") == 0
    assert [replace(bar, revision=0) for bar in job.bars()] == job.expected()
    assert {bar.revision for bar in job.bars()} == {1}
    before = job.rows(BARS)
    remove(newest(job, "amend", "commits"))
    assert job.process("amend") == 0
    assert job.rows(BARS) == before


@pytest.mark.long
def test_compaction_cut_off_and_compaction_done(job: Job) -> None:
    """Point 10: files that OPTIMIZE had written when it died belong to no version; those of a finished one do."""
    assert job.process("bars") == 0
    path = BARS.path(job.settings)
    data = next(path.glob("date=*/*.parquet"))
    shutil.copy(data, data.with_name("part-00000-written-by-a-dead-optimize.c000.snappy.parquet"))
    remove(newest(job, "bars", "commits"))
    job.spark.sql(f"OPTIMIZE delta.`{path}`")
    assert_whole(job, "bars")


@pytest.mark.parametrize("left", ["temporary", "pointer"])
@pytest.mark.long
def test_a_checkpoint_of_deltas_log_cut_off(job: Job, left: str) -> None:
    """Point 11: whatever a dead checkpoint of the log has left, the table is read from the versions beside it."""
    log, version = log_of(job)
    if left == "temporary":
        (log / f".{version:020}.checkpoint.parquet.5f0a.tmp").write_bytes(b"PAR1")
    else:
        (log / "_last_checkpoint").write_text(json.dumps({"version": version, "size": 5})[:-4])
    assert_whole(job, "bars")


def test_a_checkpoint_of_deltas_log_that_is_torn(job: Job) -> None:
    """Point 11, by a power cut: a checkpoint that bears its final name is written whole; a torn one is refused."""
    log, version = log_of(job)
    (log / f"{version:020}.checkpoint.parquet").write_bytes(b"PAR1")
    with pytest.raises(PairingError, match=f"the table {log.parent} cannot be read: .* Put back its folder _delta_log"):
        job.process()


def log_of(job: Job) -> tuple[Path, int]:
    """Delta's log of the bars, and its newest version."""
    log = BARS.path(job.settings) / "_delta_log"
    return log, max(int(file.stem) for file in log.glob("*.json"))
