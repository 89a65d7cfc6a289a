"""Back-fill: what is missing of one exchange's trades is asked for over REST, while live trades go on.

Requests go out for the shortest holes first, for newer trades wait for them; now and then for the oldest. A long hole
is fetched page by page, and each page is handed on at once. No error drops a hole: it is asked for again. Only ids
that the exchange answers for, and does not give, in four answers over ten seconds, are lost, and reported as such.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Never

from market.gap import Gap
from market.trade import TRADE_ID_LIMIT, Trade
from producer.completeness.beginning import ExchangeClock, NoBeginningError, beginning
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
STOPPED = "the producer was stopped for longer than RESUME_WINDOW"
RENUMBERED = "the exchange has begun to count its trades anew"
OTHER_COUNT = "trade of another count"
"""What a trade is passed over as whose time does not fit between those of its neighbours."""
_MISFIT_MS = 10_000


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
        report: Callable[[Gap], None],
        safe: Callable[[], Awaitable[None]] | None = None,
        cause_of: Callable[[Hole], str] = lambda hole: MISSED,
        tolerance_ms: int = 2_000,
        pauses_s: Sequence[float] = (0.5, 2.0, 8.0),
    ) -> None:
        """`products`: the exchange's names, by symbol; holes of other symbols are left alone.

        deliver: counts what a page held and puts its trades into the sequences, and publishes what these let go.
        release: publishes trades that the sequences let go. Both do so before they wait for anything, or what is let
        go later would overtake them. report: publishes a gap record.
        safe: returns when what was published before is safe, which a `filled` record has to wait for.
        cause_of: why a hole came to be that is to be reported as open.
        pauses_s: before ids that the exchange did not give are asked for again; REST may lag behind the stream.
        """
        self._venue = venue
        self._products = products
        self._rest = rest
        self._sequences = sequences
        self._deliver = deliver
        self._release = release
        self._report = report
        self._safe = safe
        self._cause_of = cause_of
        self._tolerance_ms = tolerance_ms
        self._plan = Plan(pauses_s)
        self._clock = ExchangeClock(venue, self._answered)
        self._edges: dict[str, str] = {}
        self._restarts = 0
        self._delays = delays(venue.protocol.patience)
        self._quiet_until_s = float("-inf")

    async def run(self) -> Never:
        """Ask for what is missing, for ever. Raises what the callbacks raise."""
        fetches: dict[asyncio.Task[None], str] = {}
        telling = asyncio.create_task(self._tell_filled())
        try:
            while True:
                self._tell()
                now_s = time.monotonic()
                if now_s >= self._quiet_until_s:
                    busy = set(fetches.values())
                    ripe = [hole for hole in self._sequences.ripe(now_s) if hole.symbol in self._products]
                    for symbol, parts in self._plan.next(ripe, busy, AT_ONCE - len(fetches), now_s):
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
        since_ms = self._sequences.whole_until_ms
        try:
            found = await beginning(
                self._venue, self._products[symbol], self._answered, self._clock, since_ms, self._latest_ms()
            )
        except (FeedRefusedError, NoBeginningError, RestRefusedError, ValueError) as error:
            log.warning("%s: the record of %s begins with its first trade: %s", self._venue.exchange, symbol, error)
            self._edges[symbol] = f"the record begins here: {error}"
            return
        if found is None:
            return
        self._mark_stop(symbol, found.first)
        await self._release(self._sequences.begin(symbol, found.first, time.monotonic()))
        for outcomes in found.pages:
            await self._deliver([outcome for outcome in outcomes if _is_from(found.first, outcome)])

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
        last = self._sequences.last(symbol)
        return last is None or newest <= last

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
            await self._lacking(symbol, parts, parts[0].first, parts[-1].last, f"the exchange refuses them: {error}")
        else:
            self._delays = delays(self._venue.protocol.patience)
            misfits = _misfits(page, parts)
            await self._deliver([_passed_over(outcome, misfits) for outcome in page.outcomes])
            for part in parts:
                if any(part.first <= number <= part.last for number in misfits):
                    await self._lose(symbol, part.first, part.last, RENUMBERED)
            await self._lacking(symbol, parts, page.first, page.last, NOT_SERVED)

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

    async def _lacking(self, symbol: str, parts: Sequence[Part], first: int, last: int, cause: str) -> None:
        """The exchange has answered for first..last: what is still missing of the parts in there it did not give."""
        now_s = time.monotonic()
        for hole in self._sequences.missing(symbol):
            for part in parts:
                lower, upper = max(hole.first, part.first, first), min(hole.last, part.last, last)
                if lower <= upper and not self._plan.put_off(symbol, lower, upper, now_s):
                    await self._lose(symbol, lower, upper, cause)

    async def _lose(self, symbol: str, first: int, last: int, cause: str) -> None:
        for hole in self._sequences.missing(symbol):
            if hole.first <= last and hole.last >= first:
                lost = hole._replace(first=max(hole.first, first), last=min(hole.last, last))
                self._report_gap(lost, "lost", cause)
        await self._release(self._sequences.lose(symbol, first, last))

    def _tell(self) -> None:
        """Report what nobody waits for any more."""
        for hole in self._sequences.late(time.monotonic()):
            self._report_gap(hole, "open", self._cause_of(hole))
        for hole in self._sequences.given_up():
            self._report_gap(hole, "lost", RENUMBERED)
        if self._restarts != self._sequences.restarts:
            self._restarts = self._sequences.restarts
            log.warning("%s: %s (%d times so far)", self._venue.exchange, RENUMBERED, self._restarts)
        for symbol, cause in list(self._edges.items()):
            first = self._sequences.first(symbol)
            if first is not None:
                del self._edges[symbol]
                if not self._mark_stop(symbol, first) and first > 0:
                    self._report_gap(Hole(symbol, first - 1, first - 1), "lost", cause)

    def _mark_stop(self, symbol: str, first: int) -> bool:
        """Report what lies between the old record, if there is one too old to go on with, and the new one."""
        ended = self._sequences.ended.pop(symbol, first)
        if ended >= first:
            return False
        if ended + 1 < first:
            self._report_gap(Hole(symbol, ended + 1, first - 1), "lost", STOPPED)
        return True

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
                    self._report_gap(hole, "filled", "back-filled")

    def _report_gap(self, hole: Hole, status: str, cause: str) -> None:
        level = logging.WARNING if status == "lost" else logging.INFO
        log.log(
            level, "%s %s: ids %d to %d %s: %s", self._venue.exchange, hole.symbol, hole.first, hole.last, status, cause
        )
        self._report(
            Gap(
                self._venue.exchange,
                hole.symbol,
                hole.first,
                hole.last,
                status,
                cause,
                time.time_ns() // 1_000_000,
                hole.after_ms,
                hole.before_ms,
            )
        )

    def _latest_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self._tolerance_ms


def _is_from(first: int, outcome: Outcome) -> bool:
    """Whether an outcome is not a trade from before the beginning."""
    return not outcome.trades or outcome.trades[0].trade_id >= first


def _misfits(page: Page, parts: Iterable[Part]) -> set[int]:
    """The ids of trades whose times do not fit between those that are known around their part."""
    trades = [trade for outcome in page.outcomes for trade in outcome.trades]
    return {
        trade.trade_id
        for part in parts
        for trade in trades
        if part.first <= trade.trade_id <= part.last
        and (
            (part.after_ms is not None and trade.timestamp < part.after_ms - _MISFIT_MS)
            or (part.before_ms is not None and trade.timestamp > part.before_ms + _MISFIT_MS)
        )
    }


def _passed_over(outcome: Outcome, misfits: set[int]) -> Outcome:
    is_misfit = bool(outcome.trades) and outcome.trades[0].trade_id in misfits
    return Outcome(passed_over=OTHER_COUNT) if is_misfit else outcome
