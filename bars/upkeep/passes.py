"""Upkeep: tables and their logs stay small, beside whoever writes, or when nobody does. Without Spark.

A pass over the Delta tables of the settings does, for each: many small files become few (compaction); of days that are
closed for good, only the current revisions of bars stay (folding); whole old days of the archive go, if so set
(retention); files on disk that do not count any more go, and versions of the log that nobody needs. A writer waits for
none of this but the commits, which take milliseconds. Cut off at any point, it leaves every row as it was.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from bars.locks import held, upkeep_lock
from bars.recovery.identity import check_identity
from bars.tables import BARS, REJECTED, TRADES, Table
from bars.upkeep import deltalog, rewrite
from bars.upkeep.deltalog import File
from bars.upkeep.reading import NOTHING, first_needed
from market.settings import Settings

FULL = 128 * 2**20
"""Bytes of a file that is left as it is."""
FEW = 8
"""Files of about one size in a day that are made one, so that a row is rewritten once for each of four sizes."""
QUIET_MS = 86_400_000
"""A day is closed when nothing was written to it for so long."""
REPORT = "upkeep.json"
OPTIONS = (
    *("kafka_bootstrap", "output_dir", "checkpoint_dir"),
    *("upkeep_keep", "fold_after_days", "archive_days"),
)


@dataclass
class Did:
    """What a pass has done to a table; under --dry-run, what it would do, the sizes as they are."""

    table: str
    files_before: int = 0
    files_after: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    compacted: int = 0
    """Files that became few, and below, those that they became."""
    compacted_to: int = 0
    folded_days: int = 0
    folded_rows: int = 0
    deleted_days: int = 0
    deleted_files: int = 0
    """Files that do not count, removed from disk, with their checksums; below, their bytes."""
    freed_bytes: int = 0
    log_files_deleted: int = 0
    waits_for_amend: int = 0
    """Files of the archive left alone, because the query amend has not read them yet."""


def upkeep(settings: Settings, *, now_ms: int, dry_run: bool = False) -> list[Did]:
    """One pass.

    Raises `LockError` where another one is under way, or a writer holds a table without end, and `PairingError` where
    the checkpoint is not that of the tables: it says what the query amend has still to read.
    """
    tables = settings.tables
    check_identity(settings)
    with held(upkeep_lock(tables), patience_s=0):
        did = [
            _of_table(settings, table, now_ms, dry_run)
            for table in (BARS, TRADES, REJECTED)
            if (table.path(settings) / "_delta_log").is_dir()
        ]
        if not dry_run and did:
            partial = tables / f"{REPORT}.partial"
            partial.write_text(json.dumps(document_of(did, now_ms), indent=2) + "\n")
            partial.replace(tables / REPORT)
    return did


def _of_table(settings: Settings, table: Table, now_ms: int, dry_run: bool) -> Did:
    path, did = table.path(settings), Did(table.name)
    needed = first_needed(settings) if table is TRADES else None
    before = deltalog.settled(path)
    did.files_before, did.bytes_before = len(before), sum(file.size for file in before.values())
    free = before
    if needed is not None:
        read = deltalog.live(path, needed - 1) if needed > NOTHING else {}
        free = {name: file for name, file in before.items() if name in read}
        did.waits_for_amend = len(before) - len(free)
    days = _by_day(free.values())
    if table is not BARS and settings.archive_days:
        _retain(path, days, _by_day(before.values()), settings.archive_days, now_ms, did, dry_run)
    for day, files in sorted(days.items()):
        if table is BARS and is_closed(day, files, settings.fold_after_days, now_ms):
            _fold(path, files, did, dry_run)
        else:
            for some in bins(files, is_over=_is_over(day, files, now_ms)):
                _rewrite(path, "OPTIMIZE", some, rewrite.merged, did, dry_run)
    before_ms = now_ms - settings.upkeep_keep
    if needed is None or needed > NOTHING:
        _clear(path, before_ms, needed, did, dry_run)
    after = deltalog.settled(path)
    did.files_after, did.bytes_after = len(after), sum(file.size for file in after.values())
    return did


def _by_day(files: Iterable[File]) -> dict[date, list[File]]:
    days = defaultdict(list)
    for file in files:
        if file.day is not None:
            days[file.day].append(file)
    return {day: sorted(some, key=lambda file: (file.written_ms, file.path)) for day, some in days.items()}


def _newest_ms(files: Sequence[File]) -> int:
    return max(file.written_ms for file in files)


def _is_before(day: date, now_ms: int, days: int) -> bool:
    return day < datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=days)


def _is_over(day: date, files: Sequence[File], now_ms: int) -> bool:
    """Whether the day has passed, and little more is to be expected for it."""
    return _is_before(day, now_ms, 0) and _newest_ms(files) < now_ms - QUIET_MS


def is_closed(day: date, files: Sequence[File], fold_after_days: int, now_ms: int) -> bool:
    """Whether a day of bars is closed for good, and not folded as it is."""
    return (
        fold_after_days > 0
        and _is_before(day, now_ms, fold_after_days)
        and _newest_ms(files) < now_ms - QUIET_MS
        and not all(Path(file.path).name.startswith(rewrite.FOLDED) for file in files)
    )


def bins(files: Sequence[File], *, is_over: bool) -> list[list[File]]:
    """Which files of a day become one: those of about one size (a power of eight) if there are `FEW`; of a day
    that is over, all that are not full. None gets much larger than `FULL`."""
    sizes: dict[int, list[File]] = defaultdict(list)
    for file in files:
        if file.size < FULL:
            sizes[0 if is_over else max(file.size >> 16, 0).bit_length() // 3].append(file)
    few = 2 if is_over else FEW
    return [some for group in sizes.values() if len(group) >= few for some in _cut(group) if len(some) > 1]


def _cut(files: Sequence[File]) -> list[list[File]]:
    """The files in runs of at least `FULL` bytes, but for the last."""
    cut: list[list[File]] = [[]]
    for file in files:
        if sum(one.size for one in cut[-1]) >= FULL:
            cut.append([])
        cut[-1].append(file)
    return cut


def _rewrite(
    path: Path, operation: str, files: Sequence[File], make: Callable[..., Any], did: Did, dry_run: bool
) -> None:
    rows = 0
    if not dry_run:
        made, rows = make(path, files)
        if deltalog.rearrange(path, operation, files, [made]) is None:
            return  # what was made does not count, and the next pass but few removes it
    did.compacted += len(files)
    did.compacted_to += 1
    did.folded_rows += rows


def _fold(path: Path, files: Sequence[File], did: Did, dry_run: bool) -> None:
    _rewrite(path, "FOLD", files, rewrite.folded, did, dry_run)
    did.folded_days += 1
    if dry_run:
        did.folded_rows += rewrite.superseded(path, files)


def _retain(
    path: Path,
    days: dict[date, list[File]],
    whole: Mapping[date, list[File]],
    kept: int,
    now_ms: int,
    did: Did,
    dry_run: bool,
) -> None:
    """Takes the days out of `days` that are older than it is set, by their date and by when they were written.

    `whole` has all files of each day: one that amend has not read to its end stays.
    """
    old = [
        day
        for day, files in days.items()
        if len(files) == len(whole[day])
        and _is_before(day, now_ms, kept)
        and _newest_ms(files) < now_ms - kept * 86_400_000
    ]
    gone = [file for day in old for file in days.pop(day)]
    if gone and (dry_run or deltalog.delete(path, gone) is not None):
        did.deleted_days += len(old)


def _clear(path: Path, before_ms: int, needed: int | None, did: Did, dry_run: bool) -> None:
    strays = deltalog.strays(path, before_ms=before_ms)
    versions = deltalog.old_versions(path, before_ms=before_ms, needed=needed)
    if dry_run:
        did.deleted_files, did.freed_bytes = len(strays), sum(file.stat().st_size for file in strays)
        did.log_files_deleted = len(versions)
        return
    did.deleted_files, did.freed_bytes = deltalog.remove(strays)
    did.log_files_deleted, _ = deltalog.remove(versions)


def document_of(did: Sequence[Did], now_ms: int) -> dict[str, Any]:
    """What was done, for a machine."""
    time_ = datetime.fromtimestamp(now_ms / 1000, UTC).isoformat(timespec="seconds")
    return {"time": time_, "tables": [asdict(one) for one in did]}


def text(did: Sequence[Did], *, dry_run: bool) -> str:
    """What was done, for a person."""
    lines = []
    for one in did:
        lines.append(
            f"{one.table}: {one.files_before:,} files of {one.bytes_before / 2**20:,.1f} MiB"
            + ("" if dry_run else f", now {one.files_after:,} of {one.bytes_after / 2**20:,.1f} MiB")
        )
        would = "would be " if dry_run else ""
        parts = (
            (one.compacted, f"{one.compacted:,} files {would}made {one.compacted_to:,}"),
            (one.folded_days, f"{one.folded_days:,} days {would}folded, {one.folded_rows:,} superseded rows less"),
            (one.deleted_days, f"{one.deleted_days:,} days {would}deleted (ARCHIVE_DAYS)"),
            (one.deleted_files, f"{one.deleted_files:,} stale files {would}removed, {one.freed_bytes:,} bytes"),
            (one.log_files_deleted, f"{one.log_files_deleted:,} files of the log {would}removed"),
            (one.waits_for_amend, f"{one.waits_for_amend:,} files left alone until the query amend has read them"),
        )
        lines += [f"  {line}" for number, line in parts if number]
    return "\n".join(lines) or "there is no Delta table"
