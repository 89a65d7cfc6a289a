"""Starting over: the old tables and checkpoints are moved aside, and the topic is read from its oldest record again.

Nothing is deleted. What the topic no longer holds is in the old archive alone, and how much that is, is said first.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.compute as compute
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from bars import locks
from bars.locks import LockError, amend_lock, commit_lock, upkeep_lock
from bars.recovery.identity import IDENTITY, PairingError, checkpoint_of
from bars.tables import TABLES, TRADES
from bars.topic import Holding, SourceError, holding_of, oldest_ms
from market.settings import QUERIES, Settings

PATIENCE_S = 60
"""How long one who writes to a table is waited for: an audit that amends, the upkeep."""


@dataclass(frozen=True)
class Archived:
    """Trades of the old archive that the topic does not hold any more."""

    trades: int
    of: int
    """All rows of the archive."""
    since: datetime | None = None
    until: datetime | None = None


def rebuild(settings: Settings, topic_id: str, say: Callable[[str], None]) -> None:
    """Says what starting over costs, and moves the old aside. The caller holds the checkpoint (`pairing.locked`).

    Raises `PairingError` where an audit or the upkeep is writing to a table, and does not end.
    """
    moves = _moves(settings)
    if not moves:
        say(f"--rebuild: nothing to move aside, neither in {settings.tables} nor in {_checkpoints(settings)}")
        return
    for line in cost(settings, topic_id):
        say(line)
    with _unused(settings, [source for source, _ in moves]):
        # The tables first: cut off in between, the next start is refused for the tables that are gone.
        for source, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)
    for folder in sorted({target.parent for _, target in moves}):
        say(f"--rebuild: the old is kept in {folder}")


def cost(settings: Settings, topic_id: str) -> list[str]:
    """What starting over costs, in lines for a person: what is read again, and what only the old archive has."""
    try:
        holding, oldest = holding_of(settings), oldest_ms(settings)
    except SourceError as error:
        raise PairingError(str(error)) from error
    records = sum(range_.end - range_.start for range_ in holding.values())
    since = "" if oldest is None else f", the oldest of {_utc(datetime.fromtimestamp(oldest / 1000, UTC))}"
    lines = [
        f"--rebuild: topic {settings.kafka_topic} at {settings.bootstrap} holds {records:,} records in "
        f"{len(holding)} partitions{since}; all of them are read again"
    ]
    path = TRADES.path(settings)
    if not (path / "_delta_log").is_dir():
        return [*lines, "--rebuild: there is no archive; bars of trades that are not in the topic will not come again"]
    try:
        lost = _only_archived(settings, path, {} if _is_another(settings, topic_id) else holding)
    except (DeltaError, OSError, ValueError) as error:
        return [
            *lines,
            f"--rebuild: the archive {path} cannot be read, so what it alone has is unknown: {error!s:.300}",
        ]
    if not lost.trades:
        return [*lines, f"--rebuild: all {lost.of:,} rows of the archive are still in the topic; nothing is lost"]
    return [
        *lines,
        f"--rebuild: {lost.trades:,} of the {lost.of:,} rows of the archive are not in the topic any more (trades from "
        f"{_utc(lost.since)} to {_utc(lost.until)}): they and their bars will be in the old tables alone",
    ]


@contextmanager
def _unused(settings: Settings, moved: Sequence[Path]) -> Iterator[None]:
    """Keeps others from writing to the tables."""
    tables = [table.path(settings) for tables in TABLES.values() for table in tables]
    used = [lock for table in tables if table in moved for lock in (amend_lock(table), commit_lock(table))]
    with ExitStack() as stack:
        try:
            for lock in (upkeep_lock(settings.tables), *used):
                stack.enter_context(locks.held(lock, patience_s=PATIENCE_S))
        except LockError as error:
            raise PairingError(
                f"--rebuild: a table is being written to: {error}. Let that end, then start again"
            ) from error
        yield


def _moves(settings: Settings) -> list[tuple[Path, Path]]:
    """What there is of old tables and checkpoints, and where it goes: within the same folders, under one stamp."""
    aside = time.strftime("old-%Y%m%d-%H%M%S", time.gmtime())
    tables = {table.name for tables in TABLES.values() for table in tables}
    groups = (
        (settings.tables, (*sorted(tables), IDENTITY)),
        (_checkpoints(settings), (*QUERIES, IDENTITY)),
    )
    return [
        (folder / name, folder / aside / name) for folder, names in groups for name in names if (folder / name).exists()
    ]


def _only_archived(settings: Settings, path: Path, holding: Holding) -> Archived:
    """The archive's rows whose record is not in the topic; an empty `holding` says that none is."""
    rows = DeltaTable(path).to_pyarrow_dataset()
    there: Any = compute.scalar(False)
    for partition, range_ in holding.items():
        there |= (compute.field("partition") == partition) & (compute.field("offset") >= range_.start)
    gone = ~((compute.field("topic") == settings.kafka_topic) & there)
    number, since, until = 0, None, None
    for batch in rows.scanner(columns=["timestamp"], filter=gone).to_batches():
        if batch.num_rows:
            bounds = compute.min_max(batch["timestamp"]).as_py()
            number += batch.num_rows
            since = min(since or bounds["min"], bounds["min"])
            until = max(until or bounds["max"], bounds["max"])
    return Archived(number, rows.count_rows(), since, until)


def _is_another(settings: Settings, topic_id: str) -> bool:
    """Whether the archive is of another topic than the one that now bears the name."""
    for folder in (_checkpoints(settings), settings.tables):
        try:
            identity: Mapping[str, str] = json.loads((folder / IDENTITY).read_text())
        except (FileNotFoundError, ValueError):
            continue
        return identity.get("topic_id") != topic_id
    return True


def _checkpoints(settings: Settings) -> Path:
    return checkpoint_of(settings, "bars").parent


def _utc(time_: datetime | None) -> str:
    return f"{time_:%Y-%m-%d %H:%M:%S} UTC" if time_ else "unknown"
