"""What is served, held to what Binance itself has answered and sent, and to bars that others have recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from market.bar import Bar
from market.trade import Trade
from market.widths import MINUTE_MS
from serve.binance.frames import kline_event
from serve.binance.shapes import Day, day_row, kline_row
from serve.marks import quiet
from tests import recordings
from tests.redis_servers import OwnRedis
from tests.serve.binance.stand import Stand
from tests.support import eventually

BOOK = ("askPrice", "askQty", "bidPrice", "bidQty")
"""Of the order book, which trades do not tell."""
MADE_UP = Decimal(1)


@pytest.mark.parametrize("cut_s", [0, 141, 300], ids=["all runs", "half of a minute runs", "all is in the table"])
def test_served_minutes_are_the_klines_of_the_exchange(tmp_path: Path, redis: OwnRedis, cut_s: int) -> None:
    """Of recorded trades, in all nine fields, whatever part of them the table has, while the rest comes by Redis."""
    klines = recordings.usdm_klines()
    first_ms, last_ms = min(klines), max(klines)
    trades = [one for one in recordings.usdm_trades() if first_ms - 2_000 <= one.timestamp < last_ms + MINUTE_MS]
    before = [one for one in trades if one.timestamp < first_ms + 1_000 * cut_s] if cut_s else trades[:1]
    stand = Stand(tmp_path, redis)
    stand.told(before[-10:])
    stand.finished(before if cut_s else [])
    stand.stop_clock(last_ms + MINUTE_MS + 500)

    def served() -> dict[int, tuple[Decimal, ...]]:
        rows = stand.klines(interval="1m")
        return {row[0]: tuple(map(Decimal, (*row[1:6], *row[7:11]))) for row in rows if first_ms <= row[0] <= last_ms}

    with stand.serving():
        whole = {start: kline for start, kline in klines.items() if start + MINUTE_MS <= first_ms + 1_000 * cut_s}
        eventually(lambda: served().items() >= whole.items())
        stand.told(trades[len(before) :])
        eventually(lambda: served() == klines)


@pytest.mark.parametrize("route", ["trades", "historicalTrades"])
def test_trades_are_answered_as_binance_answered_them(tmp_path: Path, redis: OwnRedis, route: str) -> None:
    """Each recorded answer, field by field, with the quote quantity that Binance has reckoned."""
    for number, answer in enumerate(recordings.binance_answers(route)):
        symbol = f"S{number}USDT"
        stand = Stand(tmp_path / symbol, redis)
        stand.told(
            Trade("binance", symbol, row["price"], row["qty"], row["time"], row["id"], row["isBuyerMaker"])
            for row in answer
        )
        with stand.serving():
            assert stand.rows(f"/api/v3/{route}?symbol={symbol}&limit=1000") == answer


def kline_bar(row: list[Any], symbol: str, first_id: int) -> Bar:
    """A second that is as a recorded kline; what a kline does not tell is made up."""
    prices = map(Decimal, row[1:6])
    ids = first_id, first_id + row[8] - 1, 0
    return Bar("binance", symbol, row[0], *prices, Decimal(row[7]), MADE_UP, row[8], *map(Decimal, row[9:11]), *ids)


def test_klines_are_printed_as_binance_prints_them() -> None:
    """Each recorded row, text by text, of every width."""
    rows = [row for answer in recordings.binance_answers("klines") for row in answer]
    assert len(rows) > 3_000
    for row in rows:
        width_ms = row[6] + 1 - row[0]
        assert json.loads(kline_row(kline_bar(row, "BTCUSDT", 1), width_ms, 1_000)) == row


def test_recorded_minutes_are_served_as_they_are(tmp_path: Path, redis: OwnRedis) -> None:
    """An hour of them, through the table."""
    minutes = next(answer for answer in recordings.binance_answers("klines") if len(answer) == 60)
    first_ids = [1]
    for row in minutes:
        first_ids.append(first_ids[-1] + row[8])
    stand = Stand(tmp_path, redis)
    stand.table.commit(kline_bar(row, "BTCUSDT", first) for row, first in zip(minutes, first_ids, strict=False))
    stand.stop_clock(minutes[-1][6] + 5_000)
    with stand.serving():
        asked = f"symbol=BTCUSDT&interval=1m&startTime={minutes[0][0]}&endTime={minutes[-1][0] - 1}"
        assert stand.rows(f"/api/v3/klines?{asked}") == minutes[:-1]


def test_days_are_told_as_binance_tells_them() -> None:
    """Changes and averages are those of its own prices; every field has the same form."""
    recorded: list[dict[str, Any]] = []
    for answer in recordings.binance_answers("ticker/24hr"):
        recorded += answer if isinstance(answer, list) else [answer]
    assert len(recorded) > 5
    for row in recorded:
        number: Callable[[str], Decimal] = lambda name, row=row: Decimal(row[name])  # noqa: E731
        prices = (number(name) for name in ("openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"))
        ids = row["firstId"], row["lastId"], 0
        average = number("weightedAvgPrice")
        traded = Bar("binance", row["symbol"], 0, *prices, average, row["count"], MADE_UP, MADE_UP, *ids)
        before, last = number("prevClosePrice"), number("lastPrice")
        day = Day(row["symbol"], row["openTime"], row["closeTime"], traded, before, last, number("lastQty"))
        told = day_row(day, 1_000, mini=False)
        assert {name: told[name] for name in told if name not in BOOK} == {
            name: row[name] for name in row if name not in BOOK
        }
        assert {name: type(told[name]) for name in BOOK} == {name: type(row[name]) for name in BOOK}


def test_kline_events_are_those_that_binance_sent() -> None:
    """Of seconds with trades, and of one without; frames of before 2023-04 lack the field that is to be ignored."""
    frames = recordings.binance_kline_frames()
    assert [frame["k"]["n"] == 0 for frame in frames] == [False] * (len(frames) - 1) + [True]
    for frame in frames:
        kline = frame["k"]
        row = [kline[name] for name in "tohlcvTqnVQ"]
        bar = kline_bar(row, kline["s"], kline["f"])
        if not kline["n"]:
            bar = quiet(kline["t"], replace(bar, timestamp=kline["t"] - 1_000, last_trade_id=7))
        made = json.loads(kline_event(bar, "1s", 1_000, frame["E"], 1_000, closed=True))
        assert made | {"k": {**made["k"], "B": "0"}} == frame | {"k": {**kline, "B": "0"}}


def test_the_listing_has_the_form_of_binances(tmp_path: Path, redis: OwnRedis) -> None:
    """It has no field that Binance does not have, and each is of the same type."""
    (recorded,) = recordings.binance_answers("exchangeInfo")
    stand = Stand(tmp_path, redis)
    stand.finished([Trade("binance", "ETHBTC", "0.06", "1", 1_723_161_600_000, 1, False)])
    with stand.serving():
        listed = stand.rows("/api/v3/exchangeInfo")
    assert listed.keys() <= {*recorded, "sors"}
    (ours,) = listed["symbols"]
    theirs = next(symbol for symbol in recorded["symbols"] if symbol["symbol"] == "ETHBTC")
    assert ours.keys() - theirs.keys() == {"opoAllowed", "pegInstructionsAllowed"}  # newer than the recording
    assert {name: type(ours[name]) for name in ours.keys() & theirs} == {
        name: type(theirs[name]) for name in ours.keys() & theirs
    }
    assert (ours["baseAsset"], ours["quoteAsset"]) == (theirs["baseAsset"], theirs["quoteAsset"])


def test_recorded_seconds_of_coinbase_are_served_as_its_recorded_minutes(tmp_path: Path, redis: OwnRedis) -> None:
    """A day of them, on our own route and on Binance's."""
    seconds, minutes = (recordings.coinbase_bars(width) for width in ("second", "minute"))
    stand = Stand(tmp_path, redis)
    stand.table.commit(seconds)
    stand.stop_clock(seconds[-1].timestamp + MINUTE_MS)
    expected = [[bar.timestamp, bar.open, bar.high, bar.low, bar.close, bar.volume] for bar in minutes[:-1]]
    with stand.serving():
        rows: list[Any] = []
        while page := stand.rows(
            "/coinbase/api/v3/klines?symbol=BTCUSD&interval=1m&limit=1000"
            f"&startTime={rows[-1][0] + 1 if rows else minutes[0].timestamp}&endTime={minutes[-2].timestamp}"
        ):
            rows += page
        assert [[row[0], *map(Decimal, row[1:6])] for row in rows if row[8]] == expected
        path = f"/bars/BTCUSD?exchange=coinbase&interval=1m&limit=5000&to={minutes[-2].timestamp}"
        names = ("open", "high", "low", "close", "volume")
        bars = stand.rows(path)["bars"]
        assert [[bar["timestamp"], *(Decimal(str(bar[name])) for name in names)] for bar in bars] == expected
