"""Latest prices and last trades, as `prices` keeps them in Redis. Knows no HTTP, and writes nothing.

Every question is answered within a bounded time, or `PricesAway` says for a person why not.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import NamedTuple

from redis.exceptions import RedisError

from market.latest import (
    HEARTBEATS,
    KNOWN,
    NEWEST_ID,
    NEWS,
    POSITIONS,
    PRICE_FIELDS,
    TRADE,
    Price,
    address_of,
    heartbeat_field,
    name_of,
    price_key,
    price_of,
    trade_of,
    trades_key,
)
from market.trade import Trade
from serve.connect import client
from serve.news import NOTHING, Place, place_of, trades_of

log = logging.getLogger(__name__)

_PAGE = 1_000
"""Trades that are read at once; between two pages others have their turn."""
_SLACK = 100
"""Trades that are read at first beyond those asked for, since some come late and stand behind newer ones."""


class PricesAway(Exception):  # noqa: N818  # not an error of ours, but a state of Redis
    """Redis does not answer in time, refuses, or holds what prices does not write. The message says which, and why."""


class Promises(NamedTuple):
    """What producers have promised of the trades in Redis."""

    until_ms: Mapping[str, int]
    """By exchange, the time until which every trade is there, or was: the oldest of the newest heartbeats in each
    partition."""
    place: Place
    """The newest entry of the news then: who follows them has heard of all those trades when it has come so far."""


class Prices:
    """The reading side of one Redis."""

    def __init__(self, url: str) -> None:
        """Raises `ValueError` for a wrong URL. Connects when it is asked first."""
        self.address = address_of(url)
        self._redis = client(url)
        self._is_other_topic_told = False

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    async def heartbeats(self, topic: str) -> Promises:
        """What the producers have promised. An exchange is left out while a partition of the topic has no heartbeat."""
        with self._answered():
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.hkeys(POSITIONS)
                pipeline.hgetall(HEARTBEATS)
                pipeline.xrevrange(NEWS, count=1)
                fields, beats, entries = await pipeline.execute()
        partitions = [field for field in fields if field.rpartition(":")[0] == topic]
        if fields and not partitions and not self._is_other_topic_told:
            self._is_other_topic_told = True
            log.warning("prices does not read the topic %s (KAFKA_TOPIC): that nobody trades is not known", topic)
        promised = {}
        with self._understood():
            for exchange in {field.partition(":")[0] for field in beats} if partitions else ():
                times = [beats.get(heartbeat_field(exchange, partition)) for partition in partitions]
                if None not in times:
                    promised[exchange] = min(map(int, times))
        return Promises(promised, place_of(entries[0][0]) if entries else NOTHING)

    async def latest(self, exchange: str, symbol: str) -> Price | None:
        """The newest trade of a symbol; None where there is none yet."""
        with self._answered():
            values = await self._redis.hmget(price_key(exchange, symbol), PRICE_FIELDS)
        with self._understood():
            return price_of(exchange, symbol, values)

    async def all(self) -> list[Price]:
        """The newest trade of each symbol that has one, by exchange and symbol."""
        with self._answered():
            names = sorted(await self._redis.smembers(KNOWN))
        return await self.some([(exchange, symbol) for exchange, _, symbol in (name.partition(":") for name in names)])

    async def some(self, places: Sequence[tuple[str, str]]) -> list[Price]:
        """The newest trade of each of these, (exchange, symbol), that has one: one question for all."""
        with self._answered():
            async with self._redis.pipeline(transaction=False) as pipeline:
                for place in places:
                    pipeline.hmget(price_key(*place), PRICE_FIELDS)
                found = await pipeline.execute()
        with self._understood():
            prices = [price_of(*place, values) for place, values in zip(places, found, strict=True)]
        return [price for price in prices if price is not None]

    async def trades(self, exchange: str, symbol: str, *, limit: int, from_id: int | None = None) -> list[Trade]:
        """The newest trades of a symbol, or the first of those that Redis keeps from an id on: `limit` at most.

        Each id once, in their order. Some came late and stand behind newer ones: the stream is read from its end until
        no id is missing. So where ids are missing for good, all of it is read.
        """
        found: dict[int, Trade] = {}
        missing = await self._ids(exchange, symbol, limit, from_id)
        if not missing:
            return []
        pages = self._pages(trades_key(exchange, symbol), first=limit + _SLACK)
        async with contextlib.aclosing(pages):
            async for lines in pages:
                with self._understood():
                    some = [trade_of(exchange, symbol, line) for line in lines]
                for trade in some:
                    found.setdefault(trade.trade_id, trade)
                missing.difference_update(trade.trade_id for trade in some)
                if not missing:
                    break
                if len(found) > 2 * (limit + _PAGE):  # memory has a bound, however many Redis keeps
                    found = {trade.trade_id: trade for trade in _chosen(found, limit, from_id)}
        return _chosen(found, limit, from_id)

    async def _ids(self, exchange: str, symbol: str, limit: int, from_id: int | None) -> set[int | None]:
        """Those of the trades asked for, if none is missing; one that is never found where the newest is not known."""
        with self._answered():
            newest = await self._redis.hget(price_key(exchange, symbol), NEWEST_ID)
        if newest is None:
            return {None}
        with self._understood():
            first, end = (int(newest) - limit + 1 if from_id is None else from_id), int(newest) + 1
        return set(range(first, min(first + limit, end)))

    async def newest_first(self, exchange: str, symbol: str) -> AsyncGenerator[list[Trade], None]:
        """Last trades of a symbol, in pages, those that came last first. What is no trade is passed by."""
        name = name_of(exchange, symbol)
        pages = self._pages(trades_key(exchange, symbol))
        async with contextlib.aclosing(pages):
            async for lines in pages:
                yield [trade for line in lines for trade in trades_of({name: line})]

    async def _pages(self, key: str, first: int = _PAGE) -> AsyncGenerator[list[str], None]:
        """The lines of a stream from its end on, in pages, of which the first may be a short one."""
        last, count = "+", min(_PAGE, first)
        while True:
            with self._answered():
                entries = await self._redis.xrevrange(key, max=last, count=count)
            with self._understood():
                lines = [fields[TRADE] for _, fields in entries]
            yield lines
            if len(entries) < count:
                return
            time, number = place_of(entries[-1][0])
            last, count = f"{time}-{number - 1}" if number else f"{time - 1}", _PAGE

    @contextlib.contextmanager
    def _answered(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            raise PricesAway(f"Redis at {self.address}: {str(error) or type(error).__name__}") from error

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KeyError) as error:
            raise PricesAway(f"Redis at {self.address} holds what prices does not write: {error}") from error


def _chosen(found: Mapping[int, Trade], limit: int, from_id: int | None) -> list[Trade]:
    """The newest, or the first from an id on, in the order of their ids."""
    if from_id is not None:
        return [found[number] for number in sorted(found) if number >= from_id][:limit]
    newest = sorted(found.values(), key=lambda trade: (trade.timestamp, trade.trade_id))[-limit:]
    return sorted(newest, key=lambda trade: trade.trade_id)
