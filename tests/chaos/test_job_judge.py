"""The judge of the job's chaos: silent on what is right, and told of every way to lose, double or alter."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as compute
import pytest

from chaos.job.judge import Verdict, as_archived, judge_archive, judge_bars, judge_rejected
from chaos.job.load import HORIZON_MS
from chaos.job.oracle import ARCHIVED, Oracle, OracleError, Position, Refused
from market.bar import Bar, bars_of
from market.trade import CONFLICT, Reason, Trade, batch_record_of, record_of

START_MS = 1_723_161_600_000
TRADES = [
    Trade(
        "binance",
        "BTCUSDT",
        f"{100 + number}.25",
        f"0.{number + 1:08}",
        START_MS + 400 * number,
        number,
        number % 2 > 0,
    )
    for number in range(10)
]
KEY = ("binance", "BTCUSDT", START_MS)


def read(*values: bytes | None) -> Oracle:
    """The oracle, after these records."""
    oracle = Oracle(2, tolerance_ms=2_000, horizon_ms=HORIZON_MS)
    for offset, value in enumerate(values):
        oracle.take(offset, START_MS + 60_000, value)
    return oracle


@pytest.fixture
def rows() -> pa.Table:
    """The archive of ten trades, two of them in one record."""
    return read(batch_record_of(TRADES[:2]), *map(record_of, TRADES[2:])).finish()


def bars() -> dict[tuple[str, str, int], Bar]:
    """The bars of ten trades."""
    return {(bar.exchange, bar.symbol, bar.timestamp): bar for bar in bars_of(TRADES)}


def found(verdict: Verdict) -> dict[str, int]:
    """What a verdict says is wrong, and how often."""
    kinds = ("_doubled", "_lost", "_too_many", "_wrong", "_missing")
    return {name: count for name, count in verdict.figures.items() if count and name.endswith(kinds)}


def test_the_oracle_reads_every_element() -> None:
    """Trades, copies, conflicts, heartbeats and what is invalid, each with its position; the first copy counts."""
    other = TRADES[3]._replace(price="9.5")
    again = TRADES[3]._replace(price="103.250")
    beat = b'{"exchange":"binance","heartbeat":%d}' % (START_MS + 9_000)
    oracle = read(
        batch_record_of(TRADES[:4]), record_of(other), record_of(again), b"", beat, *map(record_of, TRADES[4:])
    )
    table = oracle.finish()
    assert oracle.bars == bars()
    assert oracle.conflicts == {(2, 1, 0): ("binance", "BTCUSDT", START_MS + 1_000)}
    assert oracle.rejected == {(2, 3, 0): Refused(Reason.NO_VALUE, b"")}
    assert (oracle.records, oracle.elements, oracle.trades, oracle.heartbeats) == (11, 12, 10, 1)
    assert table.schema == ARCHIVED
    assert table.num_rows == 12
    assert table.slice(3, 1).to_pylist() == [
        {
            "offset": 0,
            "index": 3,
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "timestamp": START_MS + 1_200,
            "trade_id": 3,
            "price": Decimal("103.25000000"),
            "quantity": Decimal("0.00000004"),
            "is_buyer_maker": True,
        }
    ]


def test_seconds_are_made_into_bars_as_the_reading_goes_on() -> None:
    """A trade that comes a little late is in its bar; one later than any load makes it voids the judgement."""

    def beat(seconds: int) -> bytes:
        return b'{"exchange":"binance","heartbeat":%d}' % (START_MS + 1_000 * seconds)

    oracle = Oracle(0, tolerance_ms=2_000, horizon_ms=60_000)
    times = [(beat(30), 30), (record_of(TRADES[0]), 31), (beat(61), 61), (beat(62), 62)]
    for offset, (value, seconds) in enumerate(times):
        oracle.take(offset, START_MS + 1_000 * seconds, value)
    assert oracle.bars == {KEY: bars_of(TRADES[:1])[0]}
    with pytest.raises(OracleError, match="comes later than any load makes it"):
        oracle.take(4, START_MS + 62_000, record_of(TRADES[1]))


def test_bars_that_are_right() -> None:
    """Bars as expected, an amended one among them with its earlier revision, and one that only an amendment made."""
    expected = bars()
    first, second, *rest = expected.values()
    rows = [replace(first, close=Decimal(1)), replace(first, revision=1), replace(second, revision=1), *rest]
    verdict = judge_bars(rows, expected)
    assert verdict.failures == []
    assert verdict.figures | {"bars": 4, "bar_rows": 5, "bars_amended": 2} == verdict.figures


def test_every_wrong_bar_is_found() -> None:
    """Lost, doubled, too many, altered in any column, or with a revision missing: each is counted and told."""
    expected = bars()
    first, *rest = expected.values()
    assert found(judge_bars(rest, expected)) == {"bars_lost": 1}
    assert found(judge_bars([first, first, *rest], expected)) == {"bars_doubled": 1}
    stranger = replace(first, symbol="ETHUSDT")
    assert found(judge_bars([first, *rest, stranger], expected)) == {"bars_too_many": 1}
    gone = [first, replace(first, revision=2), *rest]
    assert found(judge_bars(gone, expected)) == {"bars_with_a_revision_missing": 1}
    for name in Bar.__dataclass_fields__:
        if name in ("exchange", "symbol", "timestamp", "revision"):
            continue
        altered = replace(first, **{name: getattr(first, name) + 1})
        verdict = judge_bars([altered, *rest], expected)
        assert found(verdict) == {"bars_wrong": 1}
        assert verdict.failures == [f"1 bars wrong: {altered} should be {first}"]


def test_an_amendment_that_spoils_a_bar_is_found() -> None:
    """The newest revision counts, not the right one below it."""
    first, *rest = bars().values()
    rows = [first, *rest, replace(first, trade_count=1, revision=1)]
    assert found(judge_bars(rows, bars())) == {"bars_wrong": 1}


def test_an_archive_that_is_right(rows: pa.Table) -> None:
    """The order of its rows does not matter."""
    turned = rows.take(list(range(rows.num_rows))[::-1])
    verdict = judge_archive(2, turned, rows)
    assert verdict.failures == []
    assert found(verdict) == {}


def test_every_wrong_row_is_found(rows: pa.Table) -> None:
    """Lost, doubled, too many, or altered in any column."""
    lost = judge_archive(2, rows.slice(1), rows)
    assert found(lost) == {"rows_lost": 1}
    assert lost.failures == ["1 rows lost: (2, 0, 0)"]
    assert found(judge_archive(2, pa.concat_tables([rows, rows.slice(3, 1)]), rows)) == {"rows_doubled": 1}
    assert found(judge_archive(2, rows, rows.slice(1))) == {"rows_too_many": 1}
    for number, name in enumerate(rows.column_names):
        column = rows[name].combine_chunks()
        other = pa.concat_arrays([_altered(column[0]), column.slice(1)])
        verdict = judge_archive(2, rows.set_column(number, rows.schema.field(name), other), rows)
        is_place = name in ("offset", "index")
        assert found(verdict).keys() == ({"rows_lost", "rows_too_many"} if is_place else {"rows_wrong"}), name


def _altered(value: pa.Scalar) -> pa.Array:
    """An array of one value that is another one."""
    content = value.as_py()
    other = not content if isinstance(content, bool) else content + ("X" if isinstance(content, str) else 77)
    return pa.array([other], value.type)


def test_times_of_a_delta_reader_become_milliseconds(rows: pa.Table) -> None:
    """Timestamps in microseconds and UTC, as deltalake gives them."""
    micros = compute.multiply(rows["timestamp"], 1000).cast(pa.timestamp("us", "UTC"))
    number = rows.schema.get_field_index("timestamp")
    assert as_archived(rows.set_column(number, "timestamp", micros)).cast(ARCHIVED) == rows


EXPECTED: dict[Position, Refused] = {
    (0, 5, 0): Refused(Reason.EMPTY, b"[]"),
    (0, 7, 1): Refused(Reason.PRICE, b"[{},{}]"),
}
CONFLICTS = {(0, 9, 0): KEY}
TOLD: list[tuple[Position, Refused]] = [*EXPECTED.items(), ((0, 9, 0), Refused(CONFLICT, None))]


def test_rejects_that_are_right() -> None:
    """Each once, with its reason and bytes; conflicts too."""
    assert found(judge_rejected(TOLD, EXPECTED, CONFLICTS)) == {}


def test_every_wrong_reject_is_found() -> None:
    """Lost, doubled, too many, of another reason or other bytes; conflicts too."""

    def verdict(told: list[tuple[Position, Refused]]) -> dict[str, int]:
        return found(judge_rejected(told, EXPECTED, CONFLICTS))

    assert verdict(TOLD[1:]) == {"rejected_lost": 1}
    assert verdict([*TOLD, TOLD[0]]) == {"rejected_doubled": 1}
    assert verdict([*TOLD, TOLD[2]]) == {"rejected_doubled": 1}
    assert verdict([*TOLD, ((0, 6, 0), TOLD[0][1])]) == {"rejected_too_many": 1}
    assert verdict([(TOLD[0][0], Refused("another", b"[]")), *TOLD[1:]]) == {"rejected_wrong": 1}
    assert verdict([(TOLD[0][0], Refused(Reason.EMPTY, None)), *TOLD[1:]]) == {"rejected_wrong": 1}
    assert verdict(TOLD[:2]) == {"conflicts_lost": 1}
    assert verdict([*TOLD, ((0, 5, 0), Refused(CONFLICT, None))]) == {"rejected_wrong": 1}
