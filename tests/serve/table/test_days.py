"""Days on disk: a cache that is believed only where it fits."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from market.bar import bars_of, rolled_up
from market.widths import HOUR_MS, MINUTE_MS
from serve.table import days as module
from serve.table import rows
from serve.table.days import Days, hours_of
from serve.table.log import File
from tests.serve.tables import START_MS, some_of_days, walk

FILES = [File(f"date=2024-08-09/part-{name}.parquet", START_MS, START_MS, START_MS) for name in "ab"]
BARS = bars_of(
    [
        *walk(some_of_days(1, 300)),
        *walk(some_of_days(1, 50, seed=2), exchange="coinbase", symbol="ETHUSD"),
    ]
)


def minutes() -> object:
    return rows.rows_of(rolled_up(BARS, MINUTE_MS))


@pytest.fixture
def days(tmp_path: Path) -> Days:
    made = Days(tmp_path / "rollups", "one")
    made.store(START_MS, FILES, minutes(), hours_of(minutes()))
    return made


def test_a_day_is_read_as_it_was_stored(days: Days) -> None:
    """The hours of all symbols, the minutes of each, and nothing of one that was not traded."""
    assert rows.bars_in(days.hours(START_MS, FILES)) == rolled_up(BARS, HOUR_MS)
    assert rows.bars_in(days.hours(START_MS, FILES[::-1])) == rolled_up(BARS, HOUR_MS)
    for key in (("binance", "BTCUSDT"), ("coinbase", "ETHUSD")):
        own = [bar for bar in rolled_up(BARS, MINUTE_MS) if (bar.exchange, bar.symbol) == key]
        assert rows.bars_in(days.minutes(START_MS, FILES, *key)) == own
    assert days.minutes(START_MS, FILES, "coinbase", "BTCUSDT").num_rows == 0


def test_a_day_of_other_files_is_not_believed(days: Days) -> None:
    """A commit to that day since makes it anew."""
    other = File("date=2024-08-09/part-c.parquet", START_MS, START_MS, START_MS)
    assert days.hours(START_MS, [*FILES, other]) is None
    assert days.hours(START_MS, FILES[:1]) is None
    assert days.minutes(START_MS, [*FILES, other], "binance", "BTCUSDT") is None
    assert days.minutes(START_MS, FILES[:1], "binance", "BTCUSDT") is None


def test_another_tables_days_are_not_seen(days: Days, tmp_path: Path) -> None:
    """Each table has a folder of its own, by its id."""
    assert Days(tmp_path / "rollups", "other").hours(START_MS, FILES) is None
    assert Days(tmp_path / "rollups", "one").hours(START_MS, FILES) is not None


def test_a_day_that_was_forgotten_is_gone(days: Days, tmp_path: Path) -> None:
    """And leaves nothing behind."""
    days.forget(START_MS)
    days.forget(START_MS)
    assert days.hours(START_MS, FILES) is None
    assert not [*tmp_path.glob("rollups/*/*")]


def test_a_damaged_day_is_made_anew(days: Days, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every page has a checksum; the log tells."""
    (hours,) = tmp_path.glob("rollups/*/*.hours.parquet")
    (minute,) = tmp_path.glob("rollups/*/*.minutes.parquet")
    content = bytearray(minute.read_bytes())
    for at in range(4, len(content) // 2):
        content[at] ^= 0xFF
    minute.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert days.minutes(START_MS, FILES, "binance", "BTCUSDT") is None
    assert "made anew" in caplog.text
    hours.write_bytes(hours.read_bytes()[:100])
    assert days.hours(START_MS, FILES) is None
    days.store(START_MS, FILES, minutes(), hours_of(minutes()))
    assert rows.bars_in(days.hours(START_MS, FILES)) == rolled_up(BARS, HOUR_MS)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """By an error, and what was there stays unread."""
    (tmp_path / "rollups").write_text("a file in the way")
    made = Days(tmp_path / "rollups", "one")
    with pytest.raises(OSError, match="rollups"):
        made.store(START_MS, FILES, minutes(), hours_of(minutes()))
    assert made.hours(START_MS, FILES) is None


def test_tidying_spares_what_is_not_ours(tmp_path: Path) -> None:
    """Only days of tables longest unused go, whatever folder was set; and what a crash has left."""
    folder = tmp_path / "rollups"
    for number in range(module.TABLES + 2):
        made = Days(folder, f"table {number}")
        made.tidy()
        made.store(START_MS, FILES, minutes(), hours_of(minutes()))
    mine = folder / "documents"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    own = Days(folder, f"table {module.TABLES + 1}")
    kept = max(folder.glob("table-*"), key=lambda path: path.stat().st_mtime_ns)
    left, written = (kept / f"{number}.hours.parquet.{'0' * 32}.partial" for number in (5, 6))
    for file in (left, written):
        file.write_text("")
    long_ago = time.time() - module.LEFT_S - 1
    os.utime(left, (long_ago, long_ago))
    own.tidy()
    assert len([*folder.glob("table-*")]) == module.TABLES
    assert (mine / "letter.txt").read_text() == "dear"
    assert not left.exists()
    assert written.exists()  # another service may be at it
    assert own.hours(START_MS, FILES) is not None
