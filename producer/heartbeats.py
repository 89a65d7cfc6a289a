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

    @property
    def offset_ms(self) -> float | None:
        """The exchange's clock less ours; None where it is not measured."""
        return self._clock.offset_ms if self._clock else None

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
        self.offset_ms: float | None = None
        """Its clock less ours, when it was last asked: half of the request's time has passed when it answers."""
        self._exchange = exchange
        self._rest = rest
        self._clock = clock
        self._now_s = now_s
        self._read: tuple[tuple[int, ...], int, float] | None = None
        self._asked_s = float("-inf")

    async def time_ms(self, sessions: tuple[int, ...]) -> int:
        """What its clock has reached at least. Raises `ConnectionError` where it cannot be read."""
        if self._read is None or self._read[0] != sessions or self._now_s() - self._read[2] >= _CLOCK_AGE_S:
            await self._ask(sessions)
        assert self._read is not None
        _, server_ms, read_s = self._read
        return server_ms + int((self._now_s() - read_s) * 1000)

    async def _ask(self, sessions: tuple[int, ...]) -> None:
        started_s = self._now_s()
        if started_s - self._asked_s < _CLOCK_RETRY_S and self._read is None:
            raise ConnectionError(f"{self._exchange}: the clock is not known yet")
        self._asked_s = started_s
        try:
            server_ms = self._clock.time_ms_of(await self._rest.get(self._clock.path))
        except (RestError, RestRefusedError, FeedRefusedError, LookupError, TypeError) as error:
            self._read = None
            log.warning("%s: no heartbeats, for its clock cannot be read: %s", self._exchange, error)
            raise ConnectionError(f"{self._exchange}: the clock cannot be read") from error
        ended_s = self._now_s()
        # Its clock has been at least there when the answer had arrived: the safe side for a heartbeat.
        self._read = sessions, server_ms, ended_s
        self.offset_ms = server_ms + (ended_s - started_s) * 500 - time.time() * 1000
