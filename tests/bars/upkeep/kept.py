"""Tables that a plain Delta writer makes, and passes of upkeep over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from bars.recovery.identity import checkpoint_of
from bars.tables import BARS, TRADES, Table
from bars.upkeep import passes as upkeep
from bars.upkeep.passes import Did
from market.bar import bars_of
from market.settings import Settings
from market.trade import Trade
from tests.bars.scene import schema_of

DAY_MS = 86_400_000
START_MS = 1_723_161_600_000
"""2024-08-09, 00:00."""
DAY = date(2024, 8, 9)
LONG_AFTER_MS = START_MS + 30 * DAY_MS


@dataclass
class Kept:
    """Tables, and a pass at a time."""

    settings: Settings

    def path(self, table: Table = BARS) -> Path:
        return table.path(self.settings)

    def barred(self, trades: Sequence[Trade], *, revision: int = 0, written_ms: int = START_MS) -> None:
        """Appends the bars of trades in a file of their own."""
        rows = [asdict(bar) | {"revision": revision, "timestamp": moment(bar.timestamp)} for bar in bars_of(trades)]
        self._append(BARS, rows, written_ms)

    def archived(self, number: int, *, written_ms: int = START_MS) -> None:
        """Appends a row of the archive."""
        row = trade(number)._asdict() | {"price": 1, "quantity": 1, "timestamp": moment(START_MS), "topic": "t"}
        self._append(TRADES, [row | {"partition": 0, "offset": number, "index": 0, "kafka_time": None}], written_ms)

    def _append(self, table: Table, rows: list[dict[str, Any]], written_ms: int) -> None:
        """The time of writing is put back in the log, as if it had been then."""
        dated = [row | {"date": row["timestamp"].date()} for row in rows]
        path = self.path(table)
        write_deltalake(path, pa.Table.from_pylist(dated, schema_of(table)), mode="append")
        version = DeltaTable(path).version()
        entry = path / "_delta_log" / f"{version:020}.json"
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "add" in action:
                action["add"]["modificationTime"] = written_ms
        entry.write_text("".join(json.dumps(action) + "\n" for action in actions))

    def amend_reads(self, *versions: int) -> None:
        """Notes batches of the query amend that end at these versions."""
        offsets = checkpoint_of(self.settings, "amend") / "offsets"
        offsets.mkdir(parents=True, exist_ok=True)
        for number, version in enumerate(versions):
            ends = {"reservoirVersion": version, "index": -1, "isStartingVersion": False}
            planned = {"batchWatermarkMs": 0, "conf": {}}
            (offsets / str(number)).write_text(f"v1\n{json.dumps(planned)}\n{json.dumps(ends)}")

    def keep(self, now_ms: int = START_MS, *, dry_run: bool = False, **changed: int) -> dict[str, Did]:
        """A pass over the tables; what it has done to each."""
        settings = replace(self.settings, **changed)  # type: ignore[arg-type]
        return {did.table: did for did in upkeep.upkeep(settings, now_ms=now_ms, dry_run=dry_run)}

    def rows(self, table: Table = BARS) -> list[dict[str, Any]]:
        return list(DeltaTable(self.path(table)).to_pyarrow_table().to_pylist())

    def on_disk(self, table: Table = BARS) -> int:
        return len([*self.path(table).glob("date=*/*.parquet")])


def moment(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def trade(number: int, second: int = 0) -> Trade:
    return Trade("binance", "BTCUSDT", f"{100 + number}.5", "0.5", START_MS + 1_000 * second, number, False)
