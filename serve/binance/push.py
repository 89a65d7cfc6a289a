"""The live push: what clients listen to, fed by trades, commits and the clock."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count

from market.trade import Trade
from market.widths import SECOND_MS
from serve.binance.feeds import DayFeed, DaysFeed, Feed, KlineFeed, Listener, TradeFeed
from serve.binance.outbox import Outbox
from serve.binance.service import Service
from serve.binance.shapes import Day
from serve.binance.streams import ALL_MINI_TICKERS, KLINE, TRADE, Session, Stream, read_stream
from serve.binance.symbols import source_of, sources_of, with_others
from serve.hub import Hub
from serve.live import Key, heard
from serve.prices import PricesAway
from serve.problems import BarsAway
from serve.tasks import end

log = logging.getLogger(__name__)

_AT_ONCE = 8
"""Feeds that are worked at together: one that waits for the table does not hold up the others."""

FeedKey = tuple[str, Stream]
"""An exchange (or, of the stream of all symbols, a venue) and a stream."""


class Client:
    """One connection: what it wants, and what waits to be sent to it."""

    def __init__(self, venue: str, session: Session, unit_us: int, outbox: Outbox) -> None:
        self.venue, self.session, self.unit_us, self.outbox = venue, session, unit_us, outbox
        self.listening: dict[str, tuple[FeedKey, Listener]] = {}
        """By name of the stream."""


class Push:
    """Every client's streams."""

    def __init__(self, service: Service, trades: Hub[Sequence[Trade]]) -> None:
        self._service, self._trades = service, trades
        self._clients: set[Client] = set()
        self._feeds: dict[FeedKey, Feed] = {}
        self._seen: set[Key] = set()
        """Symbols of which a trade was heard: they may have no bar yet."""

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients)

    @asynccontextmanager
    async def pushing(self) -> AsyncIterator[None]:
        """Push until the block is left."""
        tasks = [asyncio.create_task(work) for work in (self._hear(), self._finish(), self._tick())]
        for task in tasks:
            task.add_done_callback(_tell)
        try:
            yield
        finally:
            await end(tasks)

    def follow(self, client: Client) -> None:
        """From now on send a client what its session wants, and nothing else."""
        self._clients.add(client)
        wanted, is_combined = client.session.names, client.session.combined
        for name, (key, listener) in list(client.listening.items()):
            if name not in wanted or listener.is_combined != is_combined:
                del client.listening[name]
                self._silence(key, listener)
        for name in wanted:
            if name not in client.listening:
                self._listen(client, name)

    def leave(self, client: Client) -> None:
        """Send a client nothing more."""
        self._clients.discard(client)
        for key, listener in client.listening.values():
            self._silence(key, listener)
        client.listening.clear()

    def _listen(self, client: Client, name: str) -> None:
        stream = read_stream(name)
        if stream is None:
            return
        source = client.venue if stream.kind == ALL_MINI_TICKERS else self._source(client.venue, stream.symbol)
        if source is None:
            return  # perhaps later: the clock asks again
        key = source, stream
        if key not in self._feeds:
            self._feeds[key] = self._feed(source, stream)
        listener = Listener(client.outbox, name, client.session.combined, client.unit_us)
        self._feeds[key].listeners.add(listener)
        client.listening[name] = key, listener

    def _silence(self, key: FeedKey, listener: Listener) -> None:
        feed = self._feeds.get(key)
        if feed:
            feed.listeners.discard(listener)
            if not feed.listeners:
                del self._feeds[key]

    def _source(self, venue: str, symbol: str) -> str | None:
        known = self._service.known_source(venue, symbol)
        return known or source_of(venue, [exchange for exchange, other in self._seen if other == symbol])

    def _feed(self, source: str, stream: Stream) -> Feed:
        if stream.kind == TRADE:
            return TradeFeed(self._service, (source, stream.symbol))
        if stream.kind == KLINE:
            return KlineFeed(self._service, (source, stream.symbol), stream)
        return DaysFeed(self._service) if stream.kind == ALL_MINI_TICKERS else DayFeed(self._service, stream)

    async def _hear(self) -> None:
        async def hear(items: AsyncIterator[Sequence[Trade]]) -> None:
            await self._resume()
            async for trades in items:
                if not trades:
                    await self._resume()
                groups: dict[Key, list[Trade]] = {}
                for trade in trades:
                    groups.setdefault((trade.exchange, trade.symbol), []).append(trade)
                self._seen |= groups.keys()
                for (exchange, symbol), group in groups.items():
                    feed = self._feeds.get((exchange, Stream(TRADE, symbol)))
                    if isinstance(feed, TradeFeed):
                        feed.take(group)

        await heard(self._trades, hear, "trades for streams")

    async def _resume(self) -> None:
        await self._together(feed.resume() for feed in list(self._feeds.values()) if isinstance(feed, TradeFeed))

    async def _finish(self) -> None:
        generation = self._service.live.generation
        while True:
            generation = await self._service.live.moved(generation)
            await self._together(feed.finish() for feed in list(self._feeds.values()) if isinstance(feed, KlineFeed))

    async def _tick(self) -> None:
        """Every second what runs of seconds, and days; every other second what runs of wider klines."""
        for number in count():
            now_ms = self._service.now_ms()
            due_ms = now_ms - now_ms % SECOND_MS + SECOND_MS
            await asyncio.sleep((due_ms - now_ms) / 1_000)
            for client in list(self._clients):
                self.follow(client)  # a symbol that was not there may be
            feeds = list(self._feeds.items())
            await self._together(
                feed.run()
                for (_, stream), feed in feeds
                if isinstance(feed, KlineFeed) and (number % 2 or stream.width_ms == SECOND_MS)
            )
            await self._tell_days()

    async def _tell_days(self) -> None:
        """Each symbol's day is made once, for all who want it."""
        wanted: dict[Key, list[DayFeed]] = {}
        arrays: list[tuple[DaysFeed, list[Key]]] = []
        for (source, stream), feed in list(self._feeds.items()):
            if isinstance(feed, DayFeed):
                wanted.setdefault((source, stream.symbol), []).append(feed)
            elif isinstance(feed, DaysFeed):
                listed = sources_of(source, with_others(self._service.bars.symbols(), self._seen))
                keys = [(exchange, symbol) for symbol, exchange in listed.items()]
                arrays.append((feed, keys))
                for key in keys:
                    wanted.setdefault(key, [])
        days: dict[Key, Day] = {}

        async def tell(key: Key, feeds: list[DayFeed]) -> None:
            days[key] = day = await self._service.day(*key)
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


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("streams are no longer fed", exc_info=error)
