"""The connections of one exchange, of one venue or several, and which products each of them brings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence

from market.metrics import Sample, sample
from producer.exchanges.venues import Venue
from producer.feeds.feed import Feed, FeedRefusedError
from producer.feeds.frames import Frames
from producer.running import together

log = logging.getLogger(__name__)


class Streams:
    """Every feed of an exchange. They are numbered, and their frames go into one queue."""

    def __init__(self, venues: Sequence[Venue], products: Mapping[str, str], frames: Frames) -> None:
        """`products`: the exchange's names of the wanted products, by symbol."""
        self.exchange = venues[0].exchange
        self.feeds: list[Feed] = []
        self._frames = frames
        self._products = products
        self._venues = list(venues)  # those that do not refuse us
        self._brought: list[tuple[Venue, list[str]]] = []  # by each feed: its venue and its products
        self._singly: set[int] = set()  # feeds that subscribe to each product on its own
        names = list(products.values())
        for venue in venues:
            step = venue.protocol.products_per_connection
            for start in range(0, len(names), step):
                self._add(venue, names[start : start + step])

    @property
    def connected(self) -> bool:
        """Whether every connection is up."""
        return all(self.feeds[number].connected for venue in self._venues for number in self._numbers(venue))

    def venue(self, number: int) -> Venue:
        """Whose protocol a feed speaks."""
        return self._brought[number][0]

    def symbols(self, number: int) -> list[str]:
        """What a feed brings."""
        products = set(self._brought[number][1])
        return [symbol for symbol, product in self._products.items() if product in products]

    def sessions(self) -> tuple[int, ...]:
        """The number of each feed's session: one that is made anew has another."""
        return tuple(feed.session for feed in self.feeds)

    async def run(self) -> None:
        """Keep every connection up, for ever. A venue that refuses us is left out where another brings the same.

        Raises the `FeedRefusedError` of the last one.
        """
        await together(*(self._run(venue) for venue in self._venues))

    def breaks(self) -> tuple[int, ...]:
        """How often each feed's connection was lost, and not replaced before it ended."""
        return tuple(max(feed.session - 1 - feed.renewals, 0) for feed in self.feeds)

    async def settle(self) -> list[int]:
        """Return when everything that the exchange has sent until now is in the queue; the feeds that brought it.

        One venue is enough: each brings all. Raises `ConnectionError`.
        """
        failure = ConnectionError(f"{self.exchange} is not connected")
        for venue in self._venues.copy():
            numbers = self._numbers(venue)
            try:
                for number in numbers:
                    await self.feeds[number].settle()
            except ConnectionError as error:
                failure = error
            else:
                return numbers
        raise failure

    async def do_without(self, number: int, product: str) -> None:
        """One bad product voids a whole subscription: subscribe again to all others."""
        products = self._brought[number][1]
        if product not in products:
            return
        products.remove(product)
        log.error("%s does not know %s any more: it is left out, the others are read on", self.exchange, product)
        if products:
            await self._subscribe(number)

    async def bisect(self, number: int) -> None:
        """The exchange refuses a subscription for a product that it does not name: subscribe to each on its own.

        It then refuses that product alone, and the others stand. Their messages keep the exchange's distance, so that
        many take a while.
        """
        products = self._brought[number][1]
        if len(products) == 1:
            await self.do_without(number, products[0])
        elif number not in self._singly:
            self._singly.add(number)
            log.error(
                "%s refuses a product and does not name it: each of %d is subscribed to on its own",
                self.exchange,
                len(products),
            )
            await self._subscribe(number)

    async def _subscribe(self, number: int) -> None:
        venue, products = self._brought[number]
        groups = [[product] for product in products] if number in self._singly else [products]
        messages = [message for group in groups for message in venue.protocol.subscriptions(group)]
        await self.feeds[number].greet(list(dict.fromkeys(messages)))  # a channel without products is one for all

    def renew(self, symbol: str) -> None:
        """Make the connections anew that should bring a symbol and do not."""
        for feed, (_, products) in zip(self.feeds, self._brought, strict=True):
            if self._products[symbol] in products and feed.connected:
                feed.renew(f"{symbol} is silent, and the exchange has traded it")

    def samples(self, now_s: float) -> Iterator[Sample]:
        """What the metrics say of the connections."""
        yield sample("producer_connected", self.connected, exchange=self.exchange)
        for feed in self.feeds:
            labels = {"exchange": self.exchange, "feed": feed.name}
            yield sample("producer_connects_total", feed.connects, **labels)
            yield sample("producer_renewals_total", feed.renewals, **labels)
            for cause, count in feed.errors.items():
                yield sample("producer_disconnects_total", count, **labels, cause=cause)
            if feed.last_frame_s is not None:
                yield sample("producer_last_frame_age_seconds", now_s - feed.last_frame_s, **labels)

    async def _run(self, venue: Venue) -> None:
        try:
            await together(*(self.feeds[number].run() for number in self._numbers(venue)))
        except FeedRefusedError as refusal:
            if self._venues == [venue]:
                raise
            self._venues.remove(venue)
            log.error("%s is left out: %s; the same trades come from elsewhere", venue.source, refusal)

    def _numbers(self, venue: Venue) -> list[int]:
        return [number for number, (its, _) in enumerate(self._brought) if its is venue]

    def _add(self, venue: Venue, products: list[str]) -> None:
        number = len(self.feeds)
        name = venue.exchange if venue.source == "simulator" else venue.source

        async def receive(frame: str | bytes) -> None:
            await self._frames.put(number, frame)

        self._brought.append((venue, products))
        self.feeds.append(
            Feed(
                f"{name} {number + 1}" if number else name,
                venue.stream_base + venue.protocol.stream_path,
                greetings=venue.protocol.subscriptions(products),
                greeting_interval_s=venue.protocol.greeting_interval_s,
                receive=receive,
                patience=venue.protocol.patience,
                life_s=venue.protocol.life_s,
            )
        )
