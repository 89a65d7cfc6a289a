"""`@trade`: each trade once, in its order, also around an interruption: of Redis, of its news, or of our hearing them.

What was missed is read from Redis, before anything newer is sent. What Redis does not give any more is said.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import aclosing

from market.trade import Trade
from serve.binance.feeds import Feed
from serve.binance.frames import trade_event
from serve.binance.places import Place, age, place_of
from serve.binance.service import Service

log = logging.getLogger(__name__)

REMEMBERED = 5_000
"""Trades of a feed that are known one by one as sent. Older ones are not sent, for they may have been."""
MISSED = 10_000
"""Trades that are made good after an interruption, at most: the newest. More would be too much for clients."""


class Sent:
    """Which trades need not be sent: those that were, and those of before. Pure."""

    def __init__(self, before: Place, most: int = REMEMBERED) -> None:
        """`before`: what is not newer than this was there before anybody listened."""
        self._before, self._most = before, most
        self._places: set[Place] = set()
        self._order: deque[Place] = deque()

    def has(self, trade: Trade) -> bool:
        """Whether a trade need not be sent."""
        place = place_of(trade)
        return place in self._places or place.is_within(self._before)

    def add(self, trade: Trade) -> None:
        """A new trade is sent. The one that was sent first may be forgotten: what is not newer is then of before."""
        place = place_of(trade)
        self._places.add(place)
        self._order.append(place)
        if len(self._order) > self._most:
            first = self._order.popleft()
            self._places.remove(first)
            self._before = Place(*map(max, first, self._before))


class TradeFeed(Feed):
    """Each trade of one symbol as it comes."""

    def __init__(
        self, service: Service, key: tuple[str, str], newest: Place, count_lost: Callable[[int], None]
    ) -> None:
        """`newest`: of the trades that came before anybody listened. `count_lost` is told of those that nobody gets."""
        super().__init__()
        self._service, self._key, self._count_lost = service, key, count_lost
        self._sent = Sent(newest)
        self._newest = newest
        self._waiting: deque[Trade] = deque(maxlen=MISSED)
        """What came since the interruption. Redis has it too, so that what is too much here is not lost."""
        self._interruptions = self._resumed = 0
        self._whole_until: int | None = None
        """The id behind which some may be missing that Redis does not have, until the next one tells."""
        self._lock = asyncio.Lock()

    @property
    def must_resume(self) -> bool:
        """Whether it has to be resumed before anything is sent."""
        return self._interruptions > self._resumed

    def interrupt(self) -> None:
        """From here on, trades may have been missed."""
        self._interruptions += 1
        self._whole_until = self._newest.trade_id if self._newest.trade_id >= 0 else None

    def take(self, trades: Iterable[Trade]) -> None:
        """Send new trades; behind those that were missed, where there may be such."""
        if self.must_resume:
            self._waiting.extend(trades)
        else:
            self._send_new(trades)

    async def resume(self) -> None:
        """Send what was missed, as far as Redis holds it, and what came since. Raises `PricesAway`: then once more."""
        async with self._lock:
            while self.must_resume:
                interruption = self._interruptions
                missed, is_whole = await self._missed()
                if interruption == self._interruptions:  # else there was another one meanwhile
                    self._resumed = interruption
                    if is_whole:
                        self._whole_until = None
                    self._send_new(sorted([*missed, *self._waiting], key=age))
                    self._waiting.clear()

    async def _missed(self) -> tuple[list[Trade], bool]:
        """The trades that came after the last one that was sent, and whether Redis' record reaches back to that."""
        missed: list[Trade] = []
        async with aclosing(self._service.prices.newest_first(*self._key)) as pages:
            async for page in pages:
                new = [trade for trade in page if not self._sent.has(trade)]
                missed += new
                if not new or any(place_of(trade) == self._newest for trade in page):
                    return missed, True
                if len(missed) >= MISSED:
                    break
        return missed[:MISSED], False

    def _send_new(self, trades: Iterable[Trade]) -> None:
        new = [trade for trade in trades if not self._sent.has(trade)]
        self._tell_lost(new)
        event_ms = self._service.now_ms()
        for trade in new:
            if self._sent.has(trade):  # twice among them
                continue
            self._sent.add(trade)
            self._newest = max(self._newest, place_of(trade), key=age)
            self._send(trade, event_ms)

    def _tell_lost(self, trades: Iterable[Trade]) -> None:
        """Say which ids are missing after an interruption, once, as soon as it can be known."""
        whole_until = self._whole_until
        following = [trade.trade_id for trade in trades if whole_until is not None and trade.trade_id > whole_until]
        if whole_until is None or not following:
            return
        self._whole_until = None
        first, last = whole_until + 1, min(following) - 1
        if first <= last:
            log.warning(
                "%s:%s@trade: ids %d to %d were missed, and Redis does not give them any more", *self._key, first, last
            )
            self._count_lost(last - first + 1)

    def _send(self, trade: Trade, event_ms: int) -> None:
        self.send(lambda unit_us: trade_event(trade, event_ms, unit_us))
