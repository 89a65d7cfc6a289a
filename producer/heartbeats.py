"""Heartbeats: each second, a time of the exchange up to which every trade is safe in Kafka.

A heartbeat closes seconds in which nobody trades, so it must never run ahead of a trade: not of one that is still on
its way from the exchange, not of one that waits here for a missing one, and not of one that Kafka has not got.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Never, Protocol

from market.trade import Heartbeat
from producer.exchanges.venues import Clock
from producer.feeds.answers import FeedRefusedError
from producer.feeds.rest import Rest, RestError, RestRefusedError
from producer.feeds.watch import Skew

log = logging.getLogger(__name__)

BEAT_S = 1.0
"""Seconds between two heartbeats of an exchange."""
MARGIN_MS = 1_000
"""An exchange's clock may run ahead of trades on their way; up to 214 ms were recorded."""
_CLOCK_AGE_S = 600.0
_CLOCK_RETRY_S = 10.0


class Upstream(Protocol):
    """What a heartbeat has to know of the exchange's trades."""

    async def settle(self) -> int | None:
        """Return when everything sent until now has been dealt with; the time that the frames told, if they do.

        Raises `ConnectionError` where that cannot be had now.
        """

    def sessions(self) -> tuple[int, ...]:
        """Numbers that change whenever a connection was made anew."""


class Downstream(Protocol):
    """What a heartbeat has to know of Kafka."""

    async def acknowledged(self) -> None:
        """Return when Kafka has everything that was handed on before."""

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat."""


class Heart:
    """Beats for one exchange."""

    def __init__(
        self, exchange: str, upstream: Upstream, downstream: Downstream, rest: Rest, clock: Clock | None
    ) -> None:
        """`clock`: where the exchange tells its time; None where its frames do."""
        self._exchange = exchange
        self._upstream = upstream
        self._downstream = downstream
        self._clock = ServerClock(exchange, rest, clock) if clock else None
        self._told_ahead_ms = 0.0

    @property
    def offset_ms(self) -> float | None:
        """The exchange's clock less ours; None where it is not measured."""
        return self._clock.offset_ms if self._clock else None

    @property
    def ahead_ms(self) -> int:
        """How far the exchange's clock is ahead of ours, at least as far as is known; 0 where ours is."""
        offset_ms = self.offset_ms
        return int(max(self._told_ahead_ms if offset_ms is None else offset_ms, 0))

    def told(self, clock_ms: int) -> None:
        """A frame has told the exchange's time: its clock is at least there by now."""
        self._told_ahead_ms = clock_ms - time.time_ns() / 1_000_000

    async def beat(self) -> Never:
        """Send heartbeats for ever."""
        last_ms = 0
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                time_ms = await self._safe_time_ms()
            except ConnectionError as error:
                log.debug("%s: no heartbeat: %s", self._exchange, error)
                continue
            if time_ms > last_ms:  # a clock that stands is an exchange that is silent
                await self._downstream.acknowledged()
                self._downstream.heartbeat(Heartbeat(self._exchange, time_ms))
                last_ms = time_ms

    async def _safe_time_ms(self) -> int:
        """A time of the exchange up to which everything has been handed on. Raises `ConnectionError`."""
        asked_ms = None if self._clock is None else await self._clock.time_ms(self._upstream.sessions())
        told_ms = await self._upstream.settle()
        if asked_ms is None and told_ms is None:
            raise ConnectionError(f"{self._exchange} has not told its time yet")
        exchange_ms = asked_ms if asked_ms is not None else told_ms or 0
        # Either clock may be wrong. The one that is behind holds back a heartbeat, which at worst closes a quiet second
        # late; the one that is ahead would make trades late.
        return min(exchange_ms, time.time_ns() // 1_000_000) - MARGIN_MS


class ServerClock:
    """The exchange's clock against ours, measured at each connection and every ten minutes."""

    def __init__(self, exchange: str, rest: Rest, clock: Clock, now_s: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._rest = rest
        self._clock = clock
        self._now_s = now_s
        self._skew = Skew()
        self._sessions: tuple[int, ...] | None = None
        self._read_s = self._asked_s = float("-inf")

    @property
    def offset_ms(self) -> float | None:
        """Its clock less ours; None before it was asked."""
        return self._skew.ahead_ms(self._now_s(), time.time_ns() / 1_000_000)

    async def time_ms(self, sessions: tuple[int, ...]) -> int:
        """What its clock has reached for certain. Raises `ConnectionError` where it was never read."""
        now_s = self._now_s()
        stale = sessions != self._sessions or now_s - self._read_s >= _CLOCK_AGE_S
        if stale and now_s - self._asked_s >= _CLOCK_RETRY_S and not self._rest.banned_for_s:
            self._asked_s = now_s
            await self._ask(sessions)
        earliest_ms = self._skew.earliest_ms(self._now_s())
        if earliest_ms is None:
            raise ConnectionError(f"{self._exchange}: the clock is not known yet")
        return earliest_ms

    async def _ask(self, sessions: tuple[int, ...]) -> None:
        """Measure it. Where that fails, the last measurement goes on, less exact with every second."""
        try:
            answer = await self._rest.timed(self._clock.path)
            server_ms = self._clock.time_ms_of(answer.content)
        except (RestError, RestRefusedError, FeedRefusedError, LookupError, TypeError) as error:
            log.warning("%s: its clock cannot be read: %s", self._exchange, error)
            return
        self._skew.add(answer.sent_s, answer.received_s, server_ms)
        self._sessions, self._read_s = sessions, self._now_s()
