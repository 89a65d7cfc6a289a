"""Rows of bars as Arrow tables: what is current of them, what wider bars they make, and the bars that they are.

`current` and `rolled` say of many rows at once, without the interpreter's lock, what `market.bar` says of bars;
`tests/serve/table/test_rows.py` holds them to it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from market.bar import Bar, vwap_of

PRICE = pa.decimal128(18, 8)
AMOUNT = pa.decimal128(38, 8)
KEY = ("exchange", "symbol", "timestamp")
WIDER = pa.schema(
    [
        ("exchange", pa.string()),
        ("symbol", pa.string()),
        ("timestamp", pa.int64()),  # ms since the epoch
        ("open", PRICE),
        ("high", PRICE),
        ("low", PRICE),
        ("close", PRICE),
        ("volume", AMOUNT),
        ("quote_volume", AMOUNT),
        ("trade_count", pa.int64()),
        ("taker_buy_volume", AMOUNT),
        ("taker_buy_quote_volume", AMOUNT),
        ("first_trade_id", pa.int64()),
        ("last_trade_id", pa.int64()),
        ("revision", pa.int32()),
    ]
)
"""Rows that others can be made of: vwap and missing_trades follow from the rest."""
SECONDS = WIDER.append(pa.field("vwap", PRICE)).append(pa.field("missing_trades", pa.int64()))
"""Rows of the table, as they stand there."""
_MEASURES = {
    "high": "max",
    "low": "min",
    "volume": "sum",
    "quote_volume": "sum",
    "trade_count": "sum",
    "taker_buy_volume": "sum",
    "taker_buy_quote_volume": "sum",
    "first_trade_id": "min",
    "last_trade_id": "max",
    "revision": "max",
}
_PER_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}


def from_file(read: pa.Table) -> pa.Table:
    """Rows as a data file of the table has them, in the form of `SECONDS`."""
    time = read["timestamp"]
    whole = pc.divide(time.cast(pa.int64()), _PER_MS[time.type.unit])
    at = read.schema.get_field_index("timestamp")
    return read.set_column(at, "timestamp", whole).select(SECONDS.names).cast(SECONDS)


def current(rows: pa.Table) -> pa.Table:
    """The rows that count, sorted by exchange, symbol and time: of each of these, the one of the highest revision."""
    if not rows.num_rows:
        return rows
    order = [(name, "ascending") for name in KEY]
    ordered = rows.sort_by([*order, ("revision", "descending")])
    return ordered.take(pa.array(np.flatnonzero(_begins(ordered))))


def rolled(rows: pa.Table, width_ms: int) -> pa.Table:
    """The wider bars of rows that are current and sorted by exchange, symbol and time; sorted alike."""
    if not rows.num_rows:
        return WIDER.empty_table()
    times = rows["timestamp"].to_numpy()
    at = rows.schema.get_field_index("timestamp")
    rows = rows.set_column(at, "timestamp", pa.array(times - times % width_ms))
    starts = np.flatnonzero(_begins(rows))
    ends = np.append(starts[1:], rows.num_rows)
    group = pa.array(np.repeat(np.arange(len(starts)), ends - starts))
    grouped = rows.select(list(_MEASURES)).append_column("group", group).group_by("group", use_threads=False)
    # One measure for each column, so that it can be called as the column is.
    measured = grouped.aggregate(list(_MEASURES.items())).sort_by("group")
    columns = {name: measured[f"{name}_{measure}"] for name, measure in _MEASURES.items()}
    first, last = rows.take(pa.array(starts)), rows.select(["close"]).take(pa.array(ends - 1))
    columns |= {name: first[name] for name in (*KEY, "open")} | {"close": last["close"]}
    return pa.table({name: columns[name] for name in WIDER.names}).cast(WIDER)


def of_key(rows: pa.Table, exchange: str, symbol: str) -> pa.Table:
    """The rows of one symbol of one exchange."""
    return rows.filter(pc.and_(pc.equal(rows["exchange"], exchange), pc.equal(rows["symbol"], symbol)))


def between(rows: pa.Table, first_ms: int, end_ms: int) -> pa.Table:
    """The rows that begin in [first, end)."""
    time = rows["timestamp"]
    return rows.filter(pc.and_(pc.greater_equal(time, first_ms), pc.less(time, end_ms)))


def keys_in(rows: pa.Table) -> set[tuple[str, str]]:
    """Every exchange and symbol that has a row."""
    pairs = rows.select(["exchange", "symbol"]).group_by(["exchange", "symbol"], use_threads=False).aggregate([])
    return set(zip(pairs["exchange"].to_pylist(), pairs["symbol"].to_pylist(), strict=True))


def joined(parts: Sequence[pa.Table]) -> pa.Table:
    """Rows in the order of their parts, in the form of `WIDER`."""
    return pa.concat_tables([part.select(WIDER.names) for part in parts]) if parts else WIDER.empty_table()


def bars_in(rows: pa.Table) -> list[Bar]:
    """The bars that rows are. Of wider ones, vwap and missing trades are computed."""
    columns: dict[str, list[Any]] = {name: rows[name].to_pylist() for name in rows.column_names}
    if "vwap" not in columns:
        columns["vwap"] = [vwap_of(*pair) for pair in zip(columns["quote_volume"], columns["volume"], strict=True)]
        ids = zip(columns["first_trade_id"], columns["last_trade_id"], columns["trade_count"], strict=True)
        columns["missing_trades"] = [last - first + 1 - count for first, last, count in ids]
    for name in ("exchange", "symbol"):  # one text for all bars, which are many and stay
        columns[name] = [sys.intern(text) for text in columns[name]]
    ordered = [columns[name] for name in Bar.__slots__]
    return [_bar(*values) for values in zip(*ordered, strict=True)]


def rows_of(bars: Iterable[Bar]) -> pa.Table:
    """Bars as rows that wider ones can be made of."""
    some = list(bars)
    return pa.table({name: [getattr(bar, name) for bar in some] for name in WIDER.names}, schema=WIDER)


def _bar(
    exchange: str, symbol: str, timestamp: int, open_: Decimal, high: Decimal, low: Decimal, close: Decimal, *rest: Any
) -> Bar:
    """A bar whose equal prices are one object: they mostly are, and it is a third of a bar's size."""
    high = open_ if high == open_ else close if high == close else high
    low = open_ if low == open_ else close if low == close else low
    close = open_ if close == open_ else close
    return Bar(exchange, symbol, timestamp, open_, high, low, close, *rest)


def _begins(rows: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Where the exchange, the symbol or the time differs from those of the row before."""
    begins = np.zeros(rows.num_rows, dtype=np.bool_)
    begins[0] = True
    if rows.num_rows > 1:
        for name in KEY:
            column = rows[name]
            begins[1:] |= pc.not_equal(column.slice(1), column.slice(0, rows.num_rows - 1)).to_numpy()
    return begins
