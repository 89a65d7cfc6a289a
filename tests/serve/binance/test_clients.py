"""ccxt and ccxt.pro, unchanged, pointed at us by their own options."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import ccxt
import ccxt.async_support
import ccxt.pro
import pytest

from market.bar import bars_of
from market.settings import ROOT
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, listed, trade
from tests.serve.binance.stand import Stand
from tests.serve.binance.talk import subscribed
from tests.support import eventually

WITHIN_S = 30.0
SPOT_ALONE = {
    "fetchMarkets": {"types": ["spot"]},  # else it loads the markets of futures too, from Binance itself
    "fetchTradesMethod": "publicGetTrades",  # else it asks for aggregate trades, whose ids trades do not tell
}


KEY = "a-key-of-more-than-16-characters"


def options(stand: Stand, venue: str = "") -> dict[str, Any]:
    """What ccxt is given to ask us."""
    urls = {"public": f"{stand.http}{venue}/api/v3", "ws": {"spot": f"{stand.ws}{venue}/ws"}}
    return {"urls": {"api": urls}, "options": SPOT_ALONE, "enableRateLimit": False}


def candles(stand: Stand, width_ms: int = 1_000) -> list[list[float]]:
    """What ccxt makes of the klines: time, prices and volume as floats."""
    return [
        [bar.timestamp, *(float(number) for number in (bar.open, bar.high, bar.low, bar.close, bar.volume))]
        for bar in listed(stand.trades, stand.clock() + 1, width_ms)
    ]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """A scenario, within a time."""

    async def main() -> None:
        async with asyncio.timeout(WITHIN_S):
            await scenario()

    asyncio.run(main())


def test_ccxt_reads_candles_in_pages(stand: Stand) -> None:
    """`fetch_ohlcv` of seconds and minutes, paged by `since` and `limit` as its manual has it: all of them, once."""
    exchange = ccxt.binance(options(stand))
    expected = candles(stand)
    eventually(lambda: exchange.fetch_ohlcv("BTC/USDT", "1s") == expected)
    paged: list[list[float]] = []
    since = START_MS
    while page := exchange.fetch_ohlcv("BTC/USDT", "1s", since, 4):
        assert len(page) <= 4
        paged += page
        since = int(page[-1][0]) + 1
    assert paged == expected
    assert exchange.fetch_ohlcv("BTC/USDT", "1m") == candles(stand, 60_000)


def test_what_ccxt_reads_is_what_delta_holds(stand: Stand) -> None:
    """Bar by bar, for every second with a trade that is finished."""
    exchange = ccxt.binance(options(stand))
    bars = stand.in_table()
    read = {int(candle[0]): candle for candle in exchange.fetch_ohlcv("BTC/USDT", "1s")}
    assert bars.keys() <= read.keys()
    for time_ms, bar in bars.items():
        names = ("open", "high", "low", "close", "volume")
        assert read[time_ms][1:] == [float(bar[name]) for name in names]


def test_ccxt_reads_trades_tickers_markets_and_the_time(stand: Stand) -> None:
    """As far as trades tell; an order book is refused in Binance's words."""
    exchange = ccxt.binance(options(stand))
    market = exchange.load_markets()["BTC/USDT"]
    assert (market["id"], market["base"], market["quote"], market["spot"], market["active"]) == (
        *("BTCUSDT", "BTC", "USDT"),
        True,
        True,
    )
    trades = exchange.fetch_trades("BTC/USDT", limit=3)
    assert [(row["id"], row["price"], row["timestamp"], row["side"]) for row in trades] == [
        (str(one.trade_id), float(one.price), one.timestamp, "sell" if one.is_buyer_maker else "buy")
        for one in stand.trades[-3:]
    ]
    eventually(lambda: exchange.fetch_ticker("BTC/USDT")["baseVolume"] == 10.0)
    ticker = exchange.fetch_ticker("BTC/USDT")
    (day,) = bars_of(stand.trades, 86_400_000)
    assert (ticker["last"], ticker["high"], ticker["low"]) == (120.0, float(day.high), float(day.low))
    assert exchange.fetch_time() == START_MS + 12_500
    with pytest.raises(ccxt.BaseError, match="This operation is not supported"):
        exchange.fetch_order_book("BTC/USDT")
    with pytest.raises(ccxt.BadSymbol):
        exchange.fetch_ohlcv("NOPE/USDT")


def test_ccxt_reads_all_trades_that_are_held_in_pages_by_id(stand: Stand) -> None:
    """By `fromId`: its `since` is for aggregate trades. ccxt wants some key for that; we do not."""
    exchange = ccxt.binance(options(stand) | {"apiKey": "any"})
    read: list[int] = []
    while page := _from_id(exchange, read[-1] + 1 if read else 0):
        assert len(page) <= 7
        read += page
    assert read == [one.trade_id for one in stand.trades]
    with pytest.raises(ccxt.BadRequest, match="Too many parameters"):
        exchange.fetch_trades("BTC/USDT", since=START_MS, limit=7)


def test_ccxt_reads_seconds_of_coinbase(stand: Stand) -> None:
    """Which Coinbase itself does not have: the venue's address, and nothing else, is another."""
    trades = [trade(number, START_MS + 500 * number, key=("sim-coinbase", "BTCUSD")) for number in range(1, 8)]
    stand.finished(trades)
    stand.caught_up()
    exchange = ccxt.binance(options(stand, "/coinbase"))
    assert list(exchange.load_markets()) == ["BTC/USD"]
    read = eventually(lambda: exchange.fetch_ohlcv("BTC/USD", "1s", START_MS, 4))
    assert read == [
        [bar.timestamp, *(float(number) for number in (bar.open, bar.high, bar.low, bar.close, bar.volume))]
        for bar in bars_of(trades)
    ]


def test_the_script_of_the_readme_prints_candles_of_coinbase(stand: Stand) -> None:
    """As it stands there, but for the port: ten lines of ten candles."""
    trades = [trade(number, START_MS + 400 * number, key=("sim-coinbase", "BTCUSD")) for number in range(1, 40)]
    stand.finished(trades)
    stand.caught_up()
    (script,) = re.findall(r"```python\n(import ccxt\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    script = script.replace("http://localhost:3000/", f"{stand.http}/")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    expected = [
        [ccxt.Exchange.iso8601(bar.timestamp), *(float(text) for text in (bar.open, bar.high, bar.low, bar.close))]
        for bar in bars_of(trades)[-10:]
    ]
    words = [line.split() for line in done.stdout.splitlines()]
    assert [[row[0], *map(float, row[1:5])] for row in words] == expected


def test_ccxt_reads_asynchronously(stand: Stand) -> None:
    """`ccxt.async_support`, several things at once."""

    async def scenario() -> None:
        exchange = ccxt.async_support.binance(options(stand))
        try:
            await exchange.load_markets()
            read, ticker, trades = await asyncio.gather(
                exchange.fetch_ohlcv("BTC/USDT", "1s", START_MS, 9),
                exchange.fetch_ticker("BTC/USDT"),
                exchange.fetch_trades("BTC/USDT"),
            )
        finally:
            await exchange.close()
        assert read == candles(stand)[:9]
        assert ticker["last"] == 120.0
        assert [row["id"] for row in trades] == [str(one.trade_id) for one in stand.trades]

    run(scenario)


def test_ccxt_pro_watches_trades(stand: Stand) -> None:
    """`watch_trades`, from when it listens."""

    async def scenario() -> None:
        exchange = ccxt.pro.binance(options(stand))
        try:
            watching = asyncio.create_task(exchange.watch_trades("BTC/USDT"))
            await asyncio.to_thread(lambda: eventually(lambda: subscribed(stand, "btcusdt@trade")))
            await asyncio.to_thread(lambda: stand.told([trade(21, START_MS + 12_450)]))
            (seen,) = await watching
        finally:
            await exchange.close()
        assert (seen["id"], seen["price"], seen["amount"]) == ("21", 121.1, 0.5)
        assert (seen["timestamp"], seen["side"]) == (START_MS + 12_450, "buy")

    run(scenario)


def test_ccxt_pro_watches_candles_until_they_are_those_of_the_table(stand: Stand) -> None:
    """`watch_ohlcv`: the running candle first, whole; and then the final ones, each in its place.

    The table has a trade that Redis was never told: the final candle of second 12 is not the one that ran.
    """

    async def scenario() -> None:
        exchange = ccxt.pro.binance(options(stand))
        try:
            first = await exchange.watch_ohlcv("BTC/USDT", "1s")
            assert first[-1][0] >= START_MS + 9_000
            ran = candles(stand)[9:13]
            stand.trades.append(trade(21, START_MS + 12_900, price="125"))
            opened = [one for one in stand.trades if one.timestamp >= START_MS + 10_000]
            await asyncio.to_thread(lambda: stand.finished(opened))
            stand.stop_clock(START_MS + 12_950)
            expected = candles(stand)[9:13]
            assert expected[-1] != ran[-1]
            while list(exchange.ohlcvs["BTC/USDT"]["1s"]) != expected:
                await exchange.watch_ohlcv("BTC/USDT", "1s")
        finally:
            await exchange.close()

    run(scenario)


def test_ccxt_sends_a_key_by_its_headers(tmp_path: Path, redis: OwnRedis) -> None:
    """As docs/operations.md has it. Of its own it sends none for market data, even where it has one."""
    stand = Stand(tmp_path, redis, serve_api_key=KEY)
    stand.stop_clock(START_MS + 10_500)
    stand.told([trade(number, START_MS + 500 * number) for number in range(1, 20)])
    stand.finished(stand.trades)
    shown = (ROOT / "docs/operations.md").read_text()
    headers, for_streams = {"headers": {"X-API-Key": KEY}}, {"ws": {"headers": {"X-API-Key": KEY}}}
    for example in (headers, for_streams):
        assert json.dumps(example).replace(KEY, "…").strip("{}") in shown

    async def scenario() -> None:
        exchange = ccxt.pro.binance(options(stand) | headers | {"options": SPOT_ALONE | for_streams})
        try:
            assert (await exchange.fetch_ohlcv("BTC/USDT", "1s"))[0][0] == START_MS
            watched = await exchange.watch_ohlcv("BTC/USDT", "1s")
            assert watched[-1][0] >= START_MS + 9_000
        finally:
            await exchange.close()

    with stand.serving():
        run(scenario)
        with pytest.raises(ccxt.BaseError, match="the API key is missing"):
            ccxt.binance(options(stand) | {"apiKey": KEY}).fetch_ohlcv("BTC/USDT", "1s")


def _from_id(exchange: ccxt.binance, number: int) -> list[int]:
    """The ids of seven trades at most."""
    params = {"fetchTradesMethod": "publicGetHistoricalTrades", "fromId": number}
    return [int(row["id"]) for row in exchange.fetch_trades("BTC/USDT", limit=7, params=params)]
