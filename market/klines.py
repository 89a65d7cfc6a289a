"""An exchange's own klines, read from what it publishes: the truth from outside that bars can be held to.

Understood are Binance's public CSV files (data.binance.vision, as they are or zipped, with a header or without, times
in milliseconds or, since 2025, in microseconds), the answer of Binance's /api/v3/klines, and that of Coinbase's
/products/…/candles. Binance has a row of zero trades for a quiet interval and none while trading was halted; Coinbase
has no row for a quiet interval.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import parse_qs, urlsplit

_CANDLE_FIELDS = ("open", "high", "low", "close", "volume")
_KLINE_FIELDS = (*_CANDLE_FIELDS, "quote_volume", "trade_count", "taker_buy_volume", "taker_buy_quote_volume")

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_GRANULARITIES_S = (60, 300, 900, 3_600, 21_600, 86_400)
"""The widths of Coinbase's candles."""

_MS = range(10**11, 10**13)  # 1973 to 2286
_US = range(10**14, 10**16)

_UNDERSTOOD = (
    "Understood are Binance's public CSV of klines (plain or zip), the answer of Binance's /api/v3/klines, "
    "and that of Coinbase's /products/…/candles"
)
_BINANCE_ROW = (
    "A kline of Binance has 11 fields or more: open time, open, high, low, close, volume, close time, quote volume, "
    "trades, taker buy volume, taker buy quote volume; times in milliseconds or microseconds"
)
_COINBASE_ROW = "A candle of Coinbase has 6 numbers: time in seconds, low, high, open, close, volume"


class KlineError(ValueError):
    """What should hold klines does not. The message says where, what was seen, and what is expected."""


class Kline(NamedTuple):
    """One interval of one symbol. What the exchange does not tell is None; the others are named as in a bar."""

    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal | None = None
    trade_count: int | None = None
    taker_buy_volume: Decimal | None = None
    taker_buy_quote_volume: Decimal | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nobody traded: its prices are then the close before."""
        return self.volume == 0 and not self.trade_count


@dataclass(frozen=True)
class Klines:
    """The klines of one file or answer."""

    family: str
    """Whose form they have: `binance` or `coinbase`."""
    width_ms: int
    fields: tuple[str, ...]
    """The fields of a bar that they have."""
    newest_may_run: bool
    """Whether the newest interval may not have been over when it was asked for. Published files hold whole ones."""
    rows: Iterator[Kline]
    """Oldest first. May raise `KlineError`."""


class Told(NamedTuple):
    """What the name of a file or an address tells of the klines in it; None where it does not."""

    exchange: str | None = None
    symbol: str | None = None
    width_ms: int | None = None


def told_by(origin: str) -> Told:
    """What a name or an address tells.

    A public file of Binance is called alike for spot and for futures: only its address tells them apart.
    """
    try:
        parts = urlsplit(origin)
    except ValueError as error:
        raise KlineError(f"{origin} is no address that can be read: {error}") from None
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if match := re.search(r"/products/([A-Za-z0-9-]+)/candles/?$", parts.path):
        symbol: str | None = symbol_of(match[1])
        interval = asked.get("granularity", "60")
    elif match := re.search(
        r"(?:^|/)([A-Z0-9]{2,20})-([0-9]+[smhdw])-[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?[^/]*$", parts.path
    ):
        symbol, interval = match[1], match[2]
    else:
        symbol, interval = symbol_of(asked["symbol"]) if "symbol" in asked else None, asked.get("interval", "")
    return Told(_exchange(parts.hostname or "", parts.path), symbol, width_of(interval))


def symbol_of(text: str) -> str:
    """A symbol as trades bear it, of any spelling: `BTC-USD` is `BTCUSD`."""
    return re.sub("[-_/]", "", text).upper()


def width_of(interval: str) -> int | None:
    """The width in ms of an interval as the exchanges write it (`1s`, `15m`, `1h`, `1d`; Coinbase: seconds)."""
    match = re.fullmatch("([1-9][0-9]{0,5})([smhdw]?)", interval)
    return int(match[1]) * _UNITS_MS[match[2] or "s"] if match else None


def read_klines(content: BinaryIO, name: str, width_ms: int | None = None) -> Klines:
    """The klines of a file or an answer, which is read as its rows are.

    `content` can be searched, as files can. `width_ms` is needed for candles, which do not tell it, where it cannot be
    seen from the times either. Raises `KlineError`.
    """
    head = content.read(4096)
    content.seek(0)
    if head.startswith(b"PK"):
        return _read_csv(_unzipped(content, name), name)
    if head.lstrip()[:1] in (b"[", b"{"):
        return _read_json(content, name, width_ms)
    if not head.strip():
        raise KlineError(f"{name} is empty. {_UNDERSTOOD}")
    if b"," not in head:
        raise KlineError(f"{name} begins with {head[:40]!r}, which is no kline. {_UNDERSTOOD}")
    return _read_csv(content, name)


def _exchange(host: str, path: str) -> str | None:
    for exchange, is_its in (
        ("binance-usdm", host == "fapi.binance.com" or "/futures/um/" in path),
        (
            "binance",
            "/data/spot/" in path or re.fullmatch(r"api[0-9a-z-]*\.binance\.com|data-api\.binance\.vision", host),
        ),
        ("coinbase", host == "api.exchange.coinbase.com"),
    ):
        if is_its:
            return exchange
    return None


def _unzipped(content: BinaryIO, name: str) -> BinaryIO:
    try:
        archive = zipfile.ZipFile(content)
        members = [member for member in archive.namelist() if member.lower().endswith(".csv")]
        if len(members) != 1:
            raise KlineError(f"{name} is a zip with {len(members)} CSV files in it. Expected is one, as Binance has it")
        return archive.open(members[0])  # type: ignore[return-value]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise KlineError(f"{name} is a zip that cannot be read ({error}). Fetch it again") from error


def _read_csv(content: BinaryIO, name: str) -> Klines:
    lines = _numbered(csv.reader(line.decode() for line in content), name)
    first = next(lines, None)
    if first is not None and first[1] and not first[1][0].strip().isdigit() and not re.match("-?[0-9]", first[1][0]):
        first = next(lines, None)  # a header
    if first is None:
        raise KlineError(f"{name} has no row of klines. {_UNDERSTOOD}")
    return _of_binance(first, lines, name, newest_may_run=False)


def _numbered(rows: Any, name: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """Rows of a CSV file, each with the words for where it stands. What breaks underneath is said in our words."""
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise KlineError(
                f"{name} cannot be read beyond line {rows.line_num} ({type(error).__name__}: {error}). Fetch it again"
            ) from error
        if row:
            yield f"{name}, line {rows.line_num}", row


def _read_json(content: BinaryIO, name: str, width_ms: int | None) -> Klines:
    try:
        rows = json.loads(content.read(), parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise KlineError(f"{name} is no whole JSON ({type(error).__name__}: {error}). Fetch it again") from error
    if isinstance(rows, dict):
        said = rows.get("msg") or rows.get("message") or ", ".join(map(str, rows))
        raise KlineError(f"{name} is not klines but an answer that says: {said}. {_UNDERSTOOD}")
    if not rows:
        raise KlineError(f"{name} has no row of klines. Ask for a time in which there were trades")
    if not all(isinstance(row, list) for row in rows):
        raise KlineError(f"{name} is a JSON array, but not of rows. {_UNDERSTOOD}")
    numbered = [(f"{name}, row {number}", row) for number, row in enumerate(rows, 1)]
    if len(rows[0]) == 6:
        return _of_coinbase(numbered, name, width_ms)
    return _of_binance(numbered[0], iter(numbered[1:]), name, newest_may_run=True)


def _of_binance(
    first: tuple[str, Sequence[Any]], others: Iterable[tuple[str, Sequence[Any]]], name: str, *, newest_may_run: bool
) -> Klines:
    _, width_ms = _kline(*first)

    def rows() -> Iterator[Kline]:
        yield (last := _kline(*first)[0])
        for where, row in others:
            kline, width = _kline(where, row)
            if width != width_ms:
                raise KlineError(
                    f"{where}: an interval of {width:,} ms after intervals of {width_ms:,} ms. Klines of one fixed "
                    "width are expected; months have none: take days"
                )
            if kline.start_ms <= last.start_ms:
                raise KlineError(f"{where}: not later than the row before. Klines are expected in the order of time")
            yield (last := kline)

    return Klines("binance", width_ms, _KLINE_FIELDS, newest_may_run, rows())


def _kline(where: str, row: Sequence[Any]) -> tuple[Kline, int]:
    """A row of Binance, and its width in ms."""
    try:
        if len(row) < 11:
            raise ValueError(f"{len(row)} fields")
        opened, closed, count = (_integer(row[index]) for index in (0, 6, 8))
        if opened not in _MS and opened not in _US:
            raise ValueError(f"an open time of {opened}")
        unit = 1 if opened in _MS else 1_000
        width, rest = divmod(closed + 1 - opened, unit)
        if width < 1_000 or width % 1_000 or rest or opened % unit:
            raise ValueError(f"an interval from {opened} to {closed}")
        first, high, low, last, volume, quote, bought, paid = (
            _number(row[index]) for index in (1, 2, 3, 4, 5, 7, 9, 10)
        )
        return Kline(opened // unit, first, high, low, last, volume, quote, count, bought, paid), width
    except ValueError as error:
        raise KlineError(f"{where}: {error} in {_short(row)}. {_BINANCE_ROW}") from None


def _of_coinbase(rows: list[tuple[str, Sequence[Any]]], name: str, width_ms: int | None) -> Klines:
    candles: dict[int, Kline] = {}
    for where, row in rows:
        candle = _candle(where, row)
        if candle.start_ms in candles:
            raise KlineError(f"{where}: a second candle of the same time. Each is expected once")
        candles[candle.start_ms] = candle
    times = sorted(candles)
    if width_ms is None:
        width_ms = min((after - before for before, after in pairwise(times)), default=0)
        if width_ms // 1_000 not in _GRANULARITIES_S:
            raise KlineError(
                f"{name} does not tell how wide its candles are: {len(times)} of them, the nearest two "
                f"{width_ms // 1_000} s apart. Say it with --interval, such as 1m"
            )
    return Klines("coinbase", width_ms, _CANDLE_FIELDS, True, (candles[time] for time in times))


def _candle(where: str, row: Sequence[Any]) -> Kline:
    try:
        if len(row) != 6:
            raise ValueError(f"{len(row)} fields")
        start = _integer(row[0]) * 1_000
        if start not in _MS:
            raise ValueError(f"a time of {row[0]}")
        low, high, opened, closed, volume = (_number(text) for text in row[1:])
        return Kline(start, opened, high, low, closed, volume)
    except ValueError as error:
        raise KlineError(f"{where}: {error} in {_short(row)}. {_COINBASE_ROW}") from None


def _integer(value: Any) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError(f"{_short(value)} where a whole number belongs")
    return int(text)


def _number(value: Any) -> Decimal:
    text = str(value)
    if not re.fullmatch("[0-9]{1,30}([.][0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", text):
        raise ValueError(f"{_short(value)} where a number belongs")
    return Decimal(text)


def _short(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else repr(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
