"""Bars as JSON, CSV and Parquet: the same columns in each. Decimals are text in JSON, and never have an exponent."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from market.bar import Bar
from serve.marks import Marked
from serve.texts import plain

PRICES = ("open", "high", "low", "close", "vwap")
AMOUNTS = ("volume", "quote_volume", "taker_buy_volume", "taker_buy_quote_volume")
COUNTS = ("trade_count", "first_trade_id", "last_trade_id", "missing_trades", "revision")
COLUMNS = (
    *("exchange", "symbol", "timestamp", "open", "high", "low", "close", "volume", "quote_volume", "vwap"),
    *("trade_count", "taker_buy_volume", "taker_buy_quote_volume", "first_trade_id", "last_trade_id"),
    *("missing_trades", "revision", "missing_before", "filled"),
)
"""Those of the table, and two of each bar's surroundings."""
_UNKNOWN_IF_FILLED = ("vwap", "first_trade_id", "last_trade_id")
_KINDS = {
    "exchange": pa.string(),
    "symbol": pa.string(),
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "filled": pa.bool_(),
    "missing_before": pa.int64(),
    **dict.fromkeys(PRICES, pa.decimal128(18, 8)),
    **dict.fromkeys(AMOUNTS, pa.decimal128(38, 8)),
    **dict.fromkeys(COUNTS, pa.int64()),
}
_NOTHING_MISSING = b',"missing_before":0,"filled":false}'
"""How most bars end."""
SCHEMA = pa.schema([(name, _KINDS[name]) for name in COLUMNS])
MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


def printed(bar: Bar) -> bytes:
    """A bar that was traded in, as the beginning of a JSON object: all but `missing_before` and `filled`."""
    return (
        f'{{"timestamp":{bar.timestamp},"open":"{plain(bar.open)}","high":"{plain(bar.high)}","low":"{plain(bar.low)}",'
        f'"close":"{plain(bar.close)}","volume":"{plain(bar.volume)}","quote_volume":"{plain(bar.quote_volume)}",'
        f'"vwap":"{plain(bar.vwap)}","trade_count":{bar.trade_count},"taker_buy_volume":"{plain(bar.taker_buy_volume)}",'
        f'"taker_buy_quote_volume":"{plain(bar.taker_buy_quote_volume)}","first_trade_id":{bar.first_trade_id},'
        f'"last_trade_id":{bar.last_trade_id},"missing_trades":{bar.missing_trades},"revision":{bar.revision}'
    ).encode()


def json_rows(rows: Iterable[Marked], printer: Callable[[Bar], bytes]) -> list[bytes]:
    """An object for each bar. `printer`: `printed`, or one that knows by heart what that would print."""
    return [_quiet(row.bar) if row.filled else printer(row.bar) + _ending(row.missing_before) for row in rows]


def as_json(objects: Sequence[bytes], exchange: str, symbol: str, interval: str) -> bytes:
    """An object with the exchange, the symbol, the interval, and the bars."""
    head = f'{{"exchange":"{exchange}","symbol":"{symbol}","interval":"{interval}","bars":['
    return head.encode() + b",".join(objects) + b"]}"


def as_csv(rows: Sequence[Marked]) -> bytes:
    """A line with the names, and one for each bar; nothing stands for what is not known. Nothing in it needs quotes."""
    lines = [",".join(COLUMNS), *(",".join(_cells(row)) for row in rows)]
    return ("\r\n".join(lines) + "\r\n").encode()


def as_parquet(rows: Sequence[Marked]) -> bytes:
    """One file, with exact decimals and times in UTC."""
    columns = {name: [_value(row, name) for row in rows] for name in COLUMNS}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def _ending(missing_before: int | None) -> bytes:
    if missing_before == 0:
        return _NOTHING_MISSING
    known = "null" if missing_before is None else missing_before
    return f',"missing_before":{known},"filled":false}}'.encode()


def _quiet(bar: Bar) -> bytes:
    price = plain(bar.close)
    return (
        f'{{"timestamp":{bar.timestamp},"open":"{price}","high":"{price}","low":"{price}","close":"{price}","volume":"0",'
        '"quote_volume":"0","vwap":null,"trade_count":0,"taker_buy_volume":"0","taker_buy_quote_volume":"0",'
        '"first_trade_id":null,"last_trade_id":null,"missing_trades":0,"revision":0,"missing_before":0,"filled":true}'
    ).encode()


def _cells(row: Marked) -> list[str]:
    return [_cell(name, _raw(row, name)) for name in COLUMNS]


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "filled":
        return "true" if value else "false"
    return plain(value) if name in PRICES or name in AMOUNTS else str(value)


def _value(row: Marked, name: str) -> Any:
    value = _raw(row, name)
    return datetime.fromtimestamp(value / 1000, UTC) if name == "timestamp" else value


def _raw(row: Marked, name: str) -> Any:
    if name == "missing_before":
        return row.missing_before
    if name == "filled":
        return row.filled
    if row.filled and name in _UNKNOWN_IF_FILLED:
        return None
    return getattr(row.bar, name)


OTHERS: dict[str, Callable[[Sequence[Marked]], bytes]] = {"csv": as_csv, "parquet": as_parquet}
"""The forms that are made in one piece, by name."""
