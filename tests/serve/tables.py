"""Tables of bars for the service to follow: written, compacted and replaced by the project's own writers."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

from bars.append import append
from bars.tables import BARS, create
from bars.upkeep.passes import Did, upkeep
from market import settings as market_settings
from market.bar import Bar, bars_of
from market.settings import Settings
from market.trade import Trade
from market.widths import DAY_MS, SECOND_MS
from tests.bars.scene import schema_of

START_MS = 1_723_161_600_000
"""2024-08-09, 00:00."""


class Table:
    """A table in a folder, as the job would make it; and settings with which the service finds it."""

    def __init__(self, folder: Path, **options: str) -> None:
        folders = {
            name: str(folder / name.removesuffix("_dir")) for name in ("output_dir", "checkpoint_dir", "rollup_dir")
        }
        own = {"kafka_bootstrap": "none:1", "redis_url": "redis://127.0.0.1:1/0", "serve_rate": "0"}
        self.settings: Settings = market_settings.load({}, None, folders | own | options)
        self.path = BARS.path(self.settings)
        self._commits = 0

    def create(self) -> Table:
        """An empty table."""
        create(BARS, self.path)
        return self

    def commit(self, bars: Iterable[Bar]) -> int:
        """Appends bars as the job does, in one commit. Returns the version."""
        rows = [row_of(bar) for bar in bars]
        self._commits += 1
        append(pa.Table.from_pylist(rows, schema_of(BARS)), self.path, app_id="test", version=self._commits)
        return self.version

    def traded(self, trades: Iterable[Trade]) -> int:
        """Appends the bars of trades."""
        return self.commit(bars_of(trades))

    def replace(self) -> None:
        """Deletes the table, and makes another one under its name."""
        shutil.rmtree(self.path)
        self.create()

    def keep(self, now_ms: int = START_MS, **changed: Any) -> Did:
        """A pass of upkeep over it."""
        (did,) = upkeep(replace(self.settings, **changed), now_ms=now_ms)
        return did

    @property
    def version(self) -> int:
        """The newest one."""
        return int(DeltaTable(self.path).version())


def row_of(bar: Bar) -> dict[str, Any]:
    """A bar as a row of the table."""
    moment = datetime.fromtimestamp(bar.timestamp / 1000, UTC)
    return asdict(bar) | {"timestamp": moment, "date": moment.date()}


def walk(
    seconds: Sequence[int], *, exchange: str = "binance", symbol: str = "BTCUSDT", seed: int = 1, first_id: int = 1
) -> list[Trade]:
    """Trades of a symbol in these seconds (starts, in ms), one to four in each, without a missing id."""
    return list(_walk(random.Random(seed), seconds, exchange, symbol, first_id))


def _walk(chance: random.Random, seconds: Sequence[int], exchange: str, symbol: str, first_id: int) -> Iterator[Trade]:
    price, number = 4_215_050, first_id
    for start in seconds:
        times = sorted(chance.randrange(SECOND_MS) for _ in range(chance.randint(1, 4)))
        for time_ms in times:
            price += chance.randint(-50, 50)
            quantity = f"0.{chance.randrange(1, 10**8):08}"
            text = f"{price // 100}.{price % 100:02}"
            yield Trade(exchange, symbol, text, quantity, start + time_ms, number, chance.random() < 0.5)
            number += 1


def some_of_days(days: int, per_day: int, *, seed: int = 1) -> list[int]:
    """Starts of seconds, so many in each day, anywhere in it; the last of each day and the first are among them."""
    chance = random.Random(seed)
    found: set[int] = set()
    for day in range(days):
        begin = START_MS + day * DAY_MS
        found |= {begin, begin + DAY_MS - SECOND_MS}
        found |= {begin + second * SECOND_MS for second in chance.sample(range(1, 86_399), per_day)}
    return sorted(found)


def every_second(first_ms: int, number: int) -> list[int]:
    """Starts of consecutive seconds."""
    return [first_ms + second * SECOND_MS for second in range(number)]


def in_batches(bars: Sequence[Bar], size: int) -> Iterator[Sequence[Bar]]:
    """Bars in the order of time, so many at once, as commits bring them."""
    ordered = sorted(bars, key=lambda bar: (bar.timestamp, bar.exchange, bar.symbol))
    for at in range(0, len(ordered), size):
        yield ordered[at : at + size]
