"""Upkeep on tables that plain Delta writers made: what becomes of their files, their rows, and their logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from hypothesis import given
from hypothesis import strategies as st

from bars.follow import DeltaFollower
from bars.locks import LockError, commit_lock, held
from bars.recovery.identity import PairingError, tie
from bars.tables import BARS, TRADES, create_tables
from bars.upkeep import deltalog, rewrite
from bars.upkeep.deltalog import File, LogError, Made
from bars.upkeep.passes import FEW, FULL, bins, is_closed
from market import settings as market_settings
from market.bar import bars_of, current
from market.settings import ROOT
from tests.bars.frames import bars_in
from tests.bars.upkeep.kept import DAY, DAY_MS, LONG_AFTER_MS, START_MS, Kept, moment, trade


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    folders = {"output_dir": str(tmp_path / "data"), "checkpoint_dir": str(tmp_path / "checkpoints")}
    settings = market_settings.load({}, None, folders | {"kafka_bootstrap": "none:1"})
    create_tables(settings)
    return Kept(settings)


def test_many_small_files_become_one_with_the_same_rows(kept: Kept) -> None:
    """Compaction changes no row, no transaction and no row count, and states the bounds that the rows have."""
    for second in range(10):
        kept.barred([trade(second, second)])
    before = bars_in(kept.rows())
    did = kept.keep()["bars_1s"]
    assert (did.files_before, did.compacted, did.compacted_to, did.files_after) == (10, 10, 1, 1)
    assert bars_in(kept.rows()) == before == bars_of([trade(second, second) for second in range(10)])
    (action,) = pa.table(DeltaTable(kept.path()).get_add_actions(flatten=True)).to_pylist()
    assert (action["num_records"], action["partition.date"]) == (10, DAY)
    assert (action["min.symbol"], action["max.symbol"], action["null_count.symbol"]) == ("BTCUSDT", "BTCUSDT", 0)
    assert (action["min.timestamp"], action["max.timestamp"]) == (moment(START_MS), moment(START_MS + 9_000))
    assert kept.keep()["bars_1s"].compacted == 0


def test_a_dry_run_says_what_would_be_done_and_does_nothing(kept: Kept) -> None:
    """Not a file is touched, and what it says is what a pass then does."""
    for second in range(10):
        kept.barred([trade(second, 0)], revision=second)
    told = kept.keep(LONG_AFTER_MS, dry_run=True)["bars_1s"]
    assert (kept.on_disk(), len(kept.rows())) == (10, 10)
    did = kept.keep(LONG_AFTER_MS)["bars_1s"]
    assert (told.folded_days, told.folded_rows, told.compacted) == (1, 9, 10)
    assert (did.folded_days, did.folded_rows, did.compacted) == (1, 9, 10)


def test_a_closed_day_is_folded_once(kept: Kept) -> None:
    """Of each bar the newest revision stays, with its number; another pass finds nothing; an amendment counts on."""
    kept.barred([trade(second, second) for second in range(5)])
    kept.barred([trade(1, 1), trade(7, 1)], revision=1)
    kept.barred([trade(9, 8)], revision=1)
    kept.barred([trade(1, 1), trade(7, 1), trade(8, 1)], revision=2)
    before = current(bars_in(kept.rows()))
    assert kept.keep(START_MS + 8 * DAY_MS - 1)["bars_1s"].folded_days == 0
    assert kept.keep(START_MS + 8 * DAY_MS)["bars_1s"].folded_rows == 2
    assert bars_in(kept.rows()) == before
    assert [bar.revision for bar in before] == [0, 2, 0, 0, 0, 1]
    assert kept.keep(LONG_AFTER_MS)["bars_1s"].folded_days == 0
    kept.barred([trade(1, 1)], revision=3, written_ms=LONG_AFTER_MS)
    assert kept.keep(LONG_AFTER_MS)["bars_1s"].folded_days == 0  # it may not be the last one today
    assert kept.keep(LONG_AFTER_MS + 2 * DAY_MS)["bars_1s"].folded_rows == 1
    assert [bar.revision for bar in bars_in(kept.rows())] == [0, 3, 0, 0, 0, 1]


def test_folding_keeps_rows_that_nothing_supersedes(kept: Kept) -> None:
    """One revision in two rows is an error that the audit tells of: it is not hidden."""
    kept.barred([trade(1)], revision=1)
    kept.barred([trade(1)], revision=1)
    assert kept.keep(LONG_AFTER_MS)["bars_1s"].folded_rows == 0
    assert [bar.revision for bar in bars_in(kept.rows())] == [1, 1]


def test_nothing_is_folded_if_so_set(kept: Kept) -> None:
    """FOLD_AFTER_DAYS=0: files become few, and every revision stays."""
    kept.barred([trade(1)])
    kept.barred([trade(1), trade(2)], revision=1)
    did = kept.keep(LONG_AFTER_MS, fold_after_days=0)["bars_1s"]
    assert (did.folded_days, did.compacted, len(kept.rows())) == (0, 2, 2)


def test_what_does_not_count_goes_after_a_while(kept: Kept) -> None:
    """A file that was replaced stays UPKEEP_KEEP for slow readers, counted from then; so does what a crash has left."""
    for second in range(10):
        kept.barred([trade(second, second)])
    for name in ("part-left.snappy.parquet", "part-left-too.snappy.parquet#1"):  # Spark's, delta-rs's
        (kept.path() / "date=2024-08-09" / name).write_bytes(b"PAR1")
    real_ms = int(datetime.now(UTC).timestamp() * 1000)
    kept.keep(real_ms, fold_after_days=0)
    assert kept.on_disk() == 12
    assert kept.keep(real_ms + 3_500_000)["bars_1s"].deleted_files == 0
    did = kept.keep(real_ms + 3_700_000)["bars_1s"]
    assert did.deleted_files >= 12
    assert did.freed_bytes > 8
    assert not [*kept.path().glob("date=*/*left*")]
    assert (kept.on_disk(), len(kept.rows())) == (1, 10)


def test_old_versions_of_the_log_go_behind_a_checkpoint(kept: Kept) -> None:
    """The table reads the same without them, with what it knows of transactions; newer versions all stay."""
    log = kept.path() / "_delta_log"
    for second in range(5):
        kept.barred([trade(second, second)])
        if second == 2:
            DeltaTable(kept.path()).create_checkpoint()
    (log / ".00000000000000000002.json.crc").write_bytes(b"crc")
    for left in ("00000000000000000009.json#1", "00000000000000000003.checkpoint.parquet#1"):
        (log / left).write_bytes(b"")
    real_ms = int(datetime.now(UTC).timestamp() * 1000)
    assert kept.keep(real_ms)["bars_1s"].log_files_deleted == 0
    assert kept.keep(real_ms + 3_700_000)["bars_1s"].log_files_deleted == 6
    assert not [*log.glob("*#*")]
    assert sorted(file.name[:20] for file in log.glob("*.json")) == [f"{version:020}" for version in (3, 4, 5, 6)]
    assert len(kept.rows()) == 5


def test_what_the_query_amend_has_not_read_stays(kept: Kept) -> None:
    """Neither its files nor the versions it may list again are touched, however long it is away."""
    for number in range(20):
        kept.archived(number)
        if number in (4, 14):
            DeltaTable(kept.path(TRADES)).create_checkpoint()
    kept.amend_reads(3)
    assert kept.keep(LONG_AFTER_MS)["trades"].compacted == 0  # it reads the table as it was when it began
    kept.amend_reads(11, 18)
    real_ms = int(datetime.now(UTC).timestamp() * 1000) + DAY_MS
    did = kept.keep(real_ms)["trades"]
    assert (did.compacted, did.waits_for_amend, did.files_after) == (10, 10, 11)
    assert min(int(file.stem) for file in (kept.path(TRADES) / "_delta_log").glob("*.json")) == 5
    kept.amend_reads(11, 22, 22)
    assert kept.keep(real_ms)["trades"].waits_for_amend == 0
    assert sorted(row["trade_id"] for row in kept.rows(TRADES)) == list(range(20))


def test_whole_old_days_of_the_archive_go_if_so_set(kept: Kept) -> None:
    """Days older than ARCHIVE_DAYS, by date and by writing; the table then no longer promises to be append-only."""
    kept.archived(1)
    kept.barred([trade(1)])
    assert kept.keep(START_MS + 4 * DAY_MS)["trades"].deleted_days == 0
    assert kept.keep(START_MS + 3 * DAY_MS, archive_days=3)["trades"].deleted_days == 0
    did = kept.keep(START_MS + 4 * DAY_MS + 1, archive_days=3)
    assert (did["trades"].deleted_days, did["bars_1s"].deleted_days) == (1, 0)
    assert (kept.rows(TRADES), len(kept.rows())) == ([], 1)
    properties = [DeltaTable(kept.path(table)).metadata().configuration for table in (TRADES, BARS)]
    assert [found["delta.appendOnly"] for found in properties] == ["false", "true"]
    kept.archived(2)
    assert [row["trade_id"] for row in kept.rows(TRADES)] == [2]


def test_a_day_that_was_written_lately_stays(kept: Kept) -> None:
    """A recording of long ago, replayed today, is not deleted under its readers."""
    kept.archived(1, written_ms=LONG_AFTER_MS)
    assert kept.keep(LONG_AFTER_MS + 2 * DAY_MS, archive_days=3)["trades"].deleted_days == 0


def test_files_that_went_meanwhile_are_not_replaced(kept: Kept) -> None:
    """What was made of them is not committed, and no row stands twice."""
    kept.barred([trade(1, 1)])
    kept.barred([trade(2, 2)])
    files = list(deltalog.live(kept.path()).values())
    made, _ = rewrite.merged(kept.path(), files)
    assert deltalog.rearrange(kept.path(), "OPTIMIZE", files[:1], []) == 3
    assert deltalog.rearrange(kept.path(), "OPTIMIZE", files, [made]) is None
    assert len(kept.rows()) == 1


def test_a_version_that_is_there_is_never_overwritten(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who commits without the lock is noticed, not erased."""
    kept.barred([trade(1)])
    file = next(iter(deltalog.live(kept.path()).values()))
    monkeypatch.setattr(deltalog.DeltaTable, "version", lambda table: 0)
    with pytest.raises(LogError, match=r"got version 1 from somebody who does not hold .*bars_1s\.lock"):
        deltalog.rearrange(kept.path(), "OPTIMIZE", [], [Made(file, 1, {})])
    assert len(kept.rows()) == 1
    assert not [*(kept.path() / "_delta_log").glob(".*.tmp")]


def test_who_follows_the_bars_sees_no_row_again(kept: Kept) -> None:
    """The terminal shows bars as they come; a file that others became brings none."""
    follower = DeltaFollower(kept.path())
    for second in range(FEW):
        kept.barred([trade(second, second)])
    assert len(follower.rows()) == FEW
    assert kept.keep()["bars_1s"].compacted == FEW
    assert follower.rows() == []


def test_one_pass_at_amoment(kept: Kept) -> None:
    """A second one is refused at once."""
    with held(kept.settings.tables / "upkeep.lock", patience_s=0), pytest.raises(LockError, match=r"upkeep\.lock"):
        kept.keep()


def test_tables_of_another_checkpoint_are_left(kept: Kept, tmp_path: Path) -> None:
    """It would not say what the query amend has still to read."""
    tie(kept.settings, {"id": "one"})
    tie(replace(kept.settings, output_dir=str(tmp_path / "other")), {"id": "other"})
    with pytest.raises(PairingError, match="are not of one start"):
        kept.keep()


def test_a_table_that_a_writer_holds_is_left(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that is stopped in the middle of a commit may go on at any moment: its files stay."""
    monkeypatch.setattr(deltalog, "PATIENCE_S", 0)
    with held(commit_lock(kept.path()), patience_s=0), pytest.raises(LockError, match=r"bars_1s\.lock was not free"):
        kept.keep()


SIZES = st.lists(st.integers(0, 2 * FULL), max_size=60)


@given(SIZES, st.booleans())
def test_bins_leave_few_files(sizes: list[int], is_over: bool) -> None:
    """No file is in two bins or full already; what is left of a day is bounded, whatever comes."""
    files = [File(f"{number}", DAY, size, number) for number, size in enumerate(sizes)]
    found = bins(files, is_over=is_over)
    inside = [file for some in found for file in some]
    assert len(set(inside)) == len(inside)
    assert all(file.size < FULL for file in inside)
    assert all(len(some) > 1 and sum(file.size for file in some) < 2 * FULL for some in found)
    left = [file for file in files if file not in inside and file.size < FULL]
    assert len(left) < (3 if is_over else 4 * FEW + 4)


def test_a_day_is_closed_by_rule() -> None:
    """Old enough by date, and nothing written for a day; a folded day is closed already."""
    day, now_ms = DAY + timedelta(days=1), START_MS + 9 * DAY_MS
    files = [File("date=x/part-1", day, 1, now_ms - DAY_MS - 1), File("date=x/folded-1", day, 1, 0)]
    assert is_closed(day, files, 7, now_ms)
    assert not is_closed(day, files, 8, now_ms)
    assert not is_closed(day, files, 0, now_ms)
    assert not is_closed(day, [*files, File("b", day, 1, now_ms - 5)], 7, now_ms)
    assert not is_closed(day, files[1:], 7, now_ms)


def test_the_command_says_what_it_has_done(kept: Kept) -> None:
    """For a person, or as JSON; without tables it says so."""
    for second in range(FEW):
        kept.barred([trade(second, second)], written_ms=int(datetime.now(UTC).timestamp() * 1000))
    options = ["--kafka-bootstrap=none:1", f"--output-dir={kept.settings.tables}", "--fold-after-days=0"]
    command = [sys.executable, "-m", "bars.upkeep", *options]
    environment = os.environ | {"CHECKPOINT_DIR": str(kept.settings.checkpoints)}
    told = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert told.returncode == 0, told.stderr
    tables = {table["table"]: table for table in json.loads(told.stdout)["tables"]}
    assert (tables["bars_1s"]["compacted"], tables["bars_1s"]["files_after"]) == (FEW, 1)
    assert json.loads((kept.settings.tables / "upkeep.json").read_text())["tables"] == json.loads(told.stdout)["tables"]
    refused = subprocess.run([*command, "--upkeep-keep=5"], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert refused.returncode == 2
    assert refused.stderr == (
        "upkeep: UPKEEP_KEEP=5 (from the command line) is not allowed: it must be a number and a unit (ms, s, m or h), "
        "such as 500ms or 2s, of at least 60000 ms\n"
    )
