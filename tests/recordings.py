"""Recorded market data, read in the plainest way: what tests expect comes from here, not from the product's mappers.

The recordings are not part of the project; tests that need them are skipped where `../shared/data` is absent.
"""

from __future__ import annotations

import csv
import gzip
import json
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market.bar import Bar
from market.trade import Trade

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SPOT = ("hftbacktest/spot_btcusdt_20240808.gz", "hftbacktest/spot_btcusdt_20240809.gz")
USDM = "matched_usdm/usdm_btcusdt_20240808.gz"
COINBASE = "cryptofeed/COINBASE.ws.28.0"

Kline = tuple[Decimal, ...]
"""open, high, low, close, volume, quote volume, trades, taker buy volume, taker buy quote volume."""


def path(name: str) -> Path:
    """Where a recording lies; skips the test where it does not."""
    file = DATA / name
    if not file.exists():
        pytest.skip(f"the recording {name} is absent: ../shared/data is not beside the project")
    return file


def spot_trades() -> list[Trade]:
    """Binance spot BTCUSDT, ten minutes around midnight of 2024-08-09."""
    return [_binance("binance", data) for name in SPOT for data in _binance_frames(name)]


def usdm_trades() -> list[Trade]:
    """Binance USD-M BTCUSDT, six minutes; market trades only."""
    return [_binance("binance-usdm", data) for data in _binance_frames(USDM) if data["X"] == "MARKET"]


def coinbase_trades() -> list[Trade]:
    """Coinbase Exchange, ten products, thirty seconds; each trade once."""
    trades = {}
    for line in path(COINBASE).read_text().splitlines():
        _, _, text = line.partition(": ")
        frame = json.loads(text) if text.startswith("{") else {}
        if frame.get("type") in ("match", "last_match"):
            whole, _, fraction = frame["time"].rstrip("Z").partition(".")
            trade = Trade(
                "coinbase",
                frame["product_id"].replace("-", ""),
                frame["price"],
                frame["size"],
                _epoch_s(whole) * 1000 + int(fraction.ljust(3, "0")[:3]),
                frame["trade_id"],
                frame["side"] == "buy",
            )
            trades[trade.symbol, trade.trade_id] = trade
    return list(trades.values())


def usdm_klines() -> dict[int, Kline]:
    """The exchange's own 1-minute klines of five of the minutes of `usdm_trades`, by their start in ms."""
    with path("matched_usdm/BTCUSDT_um_1m_klines_2024-08-08T2355-2359.csv").open() as lines:
        rows = [row for row in csv.reader(lines) if row[0].isdigit()]
    return {int(row[0]): tuple(map(Decimal, (*row[1:6], row[7], row[8], row[9], row[10]))) for row in rows}


def coinbase_bars(width: str) -> list[Bar]:
    """Recorded bars of Coinbase BTC-USD, 2016-10-07; what the recording does not have is made up."""
    file = path(f"lean/coinbase_{width}_btcusd_20161007_trade.zip")
    with zipfile.ZipFile(file) as archive:
        lines = archive.read(archive.namelist()[0]).decode().split()
    bars = []
    for number, line in enumerate(lines):
        start, *prices = line.split(",")
        opened, high, low, close, volume = map(Decimal, prices)
        time_ms = 1_475_798_400_000 + int(start)
        made_up = (volume, Decimal(1), 1, volume, volume, number, number, 0)
        bars.append(Bar("coinbase", "BTCUSD", time_ms, opened, high, low, close, volume, *made_up))
    return bars


def binance_answers(route: str) -> list[Any]:
    """What Binance answered on a route of its REST interface."""
    recorded = json.loads(path("gocryptotrader_rest/binance_http_mock.json").read_text())
    return [answer["data"] for answer in recorded["routes"][f"/api/v3/{route}"]["GET"]]


def binance_kline_frames() -> list[dict[str, Any]]:
    """`@kline_1s` frames of Binance, as raw streams have them; the last one is of a second without a trade."""
    lines = path("wire_examples/binance_spot_kline_1s_ws.jsonl").read_text().splitlines()
    frames = [json.loads(line) for line in lines]
    return [frame.get("data", frame) for frame in frames]


def kline_of(bar: Bar) -> Kline:
    """A bar's fields as a kline has them."""
    return (
        bar.open,
        bar.high,
        bar.low,
        bar.close,
        bar.volume,
        bar.quote_volume,
        Decimal(bar.trade_count),
        bar.taker_buy_volume,
        bar.taker_buy_quote_volume,
    )


def _binance_frames(name: str) -> Iterator[dict[str, object]]:
    with gzip.open(path(name), "rt") as lines:
        for line in lines:
            frame = json.loads(line.split(" ", 1)[1])
            if str(frame.get("stream", "")).endswith("@trade"):
                yield frame["data"]


def _binance(exchange: str, data: dict[str, object]) -> Trade:
    return Trade(exchange, *(data[name] for name in ("s", "p", "q", "T", "t", "m")))  # type: ignore[arg-type]


def _epoch_s(iso: str) -> int:
    return int(datetime.fromisoformat(iso).replace(tzinfo=UTC).timestamp())
