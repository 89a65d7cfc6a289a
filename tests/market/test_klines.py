"""Klines as the exchanges publish them: every form that is understood, and what is said of everything else."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from decimal import Decimal

import pytest

from market.klines import Kline, KlineError, Klines, Told, read_klines, symbol_of, told_by, width_of
from tests import recordings

START_MS = 1_762_000_020_000
MS_ROW = "1762000020000,1.10,1.30,1.00,1.20,10.5,1762000079999,12.60,3,4.5,5.40,0"
US_ROW = "1762000080000000,1.20,1.20,1.20,1.20,0.0,1762000139999999,0.0,0,0.0,0.0,0"
TRADED = Kline(
    START_MS, *map(Decimal, ("1.10", "1.30", "1.00", "1.20", "10.5", "12.60")), 3, Decimal("4.5"), Decimal("5.40")
)
QUIET = Kline(
    START_MS + 60_000, *map(Decimal, ("1.20", "1.20", "1.20", "1.20", "0.0", "0.0")), 0, *map(Decimal, ("0", "0"))
)
NINE = (
    *("open", "high", "low", "close", "volume", "quote_volume"),
    *("trade_count", "taker_buy_volume", "taker_buy_quote_volume"),
)
UNDERSTOOD = (
    "Understood are Binance's public CSV of klines (plain or zip), the answer of Binance's /api/v3/klines, "
    "and that of Coinbase's /products/…/candles"
)
BINANCE_ROW = (
    "A kline of Binance has 11 fields or more: open time, open, high, low, close, volume, close time, quote volume, "
    "trades, taker buy volume, taker buy quote volume; times in milliseconds or microseconds"
)
COINBASE_ROW = "A candle of Coinbase has 6 numbers: time in seconds, low, high, open, close, volume"
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


def read(content: bytes | str, width_ms: int | None = None) -> Klines:
    data = content.encode() if isinstance(content, str) else content
    return read_klines(io.BytesIO(data), "FILE", width_ms)


def zipped(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_csv", ".csv"), text)
    return content.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        f"{MS_ROW}\n{US_ROW}\n",
        f"{HEADER}\n{MS_ROW}\n\n{US_ROW}",
        f"{HEADER}\r\n{MS_ROW}\r\n{US_ROW}\r\n",
        zipped(klines_csv=f"{HEADER}\n{MS_ROW}\n{US_ROW}\n", CHECKSUM="0a1b"),
    ],
    ids=["plain", "header", "carriage-returns", "zip"],
)
def test_binance_files_are_read(content: bytes | str) -> None:
    """With a header or without, zipped or not, in ms and in µs: the same klines, whole intervals."""
    klines = read(content)
    assert (klines.family, klines.width_ms, klines.fields, klines.newest_may_run) == ("binance", 60_000, NINE, False)
    assert list(klines.rows) == [TRADED, QUIET]
    assert (TRADED.is_quiet, QUIET.is_quiet) == (False, True)


def test_a_binance_answer_is_read() -> None:
    """As /api/v3/klines prints it: prices as text, and a newest interval that may not be over."""
    rows = [[int(cell) if index in (0, 6, 8) else cell for index, cell in enumerate(MS_ROW.split(","))]]
    klines = read(json.dumps(rows))
    assert (klines.family, klines.width_ms, klines.fields, klines.newest_may_run) == ("binance", 60_000, NINE, True)
    assert list(klines.rows) == [TRADED]


def test_coinbase_candles_are_read() -> None:
    """Newest first, low before high, numbers that are read exactly; the width is the smallest distance."""
    content = (
        "[[1762000200,1.1,1.3,1.2,1.25,7],[1762000080,1e0,2.50,1.00000001,2,0.12345678901],[1762000020,1,1,1,1,2]]"
    )
    klines = read(content)
    assert (klines.family, klines.width_ms, klines.newest_may_run) == ("coinbase", 60_000, True)
    assert klines.fields == ("open", "high", "low", "close", "volume")
    second = Kline(START_MS + 60_000, *map(Decimal, ("1.00000001", "2.50", "1", "2", "0.12345678901")))
    first, *others = klines.rows
    assert (first.start_ms, others[0], others[1].start_ms) == (START_MS, second, START_MS + 180_000)


def test_candles_have_the_width_that_is_said() -> None:
    """Where only every fifth minute traded, what is said counts, not what it looks like."""
    assert read("[[1762000200,1,1,1,1,1],[1761999900,1,1,1,1,1]]", 60_000).width_ms == 60_000


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", f"FILE is empty. {UNDERSTOOD}"),
        (b" \n", f"FILE is empty. {UNDERSTOOD}"),
        (b"\x89PNG\r\n", f"FILE begins with b'\\x89PNG\\r\\n', which is no kline. {UNDERSTOOD}"),
        (
            b"<html>nothing here</html>",
            f"FILE begins with b'<html>nothing here</html>', which is no kline. {UNDERSTOOD}",
        ),
        (HEADER, f"FILE has no row of klines. {UNDERSTOOD}"),
        ("[]", "FILE has no row of klines. Ask for a time in which there were trades"),
        (
            "[[1,2],[3",
            "FILE is no whole JSON (JSONDecodeError: Expecting ',' delimiter: line 1 column 10 (char 9)). "
            "Fetch it again",
        ),
        (
            '{"code":-1121,"msg":"Invalid symbol."}',
            f"FILE is not klines but an answer that says: Invalid symbol.. {UNDERSTOOD}",
        ),
        ('{"message":"NotFound"}', f"FILE is not klines but an answer that says: NotFound. {UNDERSTOOD}"),
        ("[1,2]", f"FILE is a JSON array, but not of rows. {UNDERSTOOD}"),
        ("1,2,3\n", f"FILE, line 1: 3 fields in 1,2,3. {BINANCE_ROW}"),
        (
            f"{MS_ROW}\n{US_ROW.replace('1.20', 'NaN', 1)}",
            f"FILE, line 2: 'NaN' where a number belongs in {US_ROW.replace('1.20', 'NaN', 1)}. {BINANCE_ROW}",
        ),
        (
            MS_ROW.replace("1762000020000", "1762000020", 1),
            f"FILE, line 1: an open time of 1762000020 in {MS_ROW.replace('1762000020000', '1762000020', 1)}. "
            f"{BINANCE_ROW}",
        ),
        (
            MS_ROW.replace("1762000079999", "1762000080000"),
            "FILE, line 1: an interval from 1762000020000 to 1762000080000 in "
            f"{MS_ROW.replace('1762000079999', '1762000080000')}. {BINANCE_ROW}",
        ),
        (
            f"{MS_ROW}\n{MS_ROW}",
            "FILE, line 2: not later than the row before. Klines are expected in the order of time",
        ),
        (
            f"{MS_ROW}\n{US_ROW.replace('1762000139999999', '1762000199999999')}",
            "FILE, line 2: an interval of 120,000 ms after intervals of 60,000 ms. Klines of one fixed width are "
            "expected; months have none: take days",
        ),
        (
            "[[1762000020,1,1,1,1,1]]",
            "FILE does not tell how wide its candles are: 1 of them, the nearest two 0 s apart. Say it with "
            "--interval, such as 1m",
        ),
        (
            "[[1762000020,1,1,1,1,1],[1762000020,1,1,1,1,1]]",
            "FILE, row 2: a second candle of the same time. Each is expected once",
        ),
        (
            "[[1762000020000,1,1,1,1,1]]",
            f"FILE, row 1: a time of 1762000020000 in 1762000020000,1,1,1,1,1. {COINBASE_ROW}",
        ),
        (
            "[[1762000020,1,1,true,1,1]]",
            f"FILE, row 1: True where a number belongs in 1762000020,1,1,True,1,1. {COINBASE_ROW}",
        ),
        (zipped(a_csv="1", b_csv="2"), "FILE is a zip with 2 CSV files in it. Expected is one, as Binance has it"),
        (b"PK\x03\x04 and nothing", "FILE is a zip that cannot be read (File is not a zip file). Fetch it again"),
        (
            gzip.compress(b"1,2" * 100, mtime=0)[:20] + b",",
            "FILE cannot be read beyond line 0 (UnicodeDecodeError: 'utf-8' codec can't decode byte 0x8b in "
            "position 1: invalid start byte). Fetch it again",
        ),
    ],
)
def test_what_holds_no_klines_is_told_apart(content: bytes | str, problem: str) -> None:
    """Each message says where, what was seen, and what is expected or to be done."""
    with pytest.raises(KlineError) as caught:
        list(read(content).rows)
    assert str(caught.value) == problem


def test_a_zip_that_breaks_off_is_told() -> None:
    """A member whose checksum is wrong does not pass for a shorter file."""
    whole = zipped(klines_csv="\n".join(f"{MS_ROW}" for _ in range(3)))
    place = whole.index(b"klines.csv") + len("klines.csv") + 8
    broken = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
    with pytest.raises(
        KlineError, match=r"^FILE cannot be read beyond line [0-9]+ \((error|BadZipFile): .*\)\. Fetch it again$"
    ):
        list(read(broken).rows)


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("BTCUSDT-1m-2025-11-01.csv", Told(None, "BTCUSDT", 60_000)),
        ("/data/BTCUSDT-1s-2025-11.zip", Told(None, "BTCUSDT", 1_000)),
        (
            "https://data.binance.vision/data/spot/daily/klines/BTCUSDT/1s/BTCUSDT-1s-2025-11-01.zip",
            Told("binance", "BTCUSDT", 1_000),
        ),
        (
            "https://data.binance.vision/data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-11-01.zip",
            Told("binance-usdm", "BTCUSDT", 60_000),
        ),
        ("https://api.binance.com/api/v3/klines?symbol=ETHBTC&interval=15m", Told("binance", "ETHBTC", 900_000)),
        (
            "https://data-api.binance.vision/api/v3/klines?symbol=ETHBTC&interval=1h",
            Told("binance", "ETHBTC", 3_600_000),
        ),
        (
            "https://fapi.binance.com/fapi/v1/klines?symbol=BTCUSDT&interval=1d",
            Told("binance-usdm", "BTCUSDT", 86_400_000),
        ),
        (
            "https://api.exchange.coinbase.com/products/BTC-USD/candles?granularity=300",
            Told("coinbase", "BTCUSD", 300_000),
        ),
        ("http://127.0.0.1:28080/products/btc-usd/candles", Told(None, "BTCUSD", 60_000)),
        ("http://127.0.0.1:28080/api/v3/klines?symbol=BTCUSDT&interval=1w", Told(None, "BTCUSDT", 604_800_000)),
        ("candles.json", Told()),
    ],
)
def test_names_and_addresses_tell_whose_klines_they_are(origin: str, told: Told) -> None:
    """Exchange, symbol and width, as far as the exchanges' own ways to call things say them."""
    assert told_by(origin) == told


def test_spellings() -> None:
    """Symbols in any spelling, intervals as both exchanges write them; a month is none."""
    assert [symbol_of(text) for text in ("BTC-USD", "btc_usdt", "ETH/BTC")] == ["BTCUSD", "BTCUSDT", "ETHBTC"]
    widths = [width_of(text) for text in ("1s", "3m", "60", "1M", "", "0m", "-1m")]
    assert widths == [1_000, 180_000, 60_000, None, None, None, None]


def test_recorded_futures_klines() -> None:
    """The exchange's own file, as it was published, reads as it does by the plainest means."""
    file = recordings.path("matched_usdm/BTCUSDT_um_1m_klines_2024-08-08T2355-2359.csv")
    with file.open("rb") as content:
        rows = {kline.start_ms: tuple(kline)[1:] for kline in read_klines(content, file.name).rows}
    assert rows == recordings.usdm_klines()


def test_recorded_archive_of_seconds_in_microseconds() -> None:
    """A public file of spot seconds since 2025: no header, times in µs, a second without trades."""
    file = recordings.path("wire_examples/binance_spot_kline_1s_archive_DOGEUSDT_2025-01-01.csv")
    with file.open("rb") as content:
        klines = read_klines(content, file.name)
        rows = list(klines.rows)
    assert klines.width_ms == 1_000
    assert [row.start_ms for row in rows] == [1_735_689_600_000, 1_735_689_601_000, 1_735_689_602_000]
    assert [(row.trade_count, row.is_quiet) for row in rows] == [(1, False), (5, False), (0, True)]


def test_recorded_rest_answers() -> None:
    """Every recorded answer of Binance's klines is read, row for row."""
    mock = json.loads(recordings.path("gocryptotrader_rest/binance_http_mock.json").read_text())
    answers = [call["data"] for call in mock["routes"]["/api/v3/klines"]["GET"]]
    assert answers
    for answer in answers:
        klines = read(json.dumps(answer))
        assert [(row.start_ms, str(row.close), row.trade_count) for row in klines.rows] == [
            (row[0], row[4], row[8]) for row in answer
        ]
