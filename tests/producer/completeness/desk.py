"""A back-fill at work, and what it is given and hands on: what its tests share."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

from market.gap import Gap
from market.trade import Trade
from producer.completeness.backfill import Backfill
from producer.completeness.sequence import Hole, Sequences
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import Venue, venues_of
from producer.feeds.rest import Rest

TIME_MS = 1_700_000_000_000
BINANCE, COINBASE = venues_of("simulator", simulator="127.0.0.1:1")


class ScriptedRest:
    """Answers as Binance does, with the trades of ids that it has; before that, raises what it is told to."""

    def __init__(self, have: Sequence[int] = (), errors: Sequence[Exception] = ()) -> None:
        self.have = set(have)
        self.errors = list(errors)
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None
        """Answers wait for it."""
        self.answers: dict[str, Any] = {}
        """Path, without its query → answer."""
        self.newest: int | None = None
        """The id of the newest trade that it tells of; None: the highest that it has."""
        self.time_ms: Callable[[int], int] = lambda number: TIME_MS
        """The time of each trade."""

    async def get(self, path: str, *, weight: int = 1) -> Any:
        """The answer to a request."""
        self.asked.append(path)
        if self.held:
            await self.held.wait()
        if self.errors:
            raise self.errors.pop(0)
        if (known := self.answers.get(path.partition("?")[0])) is not None:
            return known
        if path.startswith("/api/v3/aggTrades?"):
            newest = max(self.have, default=0) if self.newest is None else self.newest
            return [{"f": newest, "l": newest, "T": TIME_MS}]
        match = re.fullmatch("/api/v3/historicalTrades[?]symbol=([A-Z]+)&fromId=([0-9]+)&limit=([0-9]+)", path)
        assert match, path
        ids = sorted(number for number in self.have if number >= int(match[2]))[: int(match[3])]
        return [self.row(number) for number in ids]

    def row(self, number: int) -> dict[str, Any]:
        """One row of historicalTrades."""
        time_ms = self.time_ms(number)
        return {"id": number, "price": "1.50", "qty": "2", "time": time_ms, "isBuyerMaker": True}

    def pages(self) -> list[tuple[str, int, int]]:
        """What was asked for, as symbol, first id and number of trades."""
        found = (re.search("symbol=([A-Z]+)&fromId=([0-9]+)&limit=([0-9]+)", path) for path in self.asked)
        return [(match[1], int(match[2]), int(match[3])) for match in found if match]


class Desk:
    """Holds the sequences of one exchange, and notes what goes out of them and what is reported."""

    def __init__(self, rest: Rest | ScriptedRest, venue: Venue = BINANCE, **options: Any) -> None:
        self.sequences = Sequences(wait_s=options.pop("wait_s", 0.2), grace_s=0.0)
        self.out: list[Trade] = []
        self.gaps: list[Gap] = []
        self.passed_over: list[str] = []
        products = options.pop("products", {"BTCUSDT": "BTCUSDT", "ETHUSDT": "ETHUSDT", "BTCUSD": "BTC-USD"})
        self.backfill = Backfill(
            venue,
            products,
            cast(Rest, rest),
            self.sequences,
            deliver=self._deliver,
            release=self._release,
            tell=self._tell,
            **{"pauses_s": (0.02, 0.02, 0.02), **options},
        )

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Back-fill, and let go what is due, until the block is left."""
        tasks = [asyncio.create_task(self.backfill.run()), asyncio.create_task(self._let_go())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task

    def take(self, *trades: Trade) -> None:
        """Live trades come."""
        for trade in trades:
            self.out += self.sequences.take(trade, time.monotonic())

    def ids(self, symbol: str = "BTCUSDT") -> list[int]:
        """The ids that went out."""
        return [trade.trade_id for trade in self.out if trade.symbol == symbol]

    def told(self) -> list[tuple[str, int, int, str]]:
        """The gap records, shortened."""
        return [(gap.status, gap.first_trade_id, gap.last_trade_id, gap.cause) for gap in self.gaps]

    def _tell(self, hole: Hole, status: str, cause: str) -> None:
        found_ms = time.time_ns() // 1_000_000
        symbol, first, last, after_ms, before_ms, _ = hole
        self.gaps.append(Gap("sim-binance", symbol, first, last, status, cause, found_ms, after_ms, before_ms))

    async def _deliver(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self.take(*outcome.trades)
            if outcome.passed_over:
                self.passed_over.append(outcome.passed_over)

    async def _release(self, trades: Sequence[Trade]) -> None:
        self.out += trades

    async def _let_go(self) -> None:
        while True:
            self.out += self.sequences.due(time.monotonic())
            await asyncio.sleep(0.005)
