"""Exchanges, live: what they list, the feeds of what is wanted, and the heartbeats that tell how far each has come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any, Never

import aiohttp

from market.trade import Heartbeat
from producer import ProducerError
from producer.exchanges.outcome import Outcome, read
from producer.exchanges.venues import Clock, Venue, chosen, listed
from producer.feeds.feed import REFUSALS, Feed, FeedRefusedError, delays
from producer.ledger import Ledger
from producer.publishing.publish import Publisher

log = logging.getLogger(__name__)

_REST_TIMEOUT = aiohttp.ClientTimeout(total=15)
BEAT_S = 1.0
"""Seconds between two heartbeats of an exchange."""
_MARGIN_MS = 1_000
"""An exchange's clock may run ahead of trades on their way; up to 214 ms were recorded."""
_CLOCK_AGE_S = 600.0
_CLOCK_RETRY_S = 10.0

_REST_ERRORS = (aiohttp.ClientError, TimeoutError, LookupError, TypeError, ValueError)


class NothingToReadError(ProducerError):
    """None of the wanted symbols is traded at any of the sources."""


async def run(
    venues: Sequence[Venue], *, symbols: Sequence[str], publisher: Publisher, ledger: Ledger, tolerance_ms: int
) -> Never:
    """Publish the trades of some venues for ever. Of simulated ones all symbols, of real ones those in `symbols`.

    Raises `NothingToReadError`, `FeedRefusedError` and `LostRecordsError`.
    """
    async with aiohttp.ClientSession(timeout=_REST_TIMEOUT) as rest:
        listings = await asyncio.gather(*(_listing(venue, rest) for venue in venues))
        products = _products(venues, listings, symbols)
        markets = [
            _Market(venue, products[venue.exchange], rest, publisher, ledger, tolerance_ms)
            for venue in venues
            if products[venue.exchange]
        ]
        tasks = [asyncio.create_task(task) for market in markets for task in market.tasks()]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
    raise AssertionError("feeds run for ever")


class _Market:
    """The feeds of one venue, and its clock."""

    def __init__(
        self,
        venue: Venue,
        products: Sequence[str],
        rest: aiohttp.ClientSession,
        publisher: Publisher,
        ledger: Ledger,
        tolerance_ms: int,
    ) -> None:
        self._venue = venue
        self._rest = rest
        self._publisher = publisher
        self._ledger = ledger
        self._tolerance_ms = tolerance_ms
        step = venue.protocol.products_per_connection
        parts = [products[start : start + step] for start in range(0, len(products), step)]
        self._clocks = [0] * len(parts)  # the latest time each feed's frames told
        self._feeds = [self._feed(number, part) for number, part in enumerate(parts)]
        self._offset: _Offset | None = None
        self._asked_s = float("-inf")

    def tasks(self) -> list[Any]:
        """What runs for ever."""
        return [*(feed.run() for feed in self._feeds), self._beat()]

    def _feed(self, number: int, products: Sequence[str]) -> Feed:
        venue = self._venue
        protocol = venue.protocol

        async def receive(frame: str | bytes) -> None:
            latest_ms = time.time_ns() // 1_000_000 + self._tolerance_ms
            outcome = read(frame, protocol.outcome_of, exchange=venue.exchange, latest_ms=latest_ms)
            if outcome.is_retold and outcome.trades and not self._ledger.follows(outcome.trades[0]):
                # The trade before the first that we read: it may be minutes old, and alone in its second.
                outcome = Outcome(passed_over="trade whose forerunner is not known")
            for trade in self._ledger.enter(venue.exchange, outcome, frame):
                self._publisher.trade(trade)
            if outcome.clock_ms is not None:
                self._clocks[number] = max(self._clocks[number], outcome.clock_ms)
            if self._publisher.full:
                await self._publisher.room()

        return Feed(
            f"{venue.exchange}" if number == 0 else f"{venue.exchange} {number + 1}",
            venue.stream_base + protocol.stream_path,
            greetings=protocol.subscriptions(products),
            greeting_interval_s=protocol.greeting_interval_s,
            receive=receive,
            patience=protocol.patience,
        )

    async def _beat(self) -> Never:
        """A heartbeat each second, of a time up to which every trade of this exchange is safe in Kafka."""
        last_ms = 0
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                time_ms = await self._safe_time_ms()
            except ConnectionError as error:
                log.debug("no heartbeat: %s", error)
                continue
            if time_ms > last_ms:  # a clock that stands is an exchange that is silent
                await self._publisher.acknowledged()
                self._publisher.heartbeat(Heartbeat(self._venue.exchange, time_ms))
                last_ms = time_ms

    async def _safe_time_ms(self) -> int:
        """A time of the exchange up to which we have received everything. Raises `ConnectionError`."""
        for feed in self._feeds:
            if not feed.connected:
                raise ConnectionError(f"{feed.name} is not connected")
        clock = self._venue.protocol.clock
        if clock is None:
            return min(self._clocks) - _MARGIN_MS
        offset = await self._current_offset(clock)
        asked_ms = offset.time_ms(time.monotonic())
        for feed in self._feeds:
            await feed.settle()
        return asked_ms - _MARGIN_MS

    async def _current_offset(self, clock: Clock) -> _Offset:
        """The exchange's clock against ours, measured at each connection and every ten minutes."""
        sessions, now_s = [feed.session for feed in self._feeds], time.monotonic()
        offset = self._offset
        if offset and offset.sessions == sessions and now_s - offset.read_s < _CLOCK_AGE_S:
            return offset
        if now_s - self._asked_s < _CLOCK_RETRY_S:
            raise ConnectionError(f"{self._venue.exchange}: the clock is not known yet")
        self._asked_s = now_s
        try:
            server_ms = clock.time_ms_of(await _fetched(self._rest, self._venue.rest_base + clock.path))
        except (*_REST_ERRORS, FeedRefusedError) as error:
            log.warning("%s: no heartbeats, for its clock cannot be read: %r", self._venue.exchange, error)
            raise ConnectionError(f"{self._venue.exchange}: the clock cannot be read") from error
        self._offset = _Offset(sessions, server_ms, time.monotonic())
        return self._offset


class _Offset:
    """The exchange's time when its answer had arrived: its clock has been at least there at that moment."""

    def __init__(self, sessions: list[int], server_ms: int, read_s: float) -> None:
        self.sessions = sessions
        self.read_s = read_s
        self._server_ms = server_ms

    def time_ms(self, now_s: float) -> int:
        return self._server_ms + int((now_s - self.read_s) * 1000)


def _products(
    venues: Sequence[Venue], listings: Sequence[dict[str, str]], symbols: Sequence[str]
) -> dict[str, list[str]]:
    """The products to read, by exchange."""
    products = {
        venue.exchange: list(listing.values())
        for venue, listing in zip(venues, listings, strict=True)
        if venue.source == "simulator"
    }
    real = {
        venue.source: listing for venue, listing in zip(venues, listings, strict=True) if venue.source != "simulator"
    }
    if real:
        taken, complaints = chosen(symbols, real)
        products.update(taken)  # a real source bears its exchange's name
        for complaint in complaints:
            log.warning("SYMBOLS: %s", complaint)
    for exchange, names in products.items():
        log.info("%s: %d symbols: %s", exchange, len(names), ", ".join(names[:20]) + (" …" if len(names) > 20 else ""))
    if not any(products.values()):
        raise NothingToReadError(
            f"none of SYMBOLS={','.join(symbols)} is traded at {', '.join(products)}; "
            "name symbols as the exchange lists them, such as binance:BTCUSDT or coinbase:BTC-USD"
        )
    return products


async def _listing(venue: Venue, rest: aiohttp.ClientSession) -> dict[str, str]:
    """What a venue trades, by symbol. Tries again until it answers; raises `FeedRefusedError` where it never will."""
    url = venue.rest_base + venue.protocol.listing_path
    for pause_s in delays(venue.protocol.patience):
        try:
            return listed(venue.protocol.products_of(await _fetched(rest, url)))
        except _REST_ERRORS as error:
            log.warning("%s: no list of symbols from %s (%r); again in %.1f s", venue.exchange, url, error, pause_s)
            await asyncio.sleep(pause_s)
    raise AssertionError("delays never end")


async def _fetched(rest: aiohttp.ClientSession, url: str) -> Any:
    async with rest.get(url) as response:
        if response.status in REFUSALS:
            raise FeedRefusedError(f"{url} answered HTTP {response.status}: {REFUSALS[response.status]}")
        response.raise_for_status()
        return await response.json(content_type=None)
