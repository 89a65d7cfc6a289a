"""Every form of recording: the recorded data itself where it is there, and small files of each form."""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market.settings import ROOT
from market.trade import Reason, Trade
from producer.recordings import Entry, RecordingError, entries

DATA = ROOT / "../shared/data"
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data (../shared/data) is not there")

BINANCE = '{"stream":"bnbbtc@trade","data":{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",\
"T":1672515782136,"m":true,"M":true}}'
BINANCE_TRADE = Trade("binance", "BNBBTC", "0.001", "100", 1672515782136, 12345, True)
USDM = '{"e":"trade","E":1,"T":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","X":"MARKET","m":true}'
COINBASE = '{"type":"match","trade_id":10,"product_id":"BTC-USD","size":"5.23512","price":"400.23","side":"sell",\
"time":"2014-11-07T08:19:27.028459Z"}'
COINBASE_TRADE = Trade("coinbase", "BTCUSD", "400.23", "5.23512", 1415348367028, 10, False)


def read(path: Path, exchange: str | None = None, symbol: str | None = None) -> list[Entry]:
    """All entries of a file."""
    return list(entries(path, exchange=exchange, symbol=symbol, latest_ms=2**63))


def trades_of(found: list[Entry]) -> list[Trade]:
    """The trades in some entries."""
    return [trade for entry in found for trade in entry.outcome.trades]


def kinds_of(found: list[Entry]) -> Counter[str | None]:
    """How many entries of each kind were passed over."""
    return Counter(entry.outcome.passed_over for entry in found if entry.outcome.passed_over)


def raw_trades(path: Path) -> Iterator[dict[str, Any]]:
    """The trade frames of a recording in hftbacktest's form, read independently of the producer."""
    with gzip.open(path, "rt") as lines:
        for line in lines:
            data = json.loads(line.split(" ", 1)[1]).get("data", {})
            if data.get("e") == "trade":
                yield data


@recorded
def test_the_spot_recordings_hold_the_trades_their_readme_counts() -> None:
    """9,757 and 10,147 trades, ids without a gap, none rejected, and every other line is passed over by its kind."""
    files = [DATA / f"hftbacktest/spot_btcusdt_2024080{day}.gz" for day in (8, 9)]
    first, second = (read(file) for file in files)
    trades = trades_of(first) + trades_of(second)
    assert (len(trades_of(first)), len(trades_of(second))) == (9_757, 10_147)
    assert [trade.trade_id for trade in trades] == list(range(3735683259, 3735703163))
    assert {(trade.exchange, trade.symbol) for trade in trades} == {("binance", "BTCUSDT")}
    assert [trade[2:] for trade in trades] == [
        (raw["p"], raw["q"], raw["T"], raw["t"], raw["m"]) for file in files for raw in raw_trades(file)
    ]
    assert kinds_of(first) == {"bookTicker": 28_040, "depthUpdate": 3_451, "snapshot": 1}
    assert kinds_of(second) == {"bookTicker": 45_134, "depthUpdate": 3_044}
    assert [entry for entry in first + second if entry.outcome.rejected] == []


@recorded
def test_the_futures_recording_is_recognised_and_its_minutes_have_the_exchanges_volume() -> None:
    """21,313 trades of binance-usdm without an option; count and volume per minute are those of the klines."""
    found = read(DATA / "matched_usdm/usdm_btcusdt_20240808.gz")
    trades = trades_of(found)
    assert len(trades) + kinds_of(found)["non-market trade"] == 21_313
    assert {trade.exchange for trade in trades} == {"binance-usdm"}
    with (DATA / "matched_usdm/BTCUSDT_um_1m_klines_2024-08-08T2355-2359.csv").open() as file:
        rows = [row for row in csv.reader(file) if row[0].isdigit()]
    assert len(rows) == 5
    for row in rows:
        minute = [trade for trade in trades if int(row[0]) <= trade.timestamp <= int(row[6])]
        assert (len(minute), sum(Decimal(trade.quantity) for trade in minute)) == (int(row[8]), Decimal(row[5]))


@recorded
def test_the_coinbase_recording_holds_its_matches() -> None:
    """97 match and 10 last_match of 10 products, consecutive in each; the rest is passed over by its type."""
    found = read(DATA / "cryptofeed/COINBASE.ws.28.0")
    trades = trades_of(found)
    assert len(trades) == 107
    ids: dict[str, list[int]] = {}
    for trade in trades:
        ids.setdefault(trade.symbol, []).append(trade.trade_id)
    assert len(ids) == 10
    assert all(numbers == list(range(numbers[0], numbers[0] + len(numbers))) for numbers in ids.values())
    assert kinds_of(found) == {
        "l2update": 9_719,
        "ticker": 107,
        "snapshot": 10,
        "note of the recorder": 4,
        "subscriptions": 3,
    }
    assert [entry for entry in found if entry.outcome.rejected] == []


@recorded
def test_the_coinbase_sides_are_the_opposite_of_the_tickers() -> None:
    """A ticker names the taker's side of the trade whose id it bears; ours is the maker's, in all that have one."""
    found = read(DATA / "cryptofeed/COINBASE.ws.28.0")
    frames = [json.loads(entry.raw) for entry in found if entry.outcome.passed_over != "note of the recorder"]
    takers = {(f["product_id"].replace("-", ""), f["trade_id"]): f["side"] for f in frames if f["type"] == "ticker"}
    trades = [trade for trade in trades_of(found) if (trade.symbol, trade.trade_id) in takers]
    assert len(trades) >= 97
    assert all(trade.is_buyer_maker == (takers[trade.symbol, trade.trade_id] == "sell") for trade in trades)


@recorded
def test_recorded_rest_notes_are_passed_over() -> None:
    """The recorder's file of REST answers holds no trade, and is not taken for damaged frames."""
    found = read(DATA / "cryptofeed/COINBASE.0", exchange="coinbase")
    assert {entry.outcome.passed_over for entry in found} == {"note of the recorder"}


@recorded
def test_recorded_klines_are_no_trades() -> None:
    """Kline frames are passed over; a file of nothing else shows no market."""
    file = DATA / "wire_examples/binance_spot_kline_1s_ws.jsonl"
    assert kinds_of(read(file, exchange="binance")) == {"kline": 6}
    with pytest.raises(RecordingError, match="tells an exchange"):
        read(file)


@recorded
def test_frames_of_coinbase_advanced_are_recognised() -> None:
    """Three frames of one trade each, of the exchange whose other feed has them too."""
    found = read(DATA / "wire_examples/coinbase_advanced_market_trades.jsonl")
    assert [trade.trade_id for trade in trades_of(found)] == [929248657, 929248658, 929248659]
    assert {entry.exchange for entry in found} == {"coinbase"}


@pytest.mark.parametrize(
    ("lines", "trades", "times_ms"),
    [
        ([f"1723161255343000999 {BINANCE}"], [BINANCE_TRADE], [1723161255343]),
        (["1723161255343000999 {}", f"1723161255344000000 {BINANCE}"], [BINANCE_TRADE], [1723161255343, 1723161255344]),
        ([BINANCE], [BINANCE_TRADE], [1672515782136]),
        ([USDM], [BINANCE_TRADE._replace(exchange="binance-usdm")], [1672515782136]),
        ([f"1415348367.0284598: {COINBASE}"], [COINBASE_TRADE], [1415348367028]),
        ([f"1415348367: {COINBASE}", "", ""], [COINBASE_TRADE], [1415348367000]),
        (
            ["wss://x <-> 1.5", "wss://x <- 1.5: {}", f"1415348367.5: {COINBASE}"],
            [COINBASE_TRADE],
            [None, None, 1415348367500],
        ),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_form_of_line_is_read(
    tmp_path: Path, lines: list[str], trades: list[Trade], times_ms: list[int | None], zipped: bool
) -> None:
    """The receive time in front is taken off and kept; the exchange is told by the frames; gz is told by content."""
    path = tmp_path / "recording"
    content = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(content) if zipped else content)
    found = read(path)
    assert trades_of(found) == trades
    assert [entry.time_ms for entry in found] == times_ms


ROWS = (
    "1,61837.63000000,0.02000000,1236.75,1723161255342,True,True\n"
    "2,61837.64000000,0.01,618.37,1723161255343000,False,True\n"
)
ROW_TRADES = [
    Trade("binance", "BTCUSDT", "61837.63000000", "0.02000000", 1723161255342, 1, True),
    Trade("binance", "BTCUSDT", "61837.64000000", "0.01", 1723161255343, 2, False),
]


@pytest.mark.parametrize("header", ["", "id,price,qty,quoteQty,time,isBuyerMaker,isBestMatch\n"])
@pytest.mark.parametrize("packed", ["csv", "zip", "gz"])
def test_archives_are_read_packed_or_not(tmp_path: Path, header: str, packed: str) -> None:
    """A trades archive is told by its content, its symbol by its name."""
    path = tmp_path / f"BTCUSDT-trades-2024-08-08.{packed}"
    content = (header + ROWS).encode()
    if packed == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("BTCUSDT-trades-2024-08-08.csv", content)
    else:
        path.write_bytes(gzip.compress(content) if packed == "gz" else content)
    assert trades_of(read(path)) == ROW_TRADES


def test_the_symbol_and_venue_of_an_archive_can_be_said(tmp_path: Path) -> None:
    """What is said wins over the file's name, in any spelling."""
    path = tmp_path / "BTCUSDT-trades-2024-08-08.csv"
    path.write_text(ROWS)
    found = trades_of(read(path, exchange="binance-usdm", symbol="eth-usdt"))
    assert {(trade.exchange, trade.symbol) for trade in found} == {("binance-usdm", "ETHUSDT")}


def test_damaged_lines_are_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    """A line of no known form is one rejected element."""
    path = tmp_path / "recording"
    path.write_bytes(BINANCE.encode() + b"\n\xff\xfe\n" + BINANCE[:50].encode() + b"\n" + BINANCE.encode())
    found = read(path)
    assert [entry.outcome.rejected for entry in found] == [None, Reason.MALFORMED, Reason.MALFORMED, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "PATH is empty"),
        (
            b"hello\nworld\n",
            "PATH: nothing in its first 100000 lines tells an exchange; known are Binance trade frames, Coinbase "
            "frames and Binance trades archives (CSV). Say --venue if it is one of them",
        ),
        (
            f"{BINANCE}\n{COINBASE}".encode(),
            "PATH line 2 is from coinbase, and what comes before is from binance; split the file, or say --venue "
            "if this is wrong",
        ),
        (
            f"{BINANCE}\n{USDM}".encode(),
            "PATH line 2 is from binance-usdm, and what comes before is from binance; split the file, or say --venue "
            "if this is wrong",
        ),
        (
            ROWS.encode(),
            "PATH is a trades archive without a symbol; say --symbol BTCUSDT, or name it as the exchange does: "
            "BTCUSDT-trades-2024-08-08.csv",
        ),
        (
            b"PK\x03\x04damaged",
            "PATH is damaged after line 0 (File is not a zip file); what came before was read. Fetch the file again",
        ),
    ],
)
def test_unusable_recordings_say_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    """The error names the file, what was found and what helps."""
    path = tmp_path / "recording"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        read(path)
    assert str(caught.value).replace(str(path), "PATH") == message


def test_a_cut_gzip_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """The entries before the damage come out before the error does."""
    path = tmp_path / "recording.gz"
    lines = [BINANCE.replace("12345", str(number * 7919)) for number in range(20_000)]
    packed = gzip.compress("\n".join(lines).encode())
    path.write_bytes(packed[: len(packed) // 2])
    found: list[Entry] = []
    with pytest.raises(RecordingError, match=r"is damaged after line [0-9]+ .*what came before was read"):
        found.extend(entries(path, exchange=None, symbol=None, latest_ms=2**63))
    assert len(found) > 5_000
    assert [trade.trade_id for trade in trades_of(found)] == [number * 7919 for number in range(len(found))]


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """The error names the file and the system's reason."""
    with pytest.raises(RecordingError, match=r"nowhere cannot be read: No such file or directory"):
        read(tmp_path / "nowhere")
