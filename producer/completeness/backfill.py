"""Back-fill: what is missing of one exchange's trades is asked for over REST, while live trades go on.

Requests go out for the shortest holes first, for newer trades wait for them; now and then for the oldest. A long hole
is fetched page by page, and each page is handed on at once. No error drops a hole: it is asked for again. Only ids
that the exchange answers for, and does not give, in four answers over ten seconds, are lost, and reported as such. Such
an answer counts only where its history has come so far that newer trades are in it: REST may lag behind the stream. And
ids whose rows are there but are no valid trades stay open: perhaps it is our clock that is wrong.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Never

from market.gap import EDGE
from market.ids import Ids, Range
from market.trade import TRADE_ID_LIMIT, Trade
from producer.completeness.beginning import ExchangeClock, NoBeginningError, beginning
from producer.completeness.edges import Edges
from producer.completeness.misfits import is_from, misfits_of, passed_over
from producer.completeness.plan import Part, Plan
from producer.completeness.sequence import Hole, Sequences
from producer.exchanges.history import Page, Request
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import Venue
from producer.feeds.answers import FeedRefusedError
from producer.feeds.feed import delays
from producer.feeds.rest import Rest, RestError, RestRefusedError

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Requests on their way at a time, at most; of one symbol only one."""
TICK_S = 0.05
ON_ITS_WAY_S = 0.3
"""A trade may be told by REST so much earlier than by the stream."""
REFUSED_S = 60.0
"""How long to wait after an answer that refuses us altogether: live trades go on without back-fill."""

MISSED = "trades were missed"
NOT_SERVED = "the exchange no longer serves these trades"
TOO_MANY = "more trades are missing than are back-filled"
LIMIT = 1_000_000
"""Trades of one hole that are back-filled at most, the newest ones: Binance gives so many in five minutes."""
REJECTED = "the exchange gives no valid trades for them"
FAR = "an id far ahead of all others is not believed, and its trade dropped"
RENUMBERED = "the exchange has begun to count its trades anew"


class Backfill:
    """The back-fill of one exchange."""

    def __init__(
        self,
        venue: Venue,
        products: Mapping[str, str],
        rest: Rest,
        sequences: Sequences,
        *,
        deliver: Callable[[Sequence[Outcome]], Awaitable[None]],
        release: Callable[[Sequence[Trade]], Awaitable[None]],
        tell: Callable[[Hole, str, str], None],
        safe: Callable[[], Awaitable[None]] | None = None,
        cause_of: Callable[[Hole], str] = lambda hole: MISSED,
        latest_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000 + 2_000,
        pauses_s: Sequence[float] = (0.5, 2.0, 8.0),
    ) -> None:
        """`products`: the exchange's names, by symbol; holes of other symbols are left alone.

        deliver: counts what a page held and puts its trades into the sequences, and publishes what these let go.
        release: publishes trades that the sequences let go. Both do so before they wait for anything, or what is let
        go later would overtake them. tell: publishes a hole's gap record, of a status and with a cause.
        safe: returns when what was published before is safe, which a `filled` record has to wait for.
        cause_of: why a hole came to be that is to be reported as open.
        latest_ms: the latest time that a trade may bear now.
        pauses_s: before ids that the exchange did not give are asked for again; REST may lag behind the stream.
        """
        self._venue = venue
        self._products = products
        self._rest = rest
        self._sequences = sequences
        self._deliver = deliver
        self._release = release
        self._tell = tell
        self._safe = safe
        self._cause_of = cause_of
        self._latest_ms = latest_ms
        self._plan = Plan(pauses_s)
        self._clock = ExchangeClock(venue, self._answered)
        self._edges = Edges(sequences, tell, cause_of)
        self._counts = (0, 0)  # new counts and unbelievable ids, as far as told
        self._newest: dict[str, int] = {}  # how far the exchange's history has been seen to reach
        self._unread: dict[str, Ids] = {}  # ids told as rejected
        self._delays = delays(venue.protocol.patience)
        self._quiet_until_s = float("-inf")

    async def run(self) -> Never:
        """Ask for what is missing, for ever. Raises what the callbacks raise."""
        fetches: dict[asyncio.Task[None], str] = {}
        telling = asyncio.create_task(self._tell_filled())
        try:
            while True:
                self._tell_news()
                now_s = time.monotonic()
                if now_s >= self._quiet_until_s and len(fetches) < AT_ONCE:
                    ripe = await self._ripe(now_s)
                    for symbol, parts in self._plan.next(ripe, set(fetches.values()), AT_ONCE - len(fetches), now_s):
                        fetches[asyncio.create_task(self._fetch(symbol, parts))] = symbol
                done, _ = await asyncio.wait([telling, *fetches], timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
                    del fetches[task]
        finally:
            for task in (telling, *fetches):
                task.cancel()
            await asyncio.gather(telling, *fetches, return_exceptions=True)

    async def start(self, symbol: str) -> None:
        """Begin the record of a symbol without a past with the first trade of the current minute.

        Where other symbols have a past, with the first one that is younger than that. Where the beginning cannot be
        had, a gap record marks the edge: the one id before the first trade, as lost.
        """
        times_ms = (self._sequences.whole_until_ms, self._sequences.since_ms.get(symbol))
        since_ms = min((time_ms for time_ms in times_ms if time_ms is not None), default=None)
        try:
            found = await beginning(
                self._venue, self._products[symbol], self._answered, self._clock, since_ms, self._latest_ms
            )
        except (FeedRefusedError, NoBeginningError, RestRefusedError, ValueError) as error:
            log.warning("%s: the record of %s begins with its first trade: %s", self._venue.exchange, symbol, error)
            self._edges.forgo(symbol, f"{EDGE}: {error}")
            return
        if found is None:
            self._sequences.forgo(symbol)
            return
        freed = self._sequences.begin(symbol, found.first, time.monotonic())
        self._edges.settle(symbol, found.first)
        await self._release(freed)
        for outcomes in found.pages:
            await self._deliver([outcome for outcome in outcomes if is_from(found.first, outcome)])

    async def probe(self, symbol: str) -> bool:
        """Ask the exchange for its newest trade of a symbol. True: it has more than we have heard of, and that is now
        being asked for. A symbol without a beginning has missed nothing.
        """
        history = self._venue.protocol.history
        try:
            newest = history.newest_of(await self._answered(history.newest(self._products[symbol])))
        except (FeedRefusedError, RestRefusedError) as error:
            log.warning("%s: cannot be asked whether %s was traded: %s", self._venue.exchange, symbol, error)
            return False
        if newest is None or newest[0] >= TRADE_ID_LIMIT or self._has(symbol, newest[0]):
            return False
        await asyncio.sleep(ON_ITS_WAY_S)
        if self._has(symbol, newest[0]):
            return False
        self._sequences.bound(symbol, newest[0], time.monotonic())
        return True

    def _has(self, symbol: str, newest: int) -> bool:
        return (last := self._sequences.last(symbol)) is None or newest <= last

    async def _answered(self, request: Request) -> Any:
        """The answer to a request, which is repeated while it fails for a while."""
        for pause_s in delays(self._venue.protocol.patience):
            try:
                return await self._rest.get(request.path, weight=request.weight)
            except RestError as error:
                log.warning("%s; again in %.1f s", error, pause_s)
                await asyncio.sleep(pause_s)
        raise AssertionError("delays never end")

    async def _fetch(self, symbol: str, parts: Sequence[Part]) -> None:
        """Ask for one page of what is missing of a symbol: for the parts, and what lies between them."""
        try:
            page = await self._page(symbol, parts[0].first, parts[-1].last)
        except (RestError, ValueError) as error:
            self._rest_a_while(next(self._delays), error)
        except FeedRefusedError as error:
            self._rest_a_while(REFUSED_S, error)
        except RestRefusedError as error:
            for lower, upper in self._still_missing(symbol, parts, parts[0].first, parts[-1].last):
                await self._doubt(symbol, lower, upper, f"the exchange refuses them: {error}")
        else:
            self._delays = delays(self._venue.protocol.patience)
            misfits = misfits_of(page, parts)
            await self._deliver([passed_over(outcome, misfits) for outcome in page.outcomes])
            for first, last in Ids((number, number) for number in misfits).ranges():
                await self._lose(symbol, first, last, RENUMBERED)
            self._put_off_rejected(symbol, page)
            await self._lacking(symbol, parts, page)

    async def _ripe(self, now_s: float) -> list[Hole]:
        """The holes to ask for; of an endless one, its newest part."""
        ripe = []
        for hole in self._sequences.ripe(now_s):
            if hole.symbol in self._products:
                first = max(hole.first, hole.last - LIMIT + 1)
                if first > hole.first:
                    await self._lose(hole.symbol, hole.first, first - 1, f"{TOO_MANY}, {LIMIT:,}")
                ripe.append(hole._replace(first=first))
        return ripe

    def _rest_a_while(self, pause_s: float, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:  # of several requests that fail at a time, one is enough
            log.warning("%s: back-fill goes on in %.1f s: %s", self._venue.exchange, pause_s, error)
            self._quiet_until_s = now_s + pause_s

    async def _page(self, symbol: str, first: int, last: int) -> Page:
        history, product = self._venue.protocol.history, self._products[symbol]
        request = history.page(product, first, last)
        answer = await self._rest.get(request.path, weight=request.weight)
        return history.read(answer, self._venue.exchange, product, first, last, self._latest_ms())

    async def _lacking(self, symbol: str, parts: Sequence[Part], page: Page) -> None:
        """The exchange has answered: what is still missing of the parts it did not give, or not yet."""
        rejected = [(number, number) for number, _ in page.rejected]
        known = self._newest[symbol] = max(self._newest.get(symbol, -1), page.newest)
        missing = self._still_missing(symbol, parts, page.first, page.last)
        if missing and missing[-1][1] > known:
            known = self._newest[symbol] = max(known, await self._newest_id(symbol))
            missing = self._still_missing(symbol, parts, page.first, page.last)
        for lower, upper in Ids(missing).without(rejected).ranges():
            if upper > known:
                self._plan.put_off(symbol, max(lower, known + 1), upper, time.monotonic(), counts=False)
            if lower <= known:
                await self._doubt(symbol, lower, min(upper, known), NOT_SERVED)

    def _put_off_rejected(self, symbol: str, page: Page) -> None:
        """What is there, but is no valid trade, may be one by another clock, or when it is asked for again."""
        told = self._unread.setdefault(symbol, Ids())
        missing = Ids((hole.first, hole.last) for hole in self._sequences.missing(symbol))
        for reason in dict.fromkeys(reason for _, reason in page.rejected):
            ids = Ids((number, number) for number, why in page.rejected if why == reason and number in missing)
            for first, last in ids.ranges():
                self._plan.put_off(symbol, first, last, time.monotonic(), counts=False)
            for first, last in ids.without(told.ranges()).ranges():
                for hole in self._sequences.report(symbol, first, last):
                    self._tell(hole, "open", f"{REJECTED}: {reason}")
                told.include(first, last)
        self._unread[symbol] = Ids(found for span in missing.ranges() for found in told.within(*span))

    async def _newest_id(self, symbol: str) -> int:
        """The id of the exchange's newest trade, as its history knows it; -1 where that cannot be had now."""
        history = self._venue.protocol.history
        request = history.newest(self._products[symbol])
        try:
            newest = history.newest_of(await self._rest.get(request.path, weight=request.weight))
        except (RestError, RestRefusedError, FeedRefusedError) as error:
            log.info("%s: the newest trade of %s cannot be asked for: %s", self._venue.exchange, symbol, error)
            return -1
        return newest[0] if newest and newest[0] < TRADE_ID_LIMIT else -1

    def _still_missing(self, symbol: str, parts: Sequence[Part], first: int, last: int) -> list[Range]:
        """What is missing of first..last, as far as it was asked for, ascending."""
        missing = Ids((hole.first, hole.last) for hole in self._sequences.missing(symbol))
        asked = ((max(part.first, first), min(part.last, last)) for part in parts)
        return [found for lower, upper in asked if lower <= upper for found in missing.within(lower, upper)]

    async def _doubt(self, symbol: str, first: int, last: int, cause: str) -> None:
        if not self._plan.put_off(symbol, first, last, time.monotonic()):
            await self._lose(symbol, first, last, cause)

    async def _lose(self, symbol: str, first: int, last: int, cause: str) -> None:
        for hole in self._sequences.missing(symbol):
            if hole.first <= last and hole.last >= first:
                lost = hole._replace(first=max(hole.first, first), last=min(hole.last, last))
                self._tell(lost, "lost", cause)
        await self._release(self._sequences.lose(symbol, first, last))

    def _tell_news(self) -> None:
        """Report what nobody waits for any more."""
        now_s = time.monotonic()
        for hole in self._sequences.late(now_s):
            self._tell(hole, "open", self._cause_of(hole))
        self._edges.tell_news(now_s)
        for hole in self._sequences.given_up():
            self._tell(hole, "lost", RENUMBERED)
        known, self._counts = self._counts, (self._sequences.restarts, self._sequences.strays)
        for what, before, count in zip((RENUMBERED, FAR), known, self._counts, strict=True):
            if count != before:
                self._newest.clear()
                log.warning("%s: %s (%d times so far)", self._venue.exchange, what, count)

    async def _tell_filled(self) -> Never:
        """Report as filled what is, once it is safe: after a crash in between it would be missed by nobody."""
        while True:
            await asyncio.sleep(TICK_S)
            filled = self._sequences.filled()
            if filled:
                await self._release([])
                if self._safe:
                    await self._safe()
                for hole in filled:
                    self._tell(hole, "filled", "back-filled")
