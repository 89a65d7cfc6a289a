"""How fast the query service answers on one core, while trades and bars go on coming; and whether its memory is flat.

The service is bound to one core; the load generator (vegeta), Redis, and what writes to it and to the table have the
others. The load is open: each request has its time, whether those before it are answered or not, and waits from that
time on. Each second a commit brings every symbol's bar, a few seconds behind the trades in Redis, as the job does. All
answers have to be 200, and memory has to stay as it is; in the end the klines that are served have to be what plain
Python makes of the trades. Clients of the streams and of the page are connected all the while, and have to be served to
the end. Linux only, with vegeta (https://github.com/tsenart/vegeta/releases).
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from deltalake import DeltaTable

from bars.append import append
from bars.tables import BARS, create
from bench import result
from bench.attack import attack, body, status
from bench.broker import free_ports
from bench.listeners import listening
from bench.load import SYMBOLS, Load
from bench.meters import waited
from bench.prices import part, until
from local.redis_server import RedisServer
from market.bar import Bar, bars_of
from prices.chunks import Chunk
from prices.store import Store

ROUTES = {
    "price": "/price/{symbol}",
    "klines": "/api/v3/klines?symbol={symbol}&interval=1s&limit=1000",
    "bars": "/bars/{symbol}?interval=1s&limit=1000",
}
SELDOM = {"bars": 5}
"""Routes that are asked for at a part of the rate: this answer is the largest, and of each row what lacks is told."""
HISTORY_S = 4_000
"""Seconds of bars that are there when it begins: more than `SERVE_RECENT` has the service hold, so that its memory is
full before it is watched."""
WATERMARK_S = 3
"""How far the table is behind the trades."""
FIELD = "bench:0"
TICK_S = 0.05
STREAMS = [
    *(f"{symbol.lower()}@kline_{interval}" for symbol in SYMBOLS for interval in ("1s", "1h")),
    f"{SYMBOLS[0].lower()}@trade",
    "!miniTicker@arr",
]
"""What clients listen to while everything is measured, beside a page."""
PAGES = [f"/page/stream?exchange=binance&symbol={SYMBOLS[0]}&interval=1s"]
NEWS = 60
"""Commits of which it is measured how soon they are served."""
MOST_GROWTH = 0.05
"""Of memory, between the second quarter of the time that it is watched and the last: more is not flat."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.serve", description=__doc__.split("\n\n")[0])
    parser.add_argument("--reads", type=int, default=500, help="requests per second; default 500, of /bars 100")
    parser.add_argument("--seconds", type=int, default=60, help="measured of each route; default 60")
    parser.add_argument("--memory-s", type=int, default=600, help="how long memory is watched then; default 600")
    parser.add_argument("--symbols", type=int, default=5, help="asked for at the same time; default 5")
    parser.add_argument("--rate", type=int, default=2_000, help="trades per second meanwhile; default 2000")
    arguments = parser.parse_args()
    if arguments.memory_s < 60:
        parser.error("--memory-s: a minute at least, of which quarters are compared")
    if not shutil.which("vegeta") or (os.cpu_count() or 1) < 2:
        raise SystemExit("this wants two cores, and vegeta in the PATH: https://github.com/tsenart/vegeta/releases")
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:])  # children have it from here
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as name:
        figures = _measured(Path(name), cores[0], arguments)
    print(result.write("serve", figures, settings=vars(arguments) | {"watermark_s": WATERMARK_S}))
    for name, found in figures.items():
        if name not in ("samples", "listeners"):
            print(f"{name:8} {found}")


def _measured(folder: Path, core: int, arguments: argparse.Namespace) -> dict[str, Any]:
    redis_port, port = free_ports(2)
    redis = RedisServer(folder=folder / "redis", port=redis_port)
    redis.prepare()
    environment = os.environ | {
        "KAFKA_BOOTSTRAP": "none:1",  # the service asks none; without one, the tables are those of the local stack
        "REDIS_URL": redis.url,
        "OUTPUT_DIR": str(folder / "data"),
        "CHECKPOINT_DIR": str(folder / "checkpoints"),
        "SERVE_PORT": str(port),
    }
    table = folder / "data" / BARS.name
    table.parent.mkdir(parents=True)
    with part("redis", redis.command(), environment, folder):
        until(redis.is_ready, "Redis does not answer")
        with Market(Load(arguments.rate, (int(time.time()) - HISTORY_S) * 1000), table, redis.url) as market:
            command = ["taskset", "-c", str(core), sys.executable, "-m", "serve"]
            with part("serve", command, environment, folder) as serve:
                until(lambda: status(port, "/readyz") == 200, "the service is not ready")
                with listening(port, STREAMS, PAGES) as listeners:
                    figures = {name: _route(port, serve, name, arguments) for name in ROUTES}
                    figures["commit"] = _news(port, market)
                    figures["commit_under_load"] = _news_under_load(port, market, arguments)
                    samples = _memory(port, serve, arguments)
                    figures["listeners"] = listeners.told()
                wrong = _wrong(port, market)
    if wrong:
        raise SystemExit(f"{wrong} klines are not what the trades make")
    quarter = max(1, len(samples) // 4)
    then, now = statistics.median(samples[quarter : 2 * quarter]), statistics.median(samples[-quarter:])
    if now > then * (1 + MOST_GROWTH):
        raise SystemExit(f"memory is not flat: {then} MiB in the second quarter, {now} MiB in the last: {samples}")
    return figures | {
        "memory": {"second_quarter_mib": then, "last_quarter_mib": now, "max_mib": max(samples)},
        "checked": {"klines": 1_000, "wrong": wrong},
        "samples": samples,
    }


class Market:
    """What prices and the job would write, at its time, in a thread of its own."""

    def __init__(self, load: Load, table: Path, redis_url: str) -> None:
        self.bars: dict[int, Bar] = {}
        """Those of the first symbol, by their time."""
        self.commits: dict[int, float] = {}
        """When the commit of a second began, by the second's time; in s."""
        self._load, self._table, self._store = load, table, Store(redis_url, kept=10_000)
        self._commits = self._sent = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failed: list[BaseException] = []

    def __enter__(self) -> Market:
        create(BARS, self._table)
        self._schema = pa.schema(DeltaTable(self._table).schema().to_arrow())
        rate, done = self._load.rate, self._due() // self._load.rate - WATERMARK_S - 30
        for first in range(0, done, 60):
            self._commit(self._load.trade(number) for number in range(first * rate, min(first + 60, done) * rate))
        self._second = done
        self._sent = (done - WATERMARK_S) * rate
        self._store.begin({FIELD: self._sent})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._store.close()
        if self._failed:
            raise SystemExit(f"the market has failed: {self._failed[0]!r}")

    def _due(self) -> int:
        return self._load.due(time.time())

    def _run(self) -> None:
        try:
            while not self._over.wait(TICK_S):
                self._trade()
                rate = self._load.rate
                if self._due() // rate - WATERMARK_S > self._second:
                    numbers = range(self._second * rate, (self._second + 1) * rate)
                    self._commit(map(self._load.trade, numbers))
                    self._second += 1
        except BaseException as error:
            self._failed.append(error)
            raise

    def _trade(self) -> None:
        due = self._due()
        chunks = []
        for first in range(self._sent, due, 500):
            chunk = Chunk(first, min(first + 500, due))
            for number in range(chunk.start, chunk.end):
                trade = self._load.trade(number)
                chunk.add(trade, trade.timestamp)
            chunks.append((FIELD, chunk))
        self._store.write(chunks)
        self._sent = due

    def _commit(self, trades: Iterable[Any]) -> None:
        bars = bars_of(trades)
        self.bars |= {bar.timestamp: bar for bar in bars if bar.symbol == SYMBOLS[0]}
        self._commits += 1
        rows = pa.Table.from_pylist(list(map(_row, bars)), self._schema)
        self.commits |= {bar.timestamp: time.time() for bar in bars[-1:]}
        append(rows, self._table, app_id="bench", version=self._commits)


def _row(bar: Bar) -> dict[str, Any]:
    moment = datetime.fromtimestamp(bar.timestamp / 1000, UTC)
    return asdict(bar) | {"timestamp": moment, "date": moment.date()}


def _paths(route: str, arguments: argparse.Namespace) -> list[str]:
    return [route.format(symbol=symbol) for symbol in SYMBOLS[: arguments.symbols]]


def _route(port: int, serve: psutil.Process, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """What clients of a route waited, in ms, and the part of a core it took."""
    paths, reads = _paths(ROUTES[name], arguments), arguments.reads // SELDOM.get(name, 1)
    attack(port, paths, 5, reads)
    before = serve.cpu_times()
    waits = attack(port, paths, arguments.seconds, reads)
    after = serve.cpu_times()
    return waited(waits) | {
        "requests_per_s": round(len(waits) / arguments.seconds, 1),
        "bytes": len(body(port, paths[0])),
        "core": round((after.user + after.system - before.user - before.system) / arguments.seconds, 2),
        "resident_mib": serve.memory_info().rss // 2**20,
    }


def _news(port: int, market: Market) -> dict[str, Any]:
    """From the beginning of a commit, which takes some time itself, until its bar is answered; in ms."""
    waits: list[float] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    last_ms = 0
    while len(waits) < NEWS:
        connection.request("GET", f"/bars/{SYMBOLS[0]}?interval=1s&limit=1")
        newest_ms = json.loads(connection.getresponse().read())["bars"][0]["timestamp"]
        if last_ms and newest_ms > last_ms:
            waits.append((time.time() - market.commits[newest_ms]) * 1_000)
        last_ms = newest_ms
        time.sleep(0.005)
    connection.close()
    return {"p50_ms": round(statistics.median(waits), 1), "max_ms": round(max(waits), 1), "commits": len(waits)}


def _news_under_load(port: int, market: Market, arguments: argparse.Namespace) -> dict[str, Any]:
    """The same while prices are asked for."""
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(attack, port, _paths(ROUTES["price"], arguments), NEWS, arguments.reads)
        found = _news(port, market)
        load.result()
    return found


def _memory(port: int, serve: psutil.Process, arguments: argparse.Namespace) -> list[int]:
    """Resident MiB of the service each 10 s, while every route is asked in turn."""
    samples = []
    paths = [path for route in ROUTES.values() for path in _paths(route, arguments)]
    for _ in range(0, arguments.memory_s, 10):
        attack(port, paths, 10, arguments.reads // max(SELDOM.values()))
        samples.append(serve.memory_info().rss // 2**20)
    return samples


def _wrong(port: int, market: Market) -> int:
    """How many of a thousand klines are not what plain Python made of the trades, in every field."""
    last_ms = max(market.bars)
    query = f"symbol={SYMBOLS[0]}&interval=1s&limit=1000&endTime={last_ms - 5_000}"
    rows = json.loads(body(port, f"/api/v3/klines?{query}"))
    expected = [market.bars[time_ms] for time_ms in sorted(market.bars) if time_ms <= last_ms - 5_000][-1_000:]
    return abs(len(rows) - len(expected)) + sum(
        _told(row) != _expected(bar) for row, bar in zip(rows, expected, strict=False)
    )


def _told(row: list[Any]) -> list[Any]:
    return [Decimal(value) if isinstance(value, str) else value for value in row[:11]]


def _expected(bar: Bar) -> list[Any]:
    """https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints#klinecandlestick-data"""
    return [
        bar.timestamp,
        *(bar.open, bar.high, bar.low, bar.close, bar.volume),
        bar.timestamp + 999,
        *(bar.quote_volume, bar.trade_count, bar.taker_buy_volume, bar.taker_buy_quote_volume),
    ]


if __name__ == "__main__":
    main()
