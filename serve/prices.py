"""Latest prices and last trades, as `prices` keeps them in Redis. Knows no HTTP, and writes nothing.

Every question is answered within a bounded time, or `PricesAway` says for a person why not. New trades of all symbols
come from one stream of news, whose entries are numbered without gaps: so a follower knows whether it has missed any.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
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

log = logging.getLogger(__name__)

ANSWER_S = 0.5
"""How long Redis may take to answer a question: it takes less than a millisecond."""
CONNECTIONS = 32
"""To Redis, at most; more questions at once wait for one."""
BLOCK_S = 1.0
"""How long a follower waits for news before it looks whether they are still those that it follows."""
_NEWS_AT_ONCE = 200
_REST_S = 0.005
"""Pause of a follower that has all news: those that come meanwhile are read together, and prices are answered."""
_PAGE = 1_000
"""Trades that are read at once; between two pages others have their turn."""
_SLACK = 100
"""Trades that are read at first beyond those asked for, since some come late and stand behind newer ones."""
_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.1, 2.0

Entry = tuple[str, dict[str, str]]
"""Of a stream: its name, and its fields."""
Place = tuple[int, int]
"""Of an entry of the news: when they began, and its number."""
_NOTHING: Place = (0, 0)


class PricesAway(Exception):  # noqa: N818  # not an error of ours, but a state of Redis
    """Redis does not answer in time, refuses, or holds what prices does not write. The message says which, and why."""


class Promises(NamedTuple):
    """What producers have promised of the trades in Redis."""

    until_ms: Mapping[str, int]
    """By exchange, the time until which every trade is there, or was: the oldest of the newest heartbeats in each
    partition."""
    place: Place
    """The newest entry of the news then: who follows has heard of all those trades when it has come so far."""


class NewTrades(NamedTuple):
    """What following the news tells."""

    trades: Sequence[Trade]
    """Those of one entry. None where it begins, or begins anew: what came before is not followed, and some may be
    missing. Whoever needs them all reads `Prices.trades` then."""
    place: Place
    """All entries up to here were told."""


class Prices:
    """The reading side of one Redis."""

    def __init__(self, url: str) -> None:
        """Raises `ValueError` for a wrong URL. Connects when it is asked first."""
        self.address = address_of(url)
        self._redis = _client(url, ANSWER_S)
        self._follower = _client(url, BLOCK_S + ANSWER_S)
        self._is_other_topic_told = False
        self.followed: Place | None = None
        """The newest entry of the news that `follow` has told; None while it has to begin."""

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
        await self._follower.aclose()

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
        return Promises(promised, _place(entries[0][0]) if entries else _NOTHING)

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
                yield [trade for line in lines for trade in _trades_of({name: line})]

    async def follow(self) -> AsyncIterator[NewTrades]:
        """The new trades of every symbol, as they come, for ever; what Redis does meanwhile is waited for."""
        place: Place | None = None
        last: Sequence[Entry] = ()
        pause_s = 0.0
        while True:
            try:
                if place is None:
                    last = await self._follower.xrevrange(NEWS, count=1)
                    place = _place(last[0][0]) if last else _NOTHING
                    yield NewTrades([], place)
                self.followed = place
                there, entries = await self._news(place)
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
                self.followed = place = None
                continue
            for name, fields in entries:
                came = _place(name)
                if place is not None and not _is_next(place, came):
                    log.warning("news were missed between %s and %s: beginning anew", place, came)
                    yield NewTrades([], place)
                place, last = came, [(name, fields)]
                yield NewTrades(_trades_of(fields), place)
            if len(entries) < _NEWS_AT_ONCE:
                await asyncio.sleep(_REST_S)

    async def _news(self, place: Place) -> tuple[Sequence[Entry], Sequence[Entry]]:
        """The entry at a place, as Redis has it now, and those behind it, as soon as there are some."""
        name = f"{place[0]}-{place[1]}"
        async with self._follower.pipeline(transaction=False) as pipeline:
            pipeline.xrange(NEWS, name, name)
            pipeline.xread({NEWS: name}, count=_NEWS_AT_ONCE, block=int(BLOCK_S * 1000))
            there, answer = await pipeline.execute()
        return there, answer[0][1] if answer else []

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
            time, number = _place(entries[-1][0])
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


def _client(url: str, answer_s: float) -> Any:
    # One attempt: who asks has a person waiting. RESP2 is what every server speaks.
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        decode_responses=True,
        max_connections=CONNECTIONS,
        timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        socket_timeout=answer_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


def _trades_of(fields: Mapping[str, str]) -> list[Trade]:
    """The trades of an entry of the news."""
    found = []
    for name, lines in fields.items():
        exchange, _, symbol = name.partition(":")
        try:
            found += [trade_of(exchange, symbol, line) for line in lines.split("\n")]
        except ValueError as error:
            log.warning("news of %s are no trades (%s) and are passed by", name, error)
    return found


def _chosen(found: Mapping[int, Trade], limit: int, from_id: int | None) -> list[Trade]:
    """The newest, or the first from an id on, in the order of their ids."""
    if from_id is not None:
        return [found[number] for number in sorted(found) if number >= from_id][:limit]
    newest = sorted(found.values(), key=lambda trade: (trade.timestamp, trade.trade_id))[-limit:]
    return sorted(newest, key=lambda trade: trade.trade_id)


def _place(name: str) -> Place:
    time, _, number = name.partition("-")
    return int(time), int(number)


def _is_next(place: Place, came: Place) -> bool:
    """Whether nothing lies between two entries; the first of all follows nothing."""
    return came == (place[0], place[1] + 1) or (place == _NOTHING and came[1] == 1)
