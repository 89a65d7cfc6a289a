"""The log of a table, followed: what a commit brings, and when the table has to be loaded anew."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from bars.tables import BARS, create
from market.widths import DAY_MS
from serve.problems import BarsAway
from serve.table.log import Anew, Log, ms_of
from tests.serve.tables import START_MS, Table, every_second, walk


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path).create()


def seconds(first: int, number: int = 1) -> list[int]:
    return every_second(START_MS + first * 1_000, number)


def test_a_snapshot_tells_the_files_and_their_times(table: Table) -> None:
    """The id of the table, its version, and of each file the day and the bounds of its rows."""
    table.traded(walk(seconds(0, 10)))
    table.traded(walk(seconds(86_395, 10)))
    snapshot = Log(table.path).load()
    assert (snapshot.table_id, snapshot.version) == (DeltaTable(table.path).metadata().id, 2)
    bounds = sorted(
        (file.day_ms - START_MS, file.first_ms - START_MS, file.last_ms - START_MS) for file in snapshot.files
    )
    assert bounds == [
        (0, 0, 9_000),
        (0, 86_395_000, 86_399_000),
        (DAY_MS, 86_400_000, 86_404_000),
    ]


def test_an_empty_table_has_no_files(table: Table) -> None:
    """Nothing was written yet."""
    assert Log(table.path).load().files == ()


def test_commits_come_in_order_each_once(table: Table) -> None:
    """With the files they have added; nothing is told twice."""
    log = Log(table.path)
    log.load()
    for second in range(5):
        table.traded(walk(seconds(second), first_id=second * 10))
    commits = log.commits()
    assert [commit.version for commit in commits] == [1, 2, 3, 4, 5]
    assert [commit.added[0].first_ms - START_MS for commit in commits] == [0, 1_000, 2_000, 3_000, 4_000]
    assert all(not commit.rearranged and not commit.gone for commit in commits)
    assert log.commits() == []


def test_no_more_than_some_commits_at_once(table: Table) -> None:
    """The rest comes with the next call."""
    log = Log(table.path)
    log.load()
    for second in range(5):
        table.traded(walk(seconds(second), first_id=second * 10))
    assert [len(log.commits(most=2)) for _ in range(4)] == [2, 2, 1, 0]


def test_what_upkeep_rearranges_is_no_news(table: Table) -> None:
    """The files that others became are told apart from those with new rows, with the files that are gone."""
    log = Log(table.path)
    for second in range(10):
        table.traded(walk(seconds(second), first_id=second * 10))
    before = {file.path for file in log.load().files}
    assert table.keep().compacted == 10
    (commit,) = log.commits()
    assert (commit.added, len(commit.rearranged), commit.gone) == ((), 1, before)
    assert (commit.rearranged[0].first_ms, commit.rearranged[0].last_ms) == (START_MS, START_MS + 9_000)


def test_another_table_under_the_name_is_noticed(table: Table) -> None:
    """Also where it has as many versions: its entries are other files."""
    log = Log(table.path)
    table.traded(walk(seconds(0)))
    first = log.load()
    table.replace()
    for second in range(5):
        table.traded(walk(seconds(second), first_id=second * 10))
    with pytest.raises(Anew, match=r"version 1 of .*bars_1s is no longer what it was"):
        log.commits()
    again = log.load()
    assert (again.version, again.table_id != first.table_id) == (5, True)
    assert log.commits() == []


def test_another_table_with_fewer_versions_is_noticed(table: Table) -> None:
    """The entry of the last version is gone."""
    log = Log(table.path)
    table.traded(walk(seconds(0)))
    log.load()
    table.replace()
    with pytest.raises(Anew):
        log.commits()


def test_a_table_moved_to_the_place_is_noticed(table: Table, tmp_path: Path) -> None:
    """As a person would put back a copy."""
    other = Table(tmp_path / "other").create()
    for second in range(5):
        other.traded(walk(seconds(second), first_id=second * 10))
    table.traded(walk(seconds(0)))
    log = Log(table.path)
    log.load()
    table.path.rename(tmp_path / "aside")
    other.path.rename(table.path)
    with pytest.raises(Anew):
        log.commits()


def test_a_log_that_was_cleared_is_loaded_anew(table: Table) -> None:
    """The entries that were missed are gone behind a checkpoint; the table is the same."""
    log = Log(table.path)
    table.traded(walk(seconds(0)))
    first = log.load()
    for second in range(1, 6):
        table.traded(walk(seconds(second), first_id=second * 10))
    DeltaTable(table.path).create_checkpoint()
    real_ms = int(datetime.now(UTC).timestamp() * 1000)
    assert table.keep(real_ms + 3_700_000).log_files_deleted > 0
    with pytest.raises(Anew):
        log.commits()
    again = log.load()
    assert again.table_id == first.table_id
    assert again.version >= 6


def test_a_log_cleared_behind_the_reader_is_followed_on(table: Table) -> None:
    """The entry of the newest version always stays."""
    log = Log(table.path)
    table.traded(walk(seconds(0)))
    DeltaTable(table.path).create_checkpoint()
    log.load()
    real_ms = int(datetime.now(UTC).timestamp() * 1000)
    table.keep(real_ms + 3_700_000)
    assert log.commits() == []
    table.traded(walk(seconds(1)))
    assert [commit.version for commit in log.commits()] == [2]


def test_rows_that_are_taken_away_are_noticed(table: Table) -> None:
    """Our tables only grow; somebody's DELETE is no commit that can be taken over."""
    DeltaTable(table.path).alter.set_table_properties({"delta.appendOnly": "false"})
    table.traded(walk(seconds(0, 2)))
    log = Log(table.path)
    log.load()
    DeltaTable(table.path).delete("revision = 0")
    with pytest.raises(Anew, match="has taken rows away"):
        log.commits()


def test_no_table_is_told(tmp_path: Path) -> None:
    """What is missing, and when it will be there."""
    with pytest.raises(BarsAway, match=r"there is no table .*bars_1s yet: it is made when the job .* first starts"):
        Log(tmp_path / "bars_1s").load()
    (tmp_path / "bars_1s" / "_delta_log").mkdir(parents=True)
    with pytest.raises(BarsAway, match=r"the table .*bars_1s cannot be read"):
        Log(tmp_path / "bars_1s").load()


def test_a_damaged_entry_is_told(table: Table) -> None:
    """And is asked for again: somebody may put it right."""
    log = Log(table.path)
    log.load()
    entry = table.path / "_delta_log" / f"{1:020}.json"
    entry.write_text("{torn")
    with pytest.raises(BarsAway, match=r"version 1 of .* cannot be read"):
        log.commits()
    entry.unlink()
    table.traded(walk(seconds(0)))
    assert [commit.version for commit in log.commits()] == [1]


def test_a_table_that_vanishes_is_noticed(table: Table) -> None:
    """`--rebuild` moves it aside."""
    log = Log(table.path)
    log.load()
    shutil.rmtree(table.path)
    with pytest.raises(Anew):
        log.commits()
    create(BARS, table.path)
    assert log.load().version == 0


@pytest.mark.parametrize(
    "text", ["2024-08-09T00:00:00.000Z", "2024-08-09T00:00:00Z", "2024-08-09T00:00:00", "2024-08-09 02:00:00+02:00"]
)
def test_times_of_the_log_are_read_as_writers_write_them(text: str) -> None:
    """Spark, delta-rs and our upkeep; without a zone it is UTC."""
    assert ms_of(text) == START_MS
