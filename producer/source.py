"""One exchange at work: sockets → frames → mapper → sequences → publisher, and what is missing over REST.

The stages are apart. Reading puts frames into a bounded queue; mapping takes them out, in order; the publisher holds a
bounded number of records until Kafka has them. Where Kafka is slow, the publisher is full, mapping waits, the queue of
frames fills, reading pauses, and TCP makes the exchange wait.

From a frame's mapping to its trades' publishing nothing waits: so what a trade releases goes out before the next one is
taken, every element is in one place at any time, and a stop loses none. The wait for room comes behind each frame.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Never

from market.gap import EDGE
from market.metrics import Sample, sample
from market.trade import Trade
from producer.completeness.backfill import Backfill
from producer.completeness.sequence import Sequences
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import Venue
from producer.feeds.frames import Frames
from producer.feeds.rest import Rest
from producer.gaps import Gaps
from producer.heartbeats import Heart
from producer.ledger import Ledger
from producer.publishing.publish import Publisher
from producer.running import together
from producer.streams import Streams
from producer.vigil import Vigil

log = logging.getLogger(__name__)

_TICK_S = 0.05
_BEGIN_S = 15.0
"""After which it is told that heartbeats still wait for the beginning."""
_AT_ONCE = 4
UNPRECEDED = "trade whose forerunner is not known"
UNASKED = "trade of a symbol that was not asked for"
STOPPED = "the producer was stopped before they came"
UNBEGUN = f"{EDGE}: the producer was stopped before it was known with which trade it should"


class Source:
    """The trades of one exchange, whole and in order, for ever. More than one venue of it is redundancy."""

    def __init__(
        self,
        venues: Sequence[Venue],
        products: Mapping[str, str],
        sequences: Sequences,
        *,
        rest: Rest,
        publisher: Publisher,
        ledger: Ledger,
        tolerance_ms: int,
        frame_queue: int,
    ) -> None:
        """`products`: the exchange's names of the wanted products, by symbol."""
        venue = venues[0]
        self.exchange = venue.exchange
        self.sequences = sequences
        self._products = dict(products)
        self._rest = rest
        self._publisher = publisher
        self._ledger = ledger
        self._tolerance_ms = tolerance_ms
        self._frames = Frames(frame_queue)
        self._begun = asyncio.Event()
        self._gaps = Gaps(self.exchange, publisher)
        self._backfilled = 0
        self._latest_ms: dict[str, int] = {}
        self._streams = Streams(venues, products, self._frames)
        feeds = len(self._streams.feeds)
        self._clocks = [0] * feeds  # the latest time each feed's frames told
        self._numbers: list[int | None] = [None] * feeds
        self._backfill = Backfill(
            venue,
            self._products,
            rest,
            sequences,
            deliver=self._deliver,
            release=self._hand_on,
            tell=self._gaps.tell,
            safe=publisher.acknowledged,
            latest_ms=self._latest_time_ms,
        )
        self._vigil = Vigil(self._streams, probe=self._backfill.probe, deaf=lambda: publisher.full)
        self._heart = Heart(self.exchange, self, publisher, rest, venue.protocol.clock)

    async def run(self) -> Never:
        """Publish for ever. Raises what a part raises: `FeedRefusedError`, `LostRecordsError`."""
        work = [self._streams.run(), self._map(), self._release(), self._backfill.run()]
        try:
            await together(*work, self._begin(), self._vigil.run(), self._beat())
        finally:
            await self._finish()
        raise AssertionError("a source runs for ever")

    async def settle(self) -> int | None:
        """Return when all that the exchange has sent is handed on; the time told. Raises `ConnectionError`."""
        self._vigil.notice_breaks()
        if self._vigil.suspects:
            raise ConnectionError(f"{len(self._vigil.suspects)} symbols may have traded unheard")
        clocks = self._clocks.copy()
        told_ms = min(clocks[number] for number in await self._streams.settle())
        mark = self._frames.put_so_far()
        while not self._frames.dealt_with(mark):
            await asyncio.sleep(0.005)
        if self.sequences.waiting or self.sequences.next_due_s() is not None:
            raise ConnectionError("trades wait for missing ones")
        if self._vigil.notice_breaks():
            raise ConnectionError("the connection was made anew meanwhile")
        return told_ms or None

    def sessions(self) -> tuple[int, ...]:
        """The number of each feed's session."""
        return self._streams.sessions()

    def samples(self) -> Iterator[Sample]:
        """What the metrics say of this exchange."""
        name = self.exchange
        yield sample("producer_frames_waiting", len(self._frames), exchange=name)
        yield sample("producer_reading_paused_total", self._frames.waits, exchange=name)
        yield from self._streams.samples(time.monotonic())
        yield sample("producer_backfilled_total", self._backfilled, exchange=name)
        yield sample("producer_rest_requests_total", self._rest.requests, exchange=name)
        for kind, count in self._rest.errors.items():
            yield sample("producer_rest_errors_total", count, exchange=name, kind=kind)
        yield sample("producer_rest_banned_seconds", self._rest.banned_for_s, exchange=name)
        holes = [hole for symbol in self.sequences.symbols() for hole in self.sequences.missing(symbol)]
        yield sample("producer_holes", len(holes), exchange=name)
        yield sample("producer_missing_trades", sum(hole.last - hole.first + 1 for hole in holes), exchange=name)
        yield from self._gaps.samples()
        for symbol, time_ms in self._latest_ms.items():
            yield sample("producer_last_trade_timestamp_seconds", time_ms / 1000, exchange=name, symbol=symbol)
        if self._heart.offset_ms is not None:
            yield sample("producer_clock_offset_seconds", self._heart.offset_ms / 1000, exchange=name)

    async def _map(self) -> Never:
        """Frames into trades, in the order in which they came."""
        while True:
            await self._map_next()
            if self._publisher.full:
                await self._publisher.room()

    async def _map_next(self) -> None:
        number, frame = await self._frames.take()
        venue = self._streams.venue(number)
        outcome = venue.protocol.read(frame, exchange=self.exchange, latest_ms=self._latest_time_ms())
        if outcome.is_retold:
            outcome = self._preceded(outcome)
        if any(trade.symbol not in self._products for trade in outcome.trades):
            outcome = self._asked_for(outcome)
        self._ledger.count(self.exchange, outcome, frame)
        self._notice_jump(number, outcome)
        if outcome.trades:
            now_s = time.monotonic()
            for trade in outcome.trades:
                self._vigil.heard(trade.symbol, now_s)
            self._take(outcome.trades)
        else:
            await self._heed(number, outcome)
        self._frames.done()

    def _asked_for(self, outcome: Outcome) -> Outcome:
        """Without the trades of symbols that nobody has asked for."""
        wanted = tuple(trade for trade in outcome.trades if trade.symbol in self._products)
        self._ledger.pass_over(self.exchange, UNASKED, len(outcome.trades) - len(wanted))
        return outcome._replace(trades=wanted)

    def _preceded(self, outcome: Outcome) -> Outcome:
        """A retold trade is the one before the first that we read: it may be minutes old, and alone in its second.

        It is taken where the record of its symbol has begun before it; then it shows, or fills, what was missed.
        """
        known = tuple(filter(self._is_preceded, outcome.trades))
        self._ledger.pass_over(self.exchange, UNPRECEDED, len(outcome.trades) - len(known))
        return outcome._replace(trades=known)

    def _is_preceded(self, trade: Trade) -> bool:
        first, last = self.sequences.first(trade.symbol), self.sequences.last(trade.symbol)
        return last is not None and trade.trade_id >= (last + 1 if first is None else first)

    def _notice_jump(self, number: int, outcome: Outcome) -> None:
        """Where a feed numbers its frames, a missing number says that anything may have been missed."""
        before = self._numbers[number]
        if outcome.sequence is not None:
            self._numbers[number] = outcome.sequence
            if before is not None and outcome.sequence != before + 1:
                self._vigil.suspect(number)

    async def _heed(self, number: int, outcome: Outcome) -> None:
        """What a frame says beside trades."""
        if outcome.clock_ms is not None:
            self._clocks[number] = max(self._clocks[number], outcome.clock_ms)
            self._heart.told(outcome.clock_ms)
        if outcome.newest is not None:
            symbol, trade_id = outcome.newest
            if symbol in self._products and self.sequences.last(symbol) is not None:
                self.sequences.bound(symbol, trade_id, time.monotonic())
        if outcome.farewell:
            self._streams.feeds[number].renew("the server says that it goes away")
        if outcome.refused_product is not None:
            await self._streams.do_without(number, outcome.refused_product)
        if outcome.refused_some:
            await self._streams.bisect(number)

    def _take(self, trades: Iterable[Trade]) -> int:
        """Put trades in their place, and publish what has its turn; how many were not known."""
        sequences, now_s = self.sequences, time.monotonic()
        doubled, taken = sequences.duplicates, 0
        for trade in trades:
            taken += 1
            self._latest_ms[trade.symbol] = max(self._latest_ms.get(trade.symbol, 0), trade.timestamp)
            self._publish(sequences.take(trade, now_s))
        doubled = sequences.duplicates - doubled
        self._ledger.doubled(self.exchange, doubled)
        return taken - doubled

    def _publish(self, trades: Sequence[Trade]) -> None:
        for trade in trades:
            self._publisher.trade(trade)
        self._ledger.new(self.exchange, len(trades))

    async def _hand_on(self, trades: Sequence[Trade]) -> None:
        """Publish what the sequences have released otherwise."""
        self._publish(trades)
        if self._publisher.full:
            await self._publisher.room()

    async def _deliver(self, outcomes: Iterable[Outcome]) -> None:
        """What came over REST goes the same way as what came by the sockets."""
        for outcome in outcomes:
            self._ledger.count(self.exchange, outcome, outcome)
            self._backfilled += self._take(outcome.trades)
            if self._publisher.full:
                await self._publisher.room()

    async def _release(self) -> Never:
        """Let go what has waited long enough for missing trades."""
        while True:
            await asyncio.sleep(_TICK_S)
            await self._hand_on(self.sequences.due(time.monotonic()))

    async def _finish(self) -> None:
        """At the end, publish all that has arrived, and say what it lacks: the next start asks for that."""
        while len(self._frames):
            await self._map_next()
        self._publish(self.sequences.due(float("inf")))
        now_s = time.monotonic()
        for hole in self.sequences.edges(now_s):
            self._gaps.tell(hole, "open", UNBEGUN)
        for hole in self.sequences.late(now_s):
            self._gaps.tell(hole, "open", STOPPED)

    async def _begin(self) -> None:
        """Where the topic ends, the exchange goes on: ask it for what came since, symbol by symbol."""
        symbols = iter(list(self._products))

        async def one_by_one() -> None:
            for symbol in symbols:
                if not self.sequences.has_begun(symbol):
                    await self._backfill.start(symbol)
                if self._vigil.is_unheard(symbol):
                    await self._backfill.probe(symbol)

        await asyncio.gather(*(one_by_one() for _ in range(_AT_ONCE)))
        self._begun.set()
        self._vigil.expect(list(self._products))

    async def _beat(self) -> Never:
        try:
            async with asyncio.timeout(_BEGIN_S):
                await self._begun.wait()
        except TimeoutError:
            log.warning("%s: no heartbeats until the beginning is back-filled, which takes long", self.exchange)
            await self._begun.wait()
        await self._heart.beat()

    def _latest_time_ms(self) -> int:
        """What a trade's time may be at most: later would be of the future, by the exchange's clock too."""
        return time.time_ns() // 1_000_000 + self._heart.ahead_ms + self._tolerance_ms
