"""Recorded files as outcomes: raw frames in the known forms, and Binance's public archives of trades.

Forms of a line: `<receive ns> <json>` (hftbacktest), `<epoch s>: <json>` with notes such as `<url> <- <epoch s>: …`
(cryptofeed), plain JSON; gz or not. An archive is CSV, zip, gz or neither. The form is told by the content.
"""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from market.trade import Reason
from producer import ProducerError
from producer.exchanges import advanced, binance, coinbase
from producer.exchanges.outcome import Outcome, message_of
from producer.exchanges.venues import mapper_of, symbol_of

_RECEIVED_NS = re.compile(rb"([0-9]{19}) (?=[{\[])")
_RECEIVED_S = re.compile(rb"([0-9]{9,11})(?:[.]([0-9]+))?: (?=[{\[])")
_NOTE = re.compile(rb"(?:[a-z]+://\S+ (?:<->|<-|->) |configuration: )")
_ROW = re.compile(rb"id,|[0-9]+,[0-9.]+,[0-9.]+,")
_ARCHIVE_NAME = re.compile("([A-Z0-9]{2,20})-trades-")
_HEAD = 100_000
"""Lines in which a recording must show which market it is from."""


class RecordingError(ProducerError):
    """A recording cannot be read, or not to its end. The message says which, where, and what helps."""


class Entry(NamedTuple):
    """One element of a recording."""

    exchange: str
    outcome: Outcome
    raw: bytes
    time_ms: int | None
    """When it was received; else the time of the trade in it."""


class Reading:
    """How far a file has been read, in bytes as they lie on the disk."""

    def __init__(self, path: Path) -> None:
        self.size = path.stat().st_size
        self._file: IO[bytes] | None = None

    @property
    def done(self) -> int:
        """Bytes read so far."""
        return self.size if self._file is None or self._file.closed else self._file.tell()

    def begin(self, file: IO[bytes]) -> None:
        """It is this open file that is read."""
        self._file = file


def entries(
    path: Path, *, exchange: str | None, symbol: str | None, latest_ms: int, reading: Reading | None = None
) -> Iterator[Entry]:
    """The elements of one file, in order.

    `exchange` None: recognised by the content. `symbol` is that of an archive; None: it is in the file's name. Raises
    `RecordingError`, at the end of what can be read.
    """
    first = next(_lines(path), None)
    if first is None:
        raise RecordingError(f"{path} is empty")
    if _ROW.match(first):
        yield from _archive(_lines(path, reading), exchange or "binance", _symbol(path, symbol), latest_ms)
    elif exchange:
        yield from _frames(path, _lines(path, reading), exchange, latest_ms, sure=True)
    else:
        yield from _frames(path, _lines(path, reading), _market(path), latest_ms, sure=False)


def _archive(lines: Iterator[bytes], exchange: str, symbol: str, latest_ms: int) -> Iterator[Entry]:
    for line in lines:
        outcome = binance.outcome_of_row(line.decode("ascii", errors="replace"), exchange, symbol, latest_ms)
        yield Entry(exchange, outcome, line, _trade_time_ms(outcome))


def _frames(path: Path, lines: Iterator[bytes], exchange: str, latest_ms: int, *, sure: bool) -> Iterator[Entry]:
    mapper = mapper_of(exchange)
    for number, line in enumerate(lines, start=1):
        if _NOTE.match(line):
            yield Entry(exchange, Outcome(passed_over="note of the recorder"), line, None)
            continue
        time_ms, frame = _split(line)
        message = message_of(frame)
        if message is None:
            yield Entry(exchange, Outcome(rejected=Reason.MALFORMED), line, time_ms)
            continue
        other = None if sure else _market_of(message)
        if other not in (None, exchange):
            raise RecordingError(
                f"{path} line {number} is from {other}, and what comes before is from {exchange}; "
                "split the file, or say --venue if this is wrong"
            )
        outcome = mapper(message, exchange, latest_ms)
        yield Entry(exchange, outcome, frame, _trade_time_ms(outcome) if time_ms is None else time_ms)


def _market(path: Path) -> str:
    for line in islice(_lines(path), _HEAD):
        message = message_of(_split(line)[1])
        if message and (market := _market_of(message)):
            return market
    raise RecordingError(
        f"{path}: nothing in its first {_HEAD} lines tells an exchange; known are Binance trade frames, Coinbase "
        "frames and Binance trades archives (CSV). Say --venue if it is one of them"
    )


def _market_of(message: dict[str, object]) -> str | None:
    return binance.market_of(message) or coinbase.market_of(message) or advanced.market_of(message)


def _split(line: bytes) -> tuple[int | None, bytes]:
    """The time of receipt in ms, if there is one, and the frame."""
    if match := _RECEIVED_NS.match(line):
        return int(match[1]) // 1_000_000, line[match.end() :]
    if match := _RECEIVED_S.match(line):
        return int(match[1] + (match[2] or b"").ljust(3, b"0")[:3]), line[match.end() :]
    return None, line


def _trade_time_ms(outcome: Outcome) -> int | None:
    return outcome.trades[0].timestamp if outcome.trades else None


def _symbol(path: Path, symbol: str | None) -> str:
    match = _ARCHIVE_NAME.match(path.name)
    found = symbol_of(symbol) if symbol else match and match[1]
    if not found:
        raise RecordingError(
            f"{path} is a trades archive without a symbol; say --symbol BTCUSDT, "
            "or name it as the exchange does: BTCUSDT-trades-2024-08-08.csv"
        )
    return found


def _lines(path: Path, reading: Reading | None = None) -> Iterator[bytes]:
    """The lines that are not empty, without their ends. Raises `RecordingError`."""
    number = 0
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            file.seek(0)
            if reading:
                reading.begin(file)
            for line in _unpacked(file, magic):
                number += 1
                if line := line.strip():
                    yield line
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile) as error:
        raise RecordingError(
            f"{path} is damaged after line {number} ({error}); what came before was read. Fetch the file again"
        ) from error
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror or error}") from error


def _unpacked(file: IO[bytes], magic: bytes) -> Iterator[bytes]:
    if magic == b"PK":
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                with archive.open(name) as member:
                    yield from member
    elif magic == b"\x1f\x8b":
        with gzip.open(file) as unzipped:
            yield from unzipped
    else:
        yield from file
