"""Appends of the driver: each transaction once, whoever else appends, and readable by everybody."""

from __future__ import annotations

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from deltalake import DeltaTable

from bars import append as module
from bars.append import append
from bars.follow import DeltaFollower
from bars.locks import commit_lock, held
from bars.tables import BARS, create_tables
from market import settings
from tests.bars.scene import schema_of

SCHEMA = schema_of(BARS)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """An empty `bars_1s`."""
    own = settings.load({}, None, {"output_dir": str(tmp_path)})
    create_tables(own)
    return BARS.path(own)


def rows(*symbols: str, schema: pa.Schema = SCHEMA) -> pa.Table:
    """A row for each symbol, all else empty."""
    return pa.Table.from_pylist([{"symbol": symbol} for symbol in symbols], schema=schema)


def symbols(table: Path) -> list[str]:
    """The symbols of all rows of a table."""
    return sorted(DeltaTable(table).to_pyarrow_table()["symbol"].to_pylist())


def test_a_transaction_is_appended_once(table: Path) -> None:
    """The same version again, or an earlier one, adds nothing; that of another writer does."""
    assert append(rows("A"), table, app_id="bars", version=3)
    assert not append(rows("B"), table, app_id="bars", version=3)
    assert not append(rows("C"), table, app_id="bars", version=2)
    assert append(rows("D"), table, app_id="amend", version=0)
    assert append(rows("E"), table, app_id="bars", version=7)
    assert symbols(table) == ["A", "D", "E"]
    assert not append(rows("F"), table, app_id="amend", version=0)


def test_a_transaction_is_known_when_its_entry_of_the_log_has_gone(table: Path) -> None:
    """The table's checkpoint keeps it, so that upkeep may clear the log."""
    append(rows("A"), table, app_id="bars", version=0)
    for version in range(99):  # delta.checkpointInterval is 100
        append(rows("B"), table, app_id="others", version=version)
    log = table / "_delta_log"
    (checkpoint,) = log.glob("*.checkpoint.parquet")
    for entry in range(int(checkpoint.name.split(".")[0]) + 1):
        (log / f"{entry:020}.json").unlink()
    assert not append(rows("C"), table, app_id="bars", version=0)
    assert DeltaTable(table).to_pyarrow_table().num_rows == 100


def test_who_appends_waits_for_the_lock(table: Path) -> None:
    """Nobody looks for a transaction, or commits one, while another commits."""
    done = threading.Event()

    def other() -> None:
        append(rows("A"), table, app_id="bars", version=0)
        done.set()

    with held(commit_lock(table)):
        thread = threading.Thread(target=other)
        thread.start()
        assert not done.wait(0.2)
        assert symbols(table) == []
    thread.join()
    assert symbols(table) == ["A"]


def test_a_transaction_that_slips_in_beside_the_lock_is_not_doubled(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """delta-rs refuses the second of two commits of one `app_id` that began at the same version."""
    write = module.write_deltalake  # type: ignore[attr-defined]

    def beside(there: DeltaTable, *args: object, **options: object) -> None:
        write(DeltaTable(table), *args, **options)
        write(there, *args, **options)

    monkeypatch.setattr(module, "write_deltalake", beside)
    with pytest.raises(Exception, match="Concurrent transaction"):
        append(rows("A"), table, app_id="bars", version=0)
    assert symbols(table) == ["A"]


def test_rows_are_written_as_the_table_says(table: Path) -> None:
    """Whatever their order of columns, and though Spark calls a column that it never saw empty `not null`."""
    names = [*SCHEMA.names[::-1]]
    strict = pa.schema([SCHEMA.field(name).with_nullable(name != "symbol") for name in names])
    append(rows("A", schema=strict), table, app_id="bars", version=0)
    (file,) = table.glob("date=*/*.parquet")
    assert pa.parquet.read_schema(file).names == [name for name in SCHEMA.names if name != "date"]
    assert all(field.nullable for field in pa.parquet.read_schema(file))


def test_a_write_cut_off_is_passed_over(table: Path) -> None:
    """delta-rs leaves `<version>.json#1` behind where it is killed: neither a reader nor the next append minds."""
    append(rows("A"), table, app_id="bars", version=0)
    (table / "_delta_log" / f"{2:020}.json#1").write_text("{")
    follower = DeltaFollower(table)
    assert append(rows("B"), table, app_id="bars", version=1)
    assert [row["symbol"] for row in follower.rows()] == ["B"]
    assert symbols(table) == ["A", "B"]
