"""Which files are looked into, and what is read of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bars.upkeep import rewrite
from market.bar import bars_of
from market.widths import DAY_MS, HOUR_MS
from serve.table import files as data
from serve.table import rows
from serve.table.files import Files
from serve.table.log import Commit, File, Log
from tests.serve.tables import START_MS, Table, every_second, walk


def file(name: str, first_s: int, last_s: int) -> File:
    day_ms = START_MS + first_s // 86_400 * DAY_MS
    return File(name, day_ms, START_MS + first_s * 1_000, START_MS + last_s * 1_000)


def names(found: list[File]) -> list[str]:
    return sorted(one.path for one in found)


def test_files_are_found_by_the_hours_that_they_reach_into() -> None:
    """Those of one hour or two, and those of many."""
    files = Files([file("a", 0, 10), file("b", 3_590, 3_610), file("whole", 0, 86_399), file("next", 86_400, 86_401)])
    assert names(files.of_hour(START_MS)) == ["a", "b", "whole"]
    assert names(files.of_hour(START_MS + HOUR_MS)) == ["b", "whole"]
    assert names(files.of_hour(START_MS + 23 * HOUR_MS)) == ["whole"]
    assert names(files.of_hour(START_MS + 24 * HOUR_MS)) == ["next"]
    assert files.days() == [START_MS, START_MS + DAY_MS]
    assert names(files.of_day(START_MS)) == ["a", "b", "whole"]
    assert files.hours(START_MS + DAY_MS) == [START_MS + DAY_MS]
    assert len(files.hours(START_MS)) == 24
    assert files.newest_ms == START_MS + 86_401_000
    assert names(files.since(START_MS + 3_600_000)) == ["b", "next", "whole"]


def test_a_commit_takes_files_away_and_adds_others() -> None:
    """Nothing of those that are gone is left, in any place."""
    files = Files([file("a", 0, 10), file("b", 20, 30), file("c", 40, 50)])
    files.apply(Commit(1, (), (file("merged", 0, 50),), frozenset({"a", "b", "c", "unknown"})))
    assert names(files.of_hour(START_MS)) == ["merged"]
    files.apply(Commit(2, (), (), frozenset({"merged"})))
    assert (len(files), files.days(), files.hours(START_MS), files.of_day(START_MS), files.newest_ms) == (
        0,
        [],
        [],
        [],
        None,
    )


def test_rows_are_read_by_key_and_time(tmp_path: Path) -> None:
    """As they stand in the table, every revision; `read_current` gives those that count."""
    table = Table(tmp_path).create()
    first = bars_of(walk(every_second(START_MS, 20)))
    others = bars_of(walk(every_second(START_MS, 20), exchange="coinbase", symbol="ETHUSD"))
    table.commit([*first, *others])
    amended = bars_of(walk(every_second(START_MS + 5_000, 1), seed=7))[0]
    table.commit([type(amended)(**{name: getattr(amended, name) for name in amended.__slots__} | {"revision": 1})])
    files = Log(table.path).load().files
    found = data.read(table.path, files, START_MS + 4_000, START_MS + 7_000, key=("binance", "BTCUSDT"))
    assert sorted(rows.bars_in(found), key=lambda bar: (bar.timestamp, bar.revision))[0] == first[4]
    assert found.num_rows == 4
    current = rows.bars_in(data.read_current(table.path, files, START_MS + 4_000, START_MS + 7_000))
    assert [(bar.exchange, bar.revision) for bar in current] == [
        *[("binance", 0), ("binance", 1), ("binance", 0)],
        *[("coinbase", 0)] * 3,
    ]
    assert data.read_keys(table.path, files) == {("binance", "BTCUSDT"), ("coinbase", "ETHUSD")}


def test_files_of_upkeep_are_read_alike(tmp_path: Path) -> None:
    """Merged and folded files have the same rows."""
    table = Table(tmp_path).create()
    bars = bars_of(walk(every_second(START_MS, 40)))
    for at in range(0, 40, 4):
        table.commit(bars[at : at + 4])
    table.keep()
    files = Log(table.path).load().files
    assert len(files) == 1
    assert rows.bars_in(data.read_current(table.path, files, *data.WHOLE)) == bars


def test_groups_of_rows_of_other_times_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day in one file is not read for an hour of it."""
    monkeypatch.setattr(rewrite, "ROWS", 100)
    table = Table(tmp_path).create()
    bars = bars_of(walk(every_second(START_MS, 1_000)))
    for at in range(0, 1_000, 100):
        table.commit(bars[at : at + 100])
    table.keep()
    (one,) = Log(table.path).load().files
    with pq.ParquetFile(table.path / one.path) as opened:
        assert opened.metadata.num_row_groups == 10
    read: list[int] = []
    original = pq.ParquetFile.read_row_groups

    def counted(self: object, groups: list[int], **options: object) -> object:
        read.extend(groups)
        return original(self, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    found = data.read(table.path, [one], START_MS + 250_000, START_MS + 260_000)
    assert (found.num_rows, read) == (10, [2])
    assert data.read(table.path, [one], START_MS + DAY_MS).num_rows == 0
    assert read == [2]


def test_a_file_without_bounds_may_have_any_time_of_its_day() -> None:
    """It is looked into for every hour."""
    unknown = File("x", START_MS, START_MS, START_MS + DAY_MS - 1)
    files = Files([unknown])
    assert files.hours(START_MS) == [START_MS + hour * HOUR_MS for hour in range(24)]
    assert names(files.of_hour(START_MS + 5 * HOUR_MS)) == ["x"]
