"""Where the record of a symbol begins: the first trade since a time, asked of the exchange."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from producer.exchanges.history import Request
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import Venue
from producer.feeds.watch import Skew

MINUTE_MS = 60_000
PAGE = 1_000
"""Trades that an exchange gives per request, at most."""
PAGES = 100
"""Pages to go back at most, where the exchange cannot be asked for a time."""

_CLOCK_AGE_S = 600.0

Ask = Callable[[Request], Awaitable[Any]]
"""Sends a request until it is answered."""


class NoBeginningError(Exception):
    """The beginning cannot be had. The message says why."""


class Beginning(NamedTuple):
    """The id of the first trade since a time, and the pages that had to be read to find it, in the order of ids."""

    first: int
    pages: list[tuple[Outcome, ...]]


class ExchangeClock:
    """The exchange's time, as good as a question to it each ten minutes tells it."""

    def __init__(self, venue: Venue, ask: Ask) -> None:
        self._clock = venue.protocol.clock
        self._ask = ask
        self._skew = Skew()
        self._asked_s = float("-inf")

    async def now_ms(self) -> int:
        """Milliseconds since the epoch; by our clock, where the exchange tells its time in frames alone."""
        if self._clock is None:
            return time.time_ns() // 1_000_000
        sent_s = time.monotonic()
        if sent_s - self._asked_s > _CLOCK_AGE_S:
            content = await self._ask(Request(self._clock.path, 1))
            try:
                self._skew.add(sent_s, time.monotonic(), self._clock.time_ms_of(content))
            except (LookupError, TypeError) as error:
                raise NoBeginningError(f"the exchange does not tell its time: {content!r:.100}") from error
            self._asked_s = sent_s
        return int(self._skew.time_ms(time.monotonic()) or 0)


async def beginning(
    venue: Venue, product: str, ask: Ask, clock: ExchangeClock, since_ms: int | None, latest_ms: Callable[[], int]
) -> Beginning | None:
    """The first trade at or after a time, or else of the exchange's current minute; None: there never was a trade.

    Where there is no trade since, it is the next one to come. Raises `NoBeginningError`, and what `ask` raises.
    """
    history = venue.protocol.history
    newest = history.newest_of(await ask(history.newest(product)))  # first: what comes after it is seen live
    if newest is None:
        return None
    newest_id, newest_ms = newest
    if since_ms is None:
        now_ms = max(await clock.now_ms(), newest_ms)
        since_ms = now_ms - now_ms % MINUTE_MS
    if newest_ms < since_ms:
        return Beginning(newest_id + 1, [])
    if history.since is not None and history.since_of is not None:
        found = history.since_of(await ask(history.since(product, since_ms)))
        return Beginning(newest_id + 1 if found is None else found, [])
    return await _paged_back(venue, product, ask, newest_id, since_ms, latest_ms)


async def _paged_back(
    venue: Venue, product: str, ask: Ask, newest: int, since_ms: int, latest_ms: Callable[[], int]
) -> Beginning:
    history = venue.protocol.history
    first, last, pages = newest + 1, newest, list[tuple[Outcome, ...]]()
    for _ in range(PAGES):
        lowest = max(last - PAGE + 1, 0)
        answer = await ask(history.page(product, lowest, last))
        page = history.read(answer, venue.exchange, product, lowest, last, latest_ms())
        trades = [trade for outcome in page.outcomes for trade in outcome.trades]
        pages.insert(0, page.outcomes)
        young = [trade.trade_id for trade in trades if trade.timestamp >= since_ms]
        unread = [number for number, _ in page.rejected]  # perhaps young: to ask for it once more is the safe side
        first = min([first, *young, *unread])
        if not (trades or unread) or first > page.first or page.first == 0:
            return Beginning(first, pages)
        last = page.first - 1
    raise NoBeginningError(f"the exchange has made more than {PAGES * PAGE} trades since")
