"""The whole service over a real table and a real Redis, on a port of its own; tests write both, and own the clock."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from market.bar import Bar, bars_of
from market.latest import HEARTBEATS, position_field
from market.trade import EXCHANGES, Trade
from prices.chunks import Chunk
from prices.store import Store
from serve.binance.sockets import Limits
from serve.server import config_of
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS
from tests.serve.served import running
from tests.serve.tables import Table
from tests.support import eventually, free_ports

Answer = tuple[int, Any, Any]
"""Status, headers, and the body: JSON, or text where it is none."""


class Stand:
    """A table, a Redis, a clock and the service."""

    def __init__(self, folder: Path, redis: OwnRedis, **options: str) -> None:
        (self.port,) = free_ports(1)
        self.redis = redis
        self.table = Table(folder, redis_url=redis.url, serve_port=str(self.port), **options).create()
        self.clock: Callable[[], int] = lambda: START_MS
        self.app: Any = None
        self.limits: Limits | None = None
        """Of connections; None: Binance's."""
        self.trades: list[Trade] = []
        """All that were made."""

    @property
    def http(self) -> str:
        """Base of the routes."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """Base of the streams."""
        return f"ws://127.0.0.1:{self.port}"

    def stop_clock(self, time_ms: int, *, is_promised: bool = True) -> None:
        """It is this time, and stays it; with a heartbeat of every exchange, unless feeds are silent."""
        self.clock = lambda: time_ms
        if is_promised and self.redis.is_alive:
            promised(self.redis, time_ms)
            if self.app:
                eventually(lambda: self.app.state.live.promised_ms(EXCHANGES[0]) >= time_ms)

    def told(self, trades: Iterable[Trade]) -> None:
        """Redis gets new trades, as `prices` writes them."""
        new = list(trades)
        self.trades += new
        self.written(new)

    def written(self, trades: Iterable[Trade]) -> None:
        """Redis gets trades, which it may have had before."""
        chunk = Chunk(0, 0)
        for trade in trades:
            chunk.add(trade, trade.timestamp + 5)
        store = Store(self.redis.url, kept=10_000)
        store.write([("", chunk)])
        store.close()

    def finished(self, trades: Iterable[Trade], revision: int = 0) -> list[Bar]:
        """The table gets the bars of trades in one commit, as the job writes them."""
        bars = [replace(bar, revision=revision) for bar in bars_of(trades)]
        self.table.commit(bars)
        return bars

    def in_table(self) -> dict[int, dict[str, Any]]:
        """The bars of the table itself, by their time."""
        rows = DeltaTable(self.table.path).to_pyarrow_table().to_pylist()
        return {round(row["timestamp"].timestamp() * 1_000): row for row in rows}

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> Answer:
        """The answer to a request."""
        request = urllib.request.Request(f"{self.http}{path}", headers=headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=15) as response:
                return response.status, response.headers, _read(response)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, _read(error)

    def rows(self, path: str) -> Any:
        """What a request that is answered gets."""
        status, _, body = self.get(path)
        assert status == 200, body
        return body

    def klines(self, symbol: str = "BTCUSDT", interval: str = "1s", **parameters: Any) -> Any:
        """Klines, 1,000 of them unless another limit is asked for."""
        asked = {"symbol": symbol, "interval": interval, "limit": 1_000, **parameters}
        return self.rows("/api/v3/klines?" + "&".join(f"{name}={value}" for name, value in asked.items()))

    @contextmanager
    def serving(self) -> Iterator[Stand]:
        """While it serves, and is up to date with its table."""
        config = config_of(self.table.settings)
        self.app = config.app
        self.app.state.clock = lambda: self.clock()
        self.app.state.socket_limits = self.limits
        with running(config, self.table.settings):
            self.caught_up()
            yield self

    def caught_up(self) -> None:
        """Until the newest version of the table is served, and what runs can be told."""
        state, version = self.app.state, self.table.version
        follower = state.bars.follower
        eventually(lambda: follower.state and follower.state.version >= version and state.bars.knows_all)
        eventually(lambda: state.live.closed_ms == (state.bars.end_ms() or 0))
        if self.redis.is_alive and self.redis.client.exists(HEARTBEATS):
            eventually(lambda: state.live.promised_ms(EXCHANGES[0]))


def promised(redis: OwnRedis, time_ms: int) -> None:
    """Redis gets a heartbeat of each exchange, in the one partition of the topic."""
    store, position = Store(redis.url, kept=10_000), position_field("crypto-trades", 0)
    (offset,) = store.positions([position])
    store.begin({position: offset or 0})
    store.write([(position, Chunk(offset or 0, (offset or 0) + 1, beats=dict.fromkeys(EXCHANGES, time_ms)))])
    store.close()


def _read(response: Any) -> Any:
    body = response.read().decode()
    return json.loads(body) if response.headers.get_content_type() == "application/json" else body
