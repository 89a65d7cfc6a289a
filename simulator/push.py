"""The live push: every few milliseconds, what has been told since goes to those who asked for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import itemgetter

from simulator.clock import Clock
from simulator.connection import Connection
from simulator.markets import Market, rates
from simulator.release import Ticker, Told
from simulator.schedule import Schedule
from simulator.tape import SECOND_US, Tape

TICK_S = 0.015
_LONGEST_STEP_US = 10 * SECOND_US
"""Of exchange time: what a step can make at once is bounded, also when the program was held up."""

TradeFormat = Callable[[Market, Told], list[str]]
"""One frame for each trade."""
SecondFormat = Callable[[Ticker, range, int], list[tuple[int, str]]]
"""Frames of a market for the full seconds that begin in a step (seconds since the epoch) and end at a time in µs, each
with its event time in µs."""


@dataclass(frozen=True)
class Wanted:
    """What a client has asked for."""

    trades: dict[Market, TradeFormat] = field(default_factory=dict)
    seconds: dict[Market, SecondFormat] = field(default_factory=dict)


class Push:
    """The markets as they go on, and who follows them.

    All markets share one horizon, the time until which everything has been told. A client gets each trade told after
    the horizon of its subscription exactly once, in the order of the event times, and nothing earlier.
    """

    def __init__(self, clock: Clock, *, seed: int, rate: float, schedule: Schedule) -> None:
        """`rate`: mean trades per second of exchange time, all markets together; `schedule`: its faults."""
        self.clock = clock
        self._schedule = schedule
        self.horizon_us = clock.now_us()
        self.tickers = {
            market: Ticker(Tape(market, seed=seed, rate=market_rate)) for market, market_rate in rates(rate).items()
        }
        self._wanted: dict[Connection, Wanted] = {}

    @property
    def connections(self) -> int:
        """How many clients there are."""
        return len(self._wanted)

    def follow(self, connection: Connection, wanted: Wanted) -> None:
        """From now on send the connection what it wants, and nothing else."""
        self._wanted[connection] = wanted

    def leave(self, connection: Connection) -> None:
        """Send the connection nothing more."""
        self._wanted.pop(connection, None)

    def abort(self) -> None:
        """Cut every connection off."""
        for connection in list(self._wanted):
            connection.abort()

    async def run(self) -> None:
        """Push until cancelled."""
        while True:
            now_us = self.clock.now_us()
            while self.horizon_us < now_us:
                self._step(min(now_us, self.horizon_us + _LONGEST_STEP_US))
                await asyncio.sleep(0)
            self._sweep()
            await asyncio.sleep(TICK_S)

    def _sweep(self) -> None:
        """Let the faults of whole connections strike, all in the same moment, and send what was held back."""
        for connection in list(self._wanted):
            connection.sweep(self.clock)
        self._schedule.swept(time.monotonic())

    def _step(self, until_us: int) -> None:
        after_us, self.horizon_us = self.horizon_us, until_us
        seconds = range(after_us // SECOND_US + 1, until_us // SECOND_US + 1)
        told: dict[Market, Told] = {}
        made: dict[tuple[Market, object], list[tuple[int, str]]] = {}

        def trade_frames(market: Market, form: TradeFormat) -> list[tuple[int, str]]:
            if (market, form) not in made:
                if market not in told:
                    told[market] = self.tickers[market].told(after_us, until_us)
                news = told[market]
                texts = form(market, news) if len(news.events_us) else []
                made[market, form] = list(zip(news.events_us.tolist(), texts, strict=True))
            return made[market, form]

        def second_frames(market: Market, form: SecondFormat) -> list[tuple[int, str]]:
            if (market, form) not in made:
                made[market, form] = form(self.tickers[market], seconds, until_us)
            return made[market, form]

        for connection, wanted in self._wanted.items():
            frames: list[tuple[int, str]] = []
            for market, form in wanted.trades.items():
                frames += trade_frames(market, form)
            if seconds:
                for market, second_form in wanted.seconds.items():
                    frames += second_frames(market, second_form)
            if frames:
                frames.sort(key=itemgetter(0))
                connection.send([text for _, text in frames])
