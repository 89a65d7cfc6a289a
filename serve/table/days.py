"""Minutes and hours of days that are over, made once and kept on disk: for requests that reach far back.

A folder for each table, by its id, and in it two files a day, for all symbols: minutes, a group of rows for each
symbol, and hours. They are a cache: whatever is missing, damaged, or made of other data files than count now, is made
anew, and nobody else reads them. Blocks; what cannot be written is told (`OSError`) and is no reason to answer less.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from market.widths import HOUR_MS
from serve.table import rows
from serve.table.log import File

log = logging.getLogger(__name__)

TABLES = 4
"""Tables whose days are kept; those of the tables longest unused go."""
LEFT_S = 3_600.0
"""A file that nobody has written to for so long is nobody's: a day takes seconds."""
_OF = b"live-bars.of"
_KEYS = b"live-bars.keys"
_FOLDER = re.compile("table-[0-9a-f]{32}")
_FILE = re.compile(r"[0-9]+\.(?:minutes|hours)\.parquet(?:\.[0-9a-f]{32}\.partial)?")
_UNREADABLE = (OSError, pa.ArrowException, ValueError, KeyError)


class Days:
    """The days of one table."""

    def __init__(self, folder: Path, table_id: str) -> None:
        self._folder = folder / f"table-{hashlib.sha256(table_id.encode()).hexdigest()[:32]}"

    def tidy(self) -> None:
        """Removes the days of tables that were not used for long, and what a crash has left long ago: what is younger
        another service may be writing."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.touch()
        known = sorted(self._folder.parent.iterdir(), key=lambda one: one.stat().st_mtime_ns, reverse=True)
        for other in [one for one in known if one.is_dir() and _FOLDER.fullmatch(one.name)][TABLES:]:
            for file in other.iterdir():
                if _FILE.fullmatch(file.name):  # nothing else, whatever folder somebody has set
                    file.unlink(missing_ok=True)
            with suppress(OSError):
                other.rmdir()
        for left in self._folder.glob("*.partial"):
            with suppress(FileNotFoundError):  # it may be done with meanwhile
                if left.stat().st_mtime < time.time() - LEFT_S:
                    left.unlink()

    def hours(self, day_ms: int, files: Iterable[File]) -> pa.Table | None:
        """The hours of a day, of all symbols; None where they are not kept, or not of these files."""
        try:
            with pq.ParquetFile(self._path(day_ms, "hours"), page_checksum_verification=True) as opened:
                if (opened.schema_arrow.metadata or {}).get(_OF) != made_of(files):
                    return None
                return opened.read(use_threads=False).select(rows.WIDER.names).cast(rows.WIDER)
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            log.warning("the hours of a day, kept in %s, are made anew: %s", self._folder, error)
            return None

    def minutes(self, day_ms: int, files: Iterable[File], exchange: str, symbol: str) -> pa.Table | None:
        """The minutes of a day, of one symbol; None where they are not kept, or not of these files."""
        try:
            with pq.ParquetFile(self._path(day_ms, "minutes"), page_checksum_verification=True) as opened:
                known = opened.schema_arrow.metadata or {}
                if known.get(_OF) != made_of(files):
                    return None
                keys = json.loads(known[_KEYS])
                if [exchange, symbol] not in keys:
                    return rows.WIDER.empty_table()
                found = opened.read_row_group(keys.index([exchange, symbol]), use_threads=False)
                return found.select(rows.WIDER.names).cast(rows.WIDER)
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            log.warning("the minutes of a day, kept in %s, are made anew: %s", self._folder, error)
            return None

    def store(self, day_ms: int, files: Iterable[File], minutes: pa.Table, hours: pa.Table) -> None:
        """Keeps a day. Its hours come last: while they are not there, the day is not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        of = made_of(files)
        keys = sorted(rows.keys_in(minutes))
        parts = [rows.of_key(minutes, *key) for key in keys]
        self._path(day_ms, "hours").unlink(missing_ok=True)
        self._write(day_ms, "minutes", parts, {_OF: of, _KEYS: json.dumps(keys).encode()})
        self._write(day_ms, "hours", [hours], {_OF: of})

    def forget(self, day_ms: int) -> None:
        """Removes a day."""
        for kind in ("hours", "minutes"):
            self._path(day_ms, kind).unlink(missing_ok=True)

    def _path(self, day_ms: int, kind: str) -> Path:
        return self._folder / f"{day_ms}.{kind}.parquet"

    def _write(self, day_ms: int, kind: str, parts: Iterable[pa.Table], metadata: dict[bytes, bytes]) -> None:
        path = self._path(day_ms, kind)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        schema = rows.WIDER.with_metadata(metadata)
        try:
            with pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True) as writer:
                for part in parts:
                    writer.write_table(part.cast(schema), row_group_size=max(part.num_rows, 1))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def made_of(files: Iterable[File]) -> bytes:
    """What tells these files from any others. A file never changes, and its name is never used again."""
    return hashlib.sha256("\n".join(sorted(file.path for file in files)).encode()).hexdigest().encode()


def hours_of(minutes: pa.Table) -> pa.Table:
    """The hours of minutes, which are sorted by exchange, symbol and time."""
    return rows.rolled(minutes, HOUR_MS)
