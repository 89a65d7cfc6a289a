"""The live push: what clients listen to, fed by trades, commits and the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count

from market.trade import Trade
from market.widths import SECOND_MS
from serve.binance.feeds import DayFeed, DaysFeed, Feed, KlineFeed, Listener
from serve.binance.outbox import Outbox
from serve.binance.places import Places
from serve.binance.service import Service
from serve.binance.shapes import Day
from serve.binance.streams import ALL_MINI_TICKERS, KLINE, TRADE, Session, Stream, read_stream
from serve.binance.symbols import VENUES, source_of, sources_of, with_others
from serve.binance.trade_feed import TradeFeed
from serve.hub import Hub, heard
from serve.live.records import Key
from serve.news import NewTrades
from serve.prices import PricesAway
from serve.problems import BarsAway
from serve.tasks import Works

log = logging.getLogger(__name__)

_AT_ONCE = 3
"""Feeds that are worked at together: one that waits for the table does not hold up the others, and none of them a
request for longer than so many take."""

FeedKey = tuple[str, Stream]
"""An exchange (or, of the stream of all symbols, a venue) and a stream."""
Asked = tuple[str, str]
"""A venue and a symbol."""


class Client:
    """One connection: what it wants, and what waits to be sent to it."""

    def __init__(self, venue: str, session: Session, unit_us: int, outbox: Outbox) -> None:
        self.venue, self.session, self.unit_us, self.outbox = venue, session, unit_us, outbox
        self.listening: dict[str, tuple[FeedKey, Listener]] = {}
        """By name of the stream."""
        self.lacking: set[Asked] = set()
        """What it wants and nobody knows of."""


class Push:
    """Every client's streams."""

    def __init__(self, service: Service, trades: Hub[NewTrades]) -> None:
        self._service, self._trades = service, trades
        self._clients: set[Client] = set()
        self._feeds: dict[FeedKey, Feed] = {}
        self._lacking: dict[Asked, set[Client]] = {}
        self._places = Places()
        """Of symbols that Redis has, or that were heard: they may have no bar yet."""
        self.lost_trades = 0
        """Trades of interruptions that `@trade` did not tell and never will, ever."""

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients)

    @asynccontextmanager
    async def pushing(self, works: Works) -> AsyncIterator[None]:
        """Push until the block is left."""
        own = {"streams: trades": self._hear, "streams: commits": self._finish, "streams: clock": self._tick}
        async with works.going_on(own):
            yield

    def follow(self, client: Client) -> None:
        """From now on send a client what its session wants, and nothing else."""
        self._clients.add(client)
        wanted, is_combined = client.session.names, client.session.combined
        left = [
            name
            for name, (_, listener) in client.listening.items()
            if name not in wanted or listener.is_combined != is_combined
        ]
        silent = self._silence(client, left)
        lacking: set[Asked] = set()
        for name in wanted:
            stream = None if name in client.listening else read_stream(name)
            if stream and not self._listen(client, name, stream):
                lacking.add((client.venue, stream.symbol))
        self._lack(client, lacking)
        self._end(silent)

    def leave(self, client: Client) -> None:
        """Send a client nothing more."""
        self._clients.discard(client)
        self._end(self._silence(client, list(client.listening)))
        self._lack(client, set())

    def _lack(self, client: Client, asked: set[Asked]) -> None:
        """From now on a client lacks these, and nothing else."""
        for one in client.lacking - asked:
            self._lacking[one].discard(client)
            if not self._lacking[one]:
                del self._lacking[one]
        for one in asked - client.lacking:
            self._lacking.setdefault(one, set()).add(client)
        client.lacking = asked

    def _look_again(self) -> None:
        """What was not there when it was asked for may be there now."""
        if self._lacking:
            listed = self._listed()
            known = {(venue, symbol) for venue in VENUES for symbol in sources_of(venue, listed)}
            for client in {client for one in known & self._lacking.keys() for client in self._lacking[one]}:
                self.follow(client)

    def _listen(self, client: Client, name: str, stream: Stream) -> bool:
        """Whether there is such a symbol."""
        source = client.venue if stream.kind == ALL_MINI_TICKERS else self._source(client.venue, stream.symbol)
        if source is None:
            return False
        key = source, stream
        if key not in self._feeds:
            self._feeds[key] = self._feed(source, stream)
        listener = Listener(client.outbox, name, client.session.combined, client.unit_us)
        self._feeds[key].listeners.add(listener)
        client.listening[name] = key, listener
        return True

    def _silence(self, client: Client, names: Iterable[str]) -> list[FeedKey]:
        """The feeds of streams that a client listens to no more."""
        left = [client.listening.pop(name) for name in names]
        for key, listener in left:
            self._feeds[key].listeners.discard(listener)
        return [key for key, _ in left]

    def _end(self, keys: Iterable[FeedKey]) -> None:
        """End feeds that nobody listens to."""
        for key in keys:
            if key in self._feeds and not self._feeds[key].listeners:
                del self._feeds[key]

    def _source(self, venue: str, symbol: str) -> str | None:
        known = self._service.known_source(venue, symbol)
        return known or source_of(venue, [exchange for exchange in VENUES[venue] if (exchange, symbol) in self._places])

    def _listed(self) -> Mapping[str, Sequence[str]]:
        """Every symbol, with the exchanges that have it."""
        return with_others(self._service.bars.symbols(), self._places)

    def _feed(self, source: str, stream: Stream) -> Feed:
        if stream.kind == TRADE:
            key = source, stream.symbol
            return TradeFeed(self._service, key, self._places.before(key, self._service.now_ms()), self._lose)
        if stream.kind == KLINE:
            return KlineFeed(self._service, (source, stream.symbol), stream)
        return DaysFeed(self._service) if stream.kind == ALL_MINI_TICKERS else DayFeed(self._service, stream)

    def _lose(self, trades: int) -> None:
        self.lost_trades += trades

    async def _hear(self) -> None:
        async def hear(items: AsyncIterator[NewTrades]) -> None:
            await self._begin_anew()
            async for new in items:
                if new.trades:
                    self._take(new.trades)
                else:
                    await self._begin_anew()

        await heard(self._trades, hear, "trades for streams")

    def _take(self, trades: Sequence[Trade]) -> None:
        groups: dict[Key, list[Trade]] = {}
        for trade in trades:
            groups.setdefault((trade.exchange, trade.symbol), []).append(trade)
        if new := groups.keys() - self._places.keys():
            for key in new:
                self._places.begin(key, groups[key][0])
            self._look_again()
        for key, group in groups.items():
            self._places.come(key, group)
            feed = self._feeds.get((key[0], Stream(TRADE, key[1])))
            if isinstance(feed, TradeFeed):
                feed.take(group)

    async def _begin_anew(self) -> None:
        """Something may have been missed: streams of trades go on where they were, new ones where Redis is now."""
        for feed in self._trade_feeds():
            feed.interrupt()
        self._places.are_all = False
        await self._resume()

    async def _resume(self) -> None:
        """Where Redis is away, it is tried again with the next tick."""
        if not self._places.are_all:
            await self._together([self._learn_places()])
        await self._together(feed.resume() for feed in self._trade_feeds() if feed.must_resume)

    async def _learn_places(self) -> None:
        for price in await self._service.prices.all():
            self._places.come((price.exchange, price.symbol), [price])
        self._places.are_all = True

    def _trade_feeds(self) -> list[TradeFeed]:
        return [feed for feed in self._feeds.values() if isinstance(feed, TradeFeed)]

    async def _finish(self) -> None:
        while True:
            generation = self._service.live.generation
            await self._together(feed.finish() for feed in list(self._feeds.values()) if isinstance(feed, KlineFeed))
            await self._service.live.moved(generation)

    async def _tick(self) -> None:
        """Every second what runs of seconds, and days; every other second what runs of wider klines."""
        for number in count():
            now_ms = self._service.now_ms()
            due_ms = now_ms - now_ms % SECOND_MS + SECOND_MS
            await asyncio.sleep((due_ms - now_ms) / 1_000)
            self._look_again()
            await self._resume()
            feeds = list(self._feeds.items())
            await self._together(
                feed.run()
                for (_, stream), feed in feeds
                if isinstance(feed, KlineFeed) and (number % 2 or stream.width_ms == SECOND_MS)
            )
            await self._together([self._tell_days()])

    async def _tell_days(self) -> None:
        """Each symbol's day is made once, for all who want it."""
        wanted: dict[Key, list[DayFeed]] = {}
        arrays: list[tuple[DaysFeed, list[Key]]] = []
        for (source, stream), feed in list(self._feeds.items()):
            if isinstance(feed, DayFeed):
                wanted.setdefault((source, stream.symbol), []).append(feed)
            elif isinstance(feed, DaysFeed):
                keys = [(exchange, symbol) for symbol, exchange in sources_of(source, self._listed()).items()]
                arrays.append((feed, keys))
                for key in keys:
                    wanted.setdefault(key, [])
        latest = await self._service.latest(wanted)
        days: dict[Key, Day] = {}

        async def tell(key: Key, feeds: list[DayFeed]) -> None:
            days[key] = day = await self._service.day(key, latest.get(key))
            for feed in feeds:
                feed.tell(day)

        await self._together(tell(key, feeds) for key, feeds in wanted.items())
        for feed, keys in arrays:
            feed.tell(days[key] for key in keys if key in days)

    async def _together(self, works: Iterable[Awaitable[None]]) -> None:
        """Do some work at once. Where the table or Redis is away, nothing is sent; /readyz tells."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(work: Awaitable[None]) -> None:
            async with gate:
                try:
                    await work
                except (BarsAway, PricesAway) as error:
                    log.debug("nothing to send: %s", error)
                except Exception:  # of one feed: the others go on
                    log.exception("a stream could not be fed")

        await asyncio.gather(*(one(work) for work in works))
