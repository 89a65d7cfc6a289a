"""New trades of every symbol, as they come: the news that `prices` writes to Redis, followed.

They are one stream, whose entries are numbered without gaps: so a follower knows whether it has missed any.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from market.latest import NEWS, address_of, trade_of
from market.trade import Trade
from serve.connect import client
from serve.hub import Hub

log = logging.getLogger(__name__)

BLOCK_S = 1.0
"""How long it is waited for news before it is looked whether they are still those that are followed."""
_AT_ONCE = 200
_REST_S = 0.005
"""Pause when all news are read: those that come meanwhile are read together, and prices are answered."""
_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.1, 2.0

Entry = tuple[str, dict[str, str]]
"""Of a stream: its name, and its fields."""
Place = tuple[int, int]
"""Of an entry of the news: when they began, and its number."""
NOTHING: Place = (0, 0)
"""Before the first entry."""


class NewTrades(NamedTuple):
    """What following the news tells."""

    trades: Sequence[Trade]
    """Those of one entry. None where it begins, or begins anew: what came before is not followed, and some may be
    missing. Whoever needs them all asks `serve.prices` then."""
    place: Place
    """All entries up to here were told."""


class News:
    """The news of one Redis."""

    def __init__(self, url: str) -> None:
        """Raises `ValueError` for a wrong URL."""
        self.address = address_of(url)
        self.hub: Hub[NewTrades] = Hub()
        """What is followed, for many."""
        self.told: Place | None = None
        """The newest entry that listeners were told of; None while following has to begin."""
        self._redis = client(url, BLOCK_S)

    async def close(self) -> None:
        """End the listeners, and give the connections back."""
        self.hub.close()
        await self._redis.aclose()

    async def run(self) -> None:
        """Follow the news for whoever listens, for ever."""
        async for new in self.follow():
            self.hub.publish(new)

    async def follow(self) -> AsyncIterator[NewTrades]:
        """The new trades of every symbol, as they come, for ever; what Redis does meanwhile is waited for."""
        place: Place | None = None
        last: Sequence[Entry] = ()
        pause_s = 0.0
        while True:
            try:
                if place is None:
                    last = await self._redis.xrevrange(NEWS, count=1)
                    place = place_of(last[0][0]) if last else NOTHING
                    yield NewTrades([], place)
                self.told = place
                there, entries = await self._behind(place)
            except (RedisError, OSError) as error:
                if not pause_s:
                    log.warning("Redis at %s: %s. New trades are not followed; trying again", self.address, error)
                pause_s = min(max(_SHORTEST_RETRY_S, 2 * pause_s), _LONGEST_RETRY_S)
                await asyncio.sleep(pause_s)
                continue
            if pause_s:
                log.info("Redis at %s answers again; new trades are followed", self.address)
                pause_s = 0.0
            if (there or not entries) and [*there] != [*last]:
                # Redis has lost it, or is an older copy of itself, which numbers others like those that it has lost.
                self.told = place = None
                continue
            for name, fields in entries:
                came = place_of(name)
                if place is not None and not _is_next(place, came):
                    log.warning("news were missed between %s and %s: beginning anew", place, came)
                    yield NewTrades([], place)
                place, last = came, [(name, fields)]
                yield NewTrades(trades_of(fields), place)
            if len(entries) < _AT_ONCE:
                await asyncio.sleep(_REST_S)

    async def _behind(self, place: Place) -> tuple[Sequence[Entry], Sequence[Entry]]:
        """The entry at a place, as Redis has it now, and those behind it, as soon as there are some."""
        name = f"{place[0]}-{place[1]}"
        async with self._redis.pipeline(transaction=False) as pipeline:
            pipeline.xrange(NEWS, name, name)
            pipeline.xread({NEWS: name}, count=_AT_ONCE, block=int(BLOCK_S * 1000))
            there, answer = await pipeline.execute()
        return there, answer[0][1] if answer else []


def trades_of(fields: Mapping[str, str]) -> list[Trade]:
    """The trades of an entry of the news."""
    found = []
    for name, lines in fields.items():
        exchange, _, symbol = name.partition(":")
        try:
            found += [trade_of(exchange, symbol, line) for line in lines.split("\n")]
        except ValueError as error:
            log.warning("news of %s are no trades (%s) and are passed by", name, error)
    return found


def place_of(name: str) -> Place:
    """The place that an entry's name tells."""
    time, _, number = name.partition("-")
    return int(time), int(number)


def _is_next(place: Place, came: Place) -> bool:
    """Whether nothing lies between two entries; the first of all follows nothing."""
    return came == (place[0], place[1] + 1) or (place == NOTHING and came[1] == 1)
