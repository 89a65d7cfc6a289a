"""Bars held to klines: recorded ones of a real exchange, and the simulated exchanges' own, asked over HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.aggregate import to_bars
from bars.audit.intervals import KlineProof
from bars.audit.klines import exchange_of, hold, opened, rolled_up
from market import bar as definition
from market.bar import bars_of
from market.klines import KlineError, read_klines, told_by
from market.trade import Trade
from simulator.clock import Clock
from simulator.markets import plain
from simulator.server import Simulator, serve
from tests import recordings
from tests.bars.frames import elements
from tests.simulator.clients import START_US, tape_of

START_MS = START_US // 1_000 - 30_000
"""A whole minute."""
MINUTE = 60_000


@pytest.fixture(scope="module")
def simulated() -> Iterator[Simulator]:
    """A simulated exchange at a time that almost stands still."""
    ready, end = threading.Event(), threading.Event()
    found: list[Simulator] = []

    async def main() -> None:
        async with serve(rate=200.0, clock=Clock(start_us=START_US, speed=0.001)) as simulator:
            found.append(simulator)
            ready.set()
            while not end.is_set():
                await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        end.set()
        thread.join(timeout=30)


def trades_of(simulator: Simulator, symbol: str, exchange: str, start_ms: int, end_ms: int) -> list[Trade]:
    market, tape = tape_of(simulator, symbol)
    return [
        Trade(
            exchange,
            symbol.replace("-", ""),
            plain(price, market.price_decimals),
            plain(quantity, market.quantity_decimals),
            time_us // 1_000,
            number,
            maker,
        )
        for number, time_us, price, quantity, maker in tape.between(start_ms * 1_000, end_ms * 1_000).rows()
    ]


def table_of(spark: SparkSession, trades: list[Trade]) -> DataFrame:
    return to_bars(elements(spark, trades)).cache()


def held(
    bars: DataFrame, origin: str, exchange: str | None = None, *, watermark_ms: int = 4_000_000_000_000
) -> KlineProof:
    told = told_by(origin)
    assert told.symbol is not None
    with opened(origin) as content:
        klines = read_klines(content, origin, told.width_ms)
        proof = KlineProof(
            origin,
            exchange_of(bars, klines, told.symbol, exchange, origin),
            told.symbol,
            klines.width_ms,
            klines.fields,
        )
        hold(bars, klines, proof, watermark_ms=watermark_ms, gaps=[])
    return proof


@pytest.mark.spark
@pytest.mark.long
def test_recorded_futures_equal_the_exchanges_klines(spark: SparkSession, tmp_path: Path) -> None:
    """Five recorded minutes, from the exchange's file as it was published; with one trade less, one minute differs."""
    file = tmp_path / "BTCUSDT-1m-2024-08-08.csv"
    file.write_bytes(recordings.path("matched_usdm/BTCUSDT_um_1m_klines_2024-08-08T2355-2359.csv").read_bytes())
    trades = recordings.usdm_trades()
    proof = held(table_of(spark, trades), str(file))
    assert (proof.exchange, proof.equal, proof.compared, proof.holds) == ("binance-usdm", 5, 5, True)
    (lost,) = [trade for trade in trades if trade.timestamp >= 1_723_161_480_000][:1]
    proof = held(table_of(spark, [trade for trade in trades if trade != lost]), str(file))
    assert (proof.equal, proof.different, proof.holds) == (4, 1, False)
    assert proof.differences[0].startswith("2024-08-08 23:58:00: ")


@pytest.mark.spark
@pytest.mark.long
def test_simulated_klines_of_binance(spark: SparkSession, simulated: Simulator) -> None:
    """Seconds, many of them quiet, and minutes, over HTTP: equal in all fields; beside the range nothing differs."""
    start_ms = START_MS - 10 * MINUTE
    trades = trades_of(simulated, "LTCUSDT", "sim-binance", start_ms + 20_500, START_MS - 20_500)
    bars = table_of(spark, trades)
    route = f"{simulated.http}/api/v3/klines?symbol=LTCUSDT&startTime={start_ms}&endTime={START_MS - 1}"
    seconds = held(bars, f"{route}&interval=1s&limit=1000")
    covered = (trades[-1].timestamp // 1_000) - (trades[0].timestamp // 1_000) + 1
    traded = {trade.timestamp // 1_000 for trade in trades}
    assert (seconds.different, seconds.open, seconds.absent) == (0, 0, 0)
    assert seconds.equal + seconds.edges == len(traded)
    assert seconds.edges <= 2
    assert seconds.quiet == covered - len(traded) > 0
    minutes = held(bars, f"{route}&interval=1m")
    assert (minutes.equal, minutes.edges, minutes.holds) == (8, 2, True)
    assert (held(bars, f"{route}&interval=1m", watermark_ms=START_MS - 2 * MINUTE).open) == 2
    minute = F.unix_millis("timestamp").between(START_MS - 5 * MINUTE, START_MS - 4 * MINUTE - 1)
    revised = bars.filter(minute).withColumn("high", (F.col("high") + 1).cast("decimal(18,8)"))
    proof = held(bars.unionByName(revised.withColumn("revision", F.lit(1))), f"{route}&interval=1m")
    assert (proof.equal, proof.edges, proof.different) == (7, 2, 1)


@pytest.mark.spark
@pytest.mark.long
def test_simulated_candles_of_coinbase(spark: SparkSession, simulated: Simulator) -> None:
    """Minutes without trades are in neither; five fields are compared, newest first, the running candle excepted."""
    start_ms = START_MS - 60 * MINUTE
    bars = table_of(spark, trades_of(simulated, "BTC-USD", "sim-coinbase", start_ms, START_MS + 20_000))
    proof = held(bars, f"{simulated.http}/products/BTC-USD/candles?granularity=60")
    assert proof.fields == ("open", "high", "low", "close", "volume")
    assert (proof.different, proof.edges, proof.holds) == (0, 1, True)
    assert 50 < proof.equal <= 60


@pytest.mark.spark
def test_spark_rolls_up_by_the_definition(spark: SparkSession, simulated: Simulator) -> None:
    """What the klines are held to is what plain Python makes of the same bars, at any width and phase."""
    trades = trades_of(simulated, "LTCUSDT", "sim-binance", START_MS - 5 * MINUTE, START_MS)
    bars = table_of(spark, trades)
    for width_ms, phase_ms in ((1_000, 0), (MINUTE, 0), (7_000, 3_000)):
        expected = {bar.timestamp: bar for bar in definition.rolled_up(bars_of(trades), width_ms, phase_ms)}
        rows = rolled_up(bars, width_ms, phase_ms).collect()
        assert {row["start_ms"] for row in rows} == expected.keys()
        for row in rows:
            names = [name for name in row.asDict() if name != "start_ms"]
            assert {name: row[name] for name in names} == {
                name: getattr(expected[row["start_ms"]], name) for name in names
            }


@pytest.mark.spark
def test_whose_bars_are_meant(spark: SparkSession, tmp_path: Path) -> None:
    """The only exchange of the klines' kind that has bars of the symbol; else a person has to say."""
    some = [
        Trade(exchange, "BTCUSDT", "1", "1", START_MS, 1, False) for exchange in ("binance", "binance-usdm", "coinbase")
    ]
    file = tmp_path / "BTCUSDT-1m-2024-01-01.csv"
    file.write_text(f"{START_MS},1,1,1,1,1,{START_MS + MINUTE - 1},1,1,1,1,0\n")

    def refusal(trades: list[Trade], exchange: str | None = None) -> str:
        with pytest.raises(KlineError) as caught:
            held(table_of(spark, trades), str(file), exchange)
        return str(caught.value)

    assert held(table_of(spark, some[1:]), str(file)).exchange == "binance-usdm"
    assert held(table_of(spark, some), str(file), "binance").equal == 1
    assert refusal(some) == f"{file}: BTCUSDT is in the table of binance, binance-usdm. Say which with --exchange"
    assert refusal(some[2:]) == (
        f"{file}: the table has no bars of BTCUSDT on an exchange of binance; it has BTCUSDT of: coinbase. "
        "Say which is meant with --exchange and --symbol"
    )
    assert refusal(some[:1], "sim-binance") == (
        f"{file}: the table has no bars of BTCUSDT on sim-binance; it has BTCUSDT of: binance. "
        "Say which is meant with --exchange and --symbol"
    )


@contextmanager
def refused() -> Iterator[list[str]]:
    said: list[str] = []
    with pytest.raises(KlineError) as caught:
        yield said
    said.append(str(caught.value))


def test_what_cannot_be_had_is_told(simulated: Simulator, tmp_path: Path) -> None:
    """No such file, no such host, and an exchange that refuses, in its own words."""
    with refused() as said, opened(str(tmp_path / "none.csv")):
        pass
    assert said == [
        f"{tmp_path}/none.csv cannot be read ([Errno 2] No such file or directory: '{tmp_path}/none.csv'). "
        "Expected is a file or an http(s) address"
    ]
    with refused() as said, opened("http://127.0.0.1:1/api/v3/klines"):
        pass
    assert said == [
        "http://127.0.0.1:1/api/v3/klines cannot be read (<urlopen error [Errno 111] Connection refused>). "
        "Expected is a file or an http(s) address"
    ]
    for address in ("https://localhost/klines?symbol=BTC USDT", "http://localhost:abc/klines"):
        with refused() as said, opened(address):
            pass
        assert said[0].startswith(f"{address} cannot be read (")
    with pytest.raises(KlineError, match="is no address that can be read: Invalid IPv6 URL"):
        told_by("http://[x")
    address = f"{simulated.http}/api/v3/klines?symbol=NONE&interval=1m"
    with refused() as said, opened(address):
        pass
    answer = json.dumps({"code": -1121, "msg": "Invalid symbol."}, separators=(",", ":"))
    assert said == [f"{address} answers HTTP 400: {answer}"]
