"""Exchanges, live: what they list, what of it is wanted, and one `Source` for each, of which none stops another."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Never

import aiohttp

from market.gap import EDGE, Gap, read_gap
from market.metrics import Sample
from market.settings import Settings
from market.trade import Trade, read_record
from producer import ProducerError
from producer.completeness.resume import Tail
from producer.completeness.sequence import Sequences
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import Venue, chosen, listed, symbol_of
from producer.feeds.feed import FeedRefusedError, delays
from producer.feeds.rest import Rest, RestError, RestRefusedError
from producer.ledger import Ledger
from producer.publishing.apart import each
from producer.publishing.publish import Publisher
from producer.publishing.record import Record
from producer.publishing.spill import Leftover
from producer.running import together
from producer.source import Source

log = logging.getLogger(__name__)

_LISTINGS_PER_MINUTE = 240
"""A listing weighs 20 of the 4,800 that we may ask of Binance in a minute, and at most 2 of 480 at Coinbase."""
_ANY_TIME_MS = 2**60  # what was taken once was valid, be its time ever so late


class NothingToReadError(ProducerError):
    """None of the wanted symbols is traded at any of the sources."""


class Live:
    """The exchanges of some venues, read until the program is stopped."""

    def __init__(
        self, venues: Sequence[Venue], settings: Settings, publisher: Publisher, ledger: Ledger, tail: Tail
    ) -> None:
        """`tail`: what the topic holds already."""
        self._venues = venues
        self._settings = settings
        self._publisher = publisher
        self._ledger = ledger
        self._sources: list[Source] = []
        self._sequences: dict[str, Sequences] = {}
        for exchange in dict.fromkeys(venue.exchange for venue in venues):
            self._sequences[exchange] = Sequences(wait_s=settings.hole_wait / 1000)
            tail.restore(exchange, self._sequences[exchange])

    @property
    def waiting(self) -> int:
        """Trades that wait for missing ones."""
        return sum(sequences.waiting for sequences in self._sequences.values())

    def samples(self) -> Iterator[Sample]:
        """What the metrics say of the exchanges."""
        for source in self._sources:
            yield from source.samples()

    async def run(self, leftovers: Iterable[Leftover] = (), forget: Callable[[Path], None] | None = None) -> Never:
        """Publish what an earlier run left on disk, then what the exchanges send, for ever.

        `forget` is told of each file of it that is safe in Kafka. Of simulated exchanges all symbols are read, of real
        ones those in SYMBOLS.

        An exchange that refuses us is told of and left out. Raises `NothingToReadError`, or the `FeedRefusedError` of
        an exchange, when none is left, and `LostRecordsError`.
        """
        if forget:
            await self._take_over(leftovers, forget)
        groups: dict[str, list[Venue]] = {}
        for venue in self._venues:
            groups.setdefault(venue.exchange, []).append(venue)
        choice = _Choice(self._settings.symbols, groups)
        async with aiohttp.ClientSession() as session:
            refusals = await together(*(self._exchange(venues, session, choice) for venues in groups.values()))
        raise next((refusal for refusal in refusals if refusal), choice.nothing())

    async def _take_over(self, leftovers: Iterable[Leftover], forget: Callable[[Path], None]) -> None:
        """Publish what an earlier run left on disk. It goes the same way as live trades, so that no id goes twice."""
        marks = []
        async for leftover in each(leftovers):
            log.info("publishing %d records that an earlier run left in %s", len(leftover.records), leftover.mark)
            for record in leftover.records:
                self._republish(record)
                if self._publisher.full:
                    await self._publisher.room()
            marks.append(leftover.mark)
        for exchange, sequences in self._sequences.items():
            self._publish(exchange, sequences.due(float("inf")))
        await self._publisher.acknowledged()
        for mark in marks:
            forget(mark)

    def _republish(self, record: Record) -> None:
        gap = read_gap(record.value)
        if gap is not None:
            if self._is_stale(gap):
                log.info("%s %s: ids %d to %d are not missing any more", *gap[:4])
            else:
                self._publisher.gap(gap)
            return
        for element in read_record(record.value, 0, _ANY_TIME_MS):
            if isinstance(element, Trade):
                self._ledger.count(element.exchange, Outcome(trades=(element,)), record.value)
                sequences = self._sequences.get(element.exchange)
                if sequences is None:
                    self._publish(element.exchange, [element])
                    continue
                doubled = sequences.duplicates
                self._publish(element.exchange, sequences.take(element, time.monotonic()))
                self._ledger.doubled(element.exchange, sequences.duplicates - doubled)

    def _is_stale(self, gap: Gap) -> bool:
        """Whether a hole that an earlier run reported as open has been filled since: told again, it would stay open."""
        sequences = self._sequences.get(gap.exchange)
        if gap.status != "open" or sequences is None or gap.cause.startswith(EDGE):
            return False
        return not sequences.lacks(gap.symbol, gap.first_trade_id, gap.last_trade_id)

    def _publish(self, exchange: str, trades: Sequence[Trade]) -> None:
        self._ledger.new(exchange, len(trades))
        for trade in trades:
            self._publisher.trade(trade)

    async def _exchange(
        self, venues: Sequence[Venue], session: aiohttp.ClientSession, choice: _Choice
    ) -> FeedRefusedError | None:
        """Read one exchange for ever; why it refuses us, or None where nothing of it is wanted."""
        venue = venues[0]
        budget = venue.protocol.history.weight_per_minute
        rest = Rest(session, venue.rest_base, name=venue.exchange, weight_per_minute=budget)
        try:
            products = choice.of(venue.exchange, await _listing(venue, rest))
            if not products:
                return None
            source = Source(
                venues,
                products,
                self._sequences[venue.exchange],
                rest=rest,
                publisher=self._publisher,
                ledger=self._ledger,
                tolerance_ms=self._settings.future_tolerance,
                frame_queue=self._settings.frame_queue,
            )
            self._sources.append(source)
            await source.run()
        except FeedRefusedError as refusal:
            log.error("%s is left out: %s", venue.exchange, refusal)
            choice.without(venue.exchange)
            return refusal


class _Choice:
    """Which products to read of each exchange, and what is to be said of SYMBOLS once every exchange has answered."""

    def __init__(self, symbols: Sequence[str], groups: Mapping[str, Sequence[Venue]]) -> None:
        self._symbols = symbols
        self._sources = {exchange: [venue.source for venue in venues] for exchange, venues in groups.items()}
        self._silent = set(groups)
        self._listings: dict[str, Mapping[str, str]] = {}
        self._refused: set[str] = set()  # sources, of which it is told already

    def of(self, exchange: str, listing: Mapping[str, str]) -> dict[str, str]:
        """The wanted products of an exchange that lists these, by symbol: all of a simulated one."""
        sources = self._sources[exchange]
        if "simulator" in sources:
            products = list(listing.values())
        else:
            listings = dict.fromkeys(sources, listing)
            self._listings |= listings
            taken, _ = chosen(self._symbols, listings)
            products = list(dict.fromkeys(product for names in taken.values() for product in names))
        shown = ", ".join(products[:20]) + (" …" if len(products) > 20 else "")
        log.info("%s: %d symbols: %s", exchange, len(products), shown)
        self._answered(exchange)
        return {symbol_of(product): product for product in products}

    def without(self, exchange: str) -> None:
        """An exchange gives no answer, and never will."""
        if exchange in self._silent:
            self._refused.update(self._sources[exchange])
        self._answered(exchange)

    def nothing(self) -> NothingToReadError:
        """The error for when nothing is left to read."""
        return NothingToReadError(
            f"none of SYMBOLS={','.join(self._symbols)} is traded at {', '.join(self._sources)}; "
            "name symbols as the exchange lists them, such as binance:BTCUSDT or coinbase:BTC-USD"
        )

    def _answered(self, exchange: str) -> None:
        if exchange in self._silent:
            self._silent.remove(exchange)
            if not self._silent and self._listings:
                sources = [source for sources in self._sources.values() for source in sources]
                listings = {source: self._listings[source] for source in sources if source in self._listings}
                symbols = [entry for entry in self._symbols if entry.rpartition(":")[0].lower() not in self._refused]
                for complaint in chosen(symbols, listings)[1]:
                    log.warning("SYMBOLS: %s", complaint)


async def _listing(venue: Venue, rest: Rest) -> dict[str, str]:
    """What a venue trades, by symbol. Tries again until it answers; raises `FeedRefusedError` where it never will."""
    weight = venue.protocol.history.weight_per_minute // _LISTINGS_PER_MINUTE
    for pause_s in delays(venue.protocol.patience):
        try:
            answer = await rest.get(venue.protocol.listing_path, weight=weight)
            return listed(venue.protocol.products_of(answer), venue.protocol.alias_of)
        except (RestError, RestRefusedError, LookupError, TypeError) as error:
            log.warning("%s: no list of symbols (%s); again in %.1f s", venue.exchange, error, pause_s)
            await asyncio.sleep(pause_s)
    raise AssertionError("delays never end")
