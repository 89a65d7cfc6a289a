"""The account of one symbol's trade ids. Pure, with the time as an argument.

Every id from `first` to `last` is in one of four places: published; waiting, because a lower id that may still come in
time is missing; missing (a hole); or gone, which is not asked for any more, or never was. Only holes and gone ids are
written down, as ranges: what is in neither, and does not wait, is published. So a symbol needs no memory of its own
for what it has published, and a trade is a duplicate exactly if its id is none that is missing, gone or outside.

A hole has a deadline, up to which trades above it wait. Deadlines ascend with the ids, so the holes whose deadline
has passed are the lowest ones, and the lowest of the others is the gate: trades below it go, trades above it wait.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from heapq import heappop, heappush

from market.ids import Ids, Range
from market.trade import Trade
from producer.completeness.spans import PASSED, Span, by_deadline, by_first, by_last, cut, join_lowest

RANGES = 1_000
"""Holes of one symbol at most, and ranges of gone ids: beyond, the two lowest become one that includes what lies
between. Ids in there would go out twice if they came twice, which readers notice, and none would be held back."""

RENUMBERED_MS = 10_000
"""A known id with a time so much later than that of every trade before is another trade: times ascend with the ids
[measured], so the exchange has begun to count anew. Test exchanges do so each month, ours when its rate is changed."""

JUMP = 10_000_000
"""An id so far above the newest one is not believed: it would be a hole of days. A second one near to it shows that
they are real; what lies below is then missing, the first one too."""
_NEAR = 1_000  # two odd trades whose ids are so close belong together, one is an oddity


class Account:
    """The account of one symbol. `first` > `last`: no id is known."""

    def __init__(self) -> None:
        self.first, self.last = 0, -1
        self.newest_ms = 0
        """Time of the newest trade; 0: not known."""
        self.holes: list[Span] = []
        self.gone: list[Span] = []
        self.waiting: list[tuple[int, Trade]] = []  # a heap
        self.filled: list[Range] = []
        """Ids that came although a gap record tells of them, since somebody asked last."""
        self.given_up: list[Span] = []
        """Holes of a count that the exchange has given up, since somebody asked last."""
        self.flows = False
        """Whether the next id goes at once."""
        self.counts = False
        """Whether ids above `last` follow it: not before the first trade of a symbol of which no trade is known."""
        self.begun = False
        """Whether it is known with which id the record begins: up to then the first trades wait for that."""
        self.forgone = False
        """Whether that will never be known."""
        self.start: int | None = None
        """The first id of a record that was begun in this run."""
        self.start_ms: int | None = None
        """Time of the first trade that came of it."""
        self.edge: int | None = None
        """The id before it, once a gap record tells that what lies below is still to be asked for."""
        self.restarts = 0
        self.strays = 0
        """Trades whose id was too far ahead to be believed."""
        self._start_s: float | None = None  # until when they wait
        self._is_resumed = False  # whether what lies above the edge was known from the topic
        self._odd: int | None = None  # a known id with a later time, which may be the beginning of a new count
        self._far: int | None = None  # the newest id that was too far ahead to be believed
        self._freed: list[Trade] = []

    @property
    def deadline_s(self) -> float | None:
        """Until when trades wait for a lower id; None: none waits, and the next one will not."""
        if self._start_s is not None:
            return self._start_s
        gate = self._gate()
        return self.holes[gate].deadline_s if gate < len(self.holes) else None

    def enter(self, trade: Trade, now_s: float, deadline_s: float) -> bool:
        """Take a trade in, then `release`; False for a duplicate. A hole that it opens has the deadline."""
        number, time_ms = trade.trade_id, trade.timestamp
        if number <= self.last:
            if self._is_odd(trade):
                if not self._recount(number):
                    heappush(self.waiting, (number, trade))
                    return True
            elif not self._is_wanted(trade):
                return False
        elif not self.counts:
            self._anchor(trade, deadline_s)
        elif number > self.last + JUMP and not self._confirms(number):
            return False
        elif number > self.last + 1:
            self.open(number - 1, now_s, deadline_s, before_ms=time_ms)
        elif self.holes and self.holes[-1].last == self.last:
            self.holes[-1].before_ms = time_ms  # of a hole whose end the exchange told
        self.last = max(self.last, number)
        self.newest_ms = max(self.newest_ms, time_ms)
        heappush(self.waiting, (number, trade))
        return True

    def open(self, last: int, now_s: float, deadline_s: float, before_ms: int | None = None) -> None:
        """The ids after the newest one up to `last` are missing."""
        deadline_s = max(deadline_s, self.holes[-1].deadline_s if self.holes else PASSED)
        self.holes.append(Span(self.last + 1, last, now_s, deadline_s, False, self.newest_ms or None, before_ms))
        self.last = last

    def begin(self, first: int) -> None:
        """The record begins with this id: what we have not is missing from there on."""
        if self.begun:
            return
        self.begun = True
        self.start = first
        if not self.counts:
            self.counts = True
            self._leap(first)
            if self.edge is not None and self.edge >= first:
                self.open(self.edge, PASSED, PASSED)
            return
        deadline_s, self._start_s = PASSED if self._start_s is None else self._start_s, None
        last = self.edge if self._is_resumed and self.edge is not None else self.last
        unknown = cut(self.gone, first, last)
        if first < self.first:
            lowest = self.waiting[0][1].timestamp if self.waiting else None
            lower, self.first = self.first, first
            if first <= last:
                unknown.append(Span(first, min(lower - 1, last), before_ms=lowest))
            if max(first, last + 1) < lower:
                self._give_up(Span(max(first, last + 1), lower - 1))
        for span in unknown:
            if span.reported:
                self._give_up(span)
            else:
                self._insert(span, deadline_s)

    def report(self, first: int, last: int) -> list[Span]:
        """What is missing of first..last, which counts as told from now on."""
        spans = cut(self.holes, first, last)
        for span in spans:
            span.reported = True
            insort(self.holes, span, key=by_first)
        return spans

    def lose(self, first: int, last: int) -> None:
        """What is missing of first..last is gone."""
        for span in cut(self.holes, first, last):
            span.reported = True
            self._give_up(span)

    def pass_until(self, now_s: float) -> None:
        """Deadlines up to this time have passed."""
        if self._start_s is not None and self._start_s <= now_s:
            self._start_s = None
        for span in self.holes[self._gate() : bisect_right(self.holes, now_s, key=by_deadline)]:
            span.deadline_s = PASSED

    def release(self) -> list[Trade]:
        """What may go now, in order."""
        surplus = max(len(self.holes) - RANGES, 0)
        for span in self.holes[: surplus + 1] if surplus else []:
            span.deadline_s = PASSED
        freed, self._freed = self._freed, []
        gate = self._gate()
        limit = self.holes[gate].first if gate < len(self.holes) else self.last + 1
        if self._start_s is not None:
            limit = min(limit, self.start or 0)
        while self.waiting and self.waiting[0][0] < limit:
            freed.append(heappop(self.waiting)[1])
        if surplus:
            self._join(self.holes[: surplus + 1])
        self.flows = self.counts and self.deadline_s is None
        return freed

    def restore(
        self,
        seen: Sequence[Range],
        gone: Sequence[Range],
        open_: Sequence[Span],
        since: int,
        newest_ms: int,
        edge: int | None,
    ) -> None:
        """Begin with what is known of the past: see `Sequences.resume`."""
        self.edge, self._is_resumed = edge, edge is not None
        known = Ids([*seen, *gone])
        for span in open_:
            missing = Ids([(span.first, span.last)]).without(known.within(span.first, span.last)).ranges()
            self.holes += [span.part(*ids) for ids in missing]
            known.include(span.first, span.last)
        if not known:
            return
        self.first, self.last = known.ranges()[0][0], known.ranges()[-1][1]
        self.newest_ms = newest_ms
        self.counts = since <= self.last
        self.begun = self.counts and edge is None
        rest = Ids([(self.first, self.last)]).without(known.ranges())
        self.holes = sorted([*self.holes, *(Span(*ids) for ids in rest.within(since, self.last))], key=by_first)
        lost = [Span(*ids, reported=True) for ids in Ids(gone).without(seen).ranges()]
        self.gone = sorted(lost + [Span(*ids) for ids in rest.within(self.first, since - 1)], key=by_first)

    def _is_odd(self, trade: Trade) -> bool:
        """Whether a known id bears a time that it cannot have."""
        return 0 < self.newest_ms < trade.timestamp - RENUMBERED_MS and bisect_left(
            self.holes, trade.trade_id, key=by_last
        ) == bisect_right(self.holes, trade.trade_id, key=by_first)

    def _is_wanted(self, trade: Trade) -> bool:
        """Whether an id that is not new is one that is not published; it is then no longer missing nor gone."""
        number = trade.trade_id
        spans = cut(self.holes, number, number, trade.timestamp)
        if not spans:
            spans = cut(self.gone, number, number)
            if not spans and number >= self.first:
                return False
            if number < self.first:
                if number + 1 < self.first:
                    self._give_up(Span(number + 1, self.first - 1))
                self.first = number
            if self.start is not None and number < self.start and not self.begun:
                self.start, self.start_ms = number, trade.timestamp
        if spans and spans[0].reported:
            self._note_filled(number)
        return True

    def _anchor(self, trade: Trade, deadline_s: float) -> None:
        """The first trade of a symbol of which none was known: it waits for `begin`."""
        self.counts = True
        self._start_s, self.start, self.start_ms = deadline_s, trade.trade_id, trade.timestamp
        self._leap(trade.trade_id)

    def starts_by(self, now_s: float) -> bool:
        """Whether the first trades have gone by a time, or go then, before it is known what the record begins with."""
        if self.begun or self.forgone or self.edge is not None or not self.start:
            return False
        return self._start_s is None or self._start_s <= now_s

    def _confirms(self, number: int) -> bool:
        """Whether an id that is too far ahead is the second one there."""
        far, self._far = self._far, number
        if far is not None and 0 < number - far <= _NEAR:
            return True
        self.strays += 1
        return False

    def _leap(self, number: int) -> None:
        """What lies between the newest known id and this one was perhaps published long ago: it is not asked for."""
        if self.first > self.last:
            self.first, self.last = number, number - 1
        elif self.last + 1 < number:
            self._give_up(Span(self.last + 1, number - 1))
            self.last = number - 1

    def _recount(self, number: int) -> bool:
        """A known id with a later time: another trade. The second one in line begins a new account."""
        odd, self._odd = self._odd, number
        if odd is None or not 0 < number - odd <= _NEAR:
            return False
        self._freed = [trade for _, trade in sorted(self.waiting)]
        self.given_up += self.holes
        self.waiting, self.holes, self.gone, self._odd, self._start_s = [], [], [], None, None
        self.begun = self.counts = True
        self.restarts += 1
        self.first = self.last = odd
        if odd + 1 < number:
            self.open(number - 1, PASSED, PASSED)
        return True

    def _give_up(self, span: Span) -> None:
        span.deadline_s = PASSED
        place = bisect_right(self.gone, span.first, key=by_first)
        self.gone.insert(place, span)
        if len(self.gone) > RANGES:
            join_lowest(self.gone, self.holes)

    def _insert(self, span: Span, deadline_s: float) -> None:
        place = bisect_right(self.holes, span.first, key=by_first)
        span.deadline_s = PASSED if place < self._gate() else deadline_s
        self.holes.insert(place, span)

    def _join(self, holes: list[Span]) -> None:
        """Make one hole of the lowest ones."""
        first, last = holes[0], holes[-1]
        joined = Span(first.first, last.last, first.found_s, after_ms=first.after_ms, before_ms=last.before_ms)
        cut(self.gone, joined.first, joined.last)
        self.holes[: len(holes)] = [joined]

    def _note_filled(self, number: int) -> None:
        if self.filled and self.filled[-1][1] == number - 1:
            self.filled[-1] = (self.filled[-1][0], number)
        else:
            self.filled.append((number, number))

    def _gate(self) -> int:
        """Place of the lowest hole whose deadline has not passed."""
        return bisect_right(self.holes, PASSED, key=by_deadline)
