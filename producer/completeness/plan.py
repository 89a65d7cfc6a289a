"""What to ask for next: which holes, in which pages. Pure, with the time as an argument."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from market.ids import Ids
from producer.completeness.beginning import PAGE
from producer.completeness.sequence import Hole

_OLDEST_EVERY = 4
_LONGEST_S = 300.0


class Part(NamedTuple):
    """A hole, or a part of one, that may be asked for."""

    first: int
    last: int
    found_s: float
    after_ms: int | None
    before_ms: int | None


class _Doubt(NamedTuple):
    """Ids that the exchange did not give, though it answered for them."""

    first: int
    last: int
    answers: int
    """How many answers count towards giving them up."""
    tries: int
    again_s: float


class Plan:
    """Which holes were asked for in vain, and what to ask for next."""

    def __init__(self, pauses_s: Sequence[float]) -> None:
        self._pauses_s = pauses_s
        self._doubts: dict[str, list[_Doubt]] = {}
        self._turns = 0

    def next(self, holes: Iterable[Hole], busy: set[str], count: int, now_s: float) -> Iterator[tuple[str, list[Part]]]:
        """Up to `count` pages to ask for, each the parts of one symbol that is not busy, ascending.

        The shortest part comes first, every fourth time the oldest: many short ones do not keep a long one away.
        """
        by_symbol = defaultdict(list)
        for hole in holes:
            by_symbol[hole.symbol].append(hole)
        self._doubts = {symbol: doubts for symbol, doubts in self._doubts.items() if symbol in by_symbol}
        open_ = {
            symbol: self._parts(symbol, theirs, now_s) for symbol, theirs in by_symbol.items() if symbol not in busy
        }
        for _ in range(count):
            candidates = [(symbol, part) for symbol, parts in open_.items() for part in parts]
            if not candidates:
                return
            self._turns += 1
            symbol, chosen = min(candidates, key=_age if self._turns % _OLDEST_EVERY == 0 else _length)
            yield symbol, _page_of(chosen, open_.pop(symbol))

    def put_off(self, symbol: str, first: int, last: int, now_s: float, *, counts: bool = True) -> bool:
        """The exchange did not give these ids: ask again later, True; or it has been asked often enough, False.

        An answer that does not say that they are gone does not count; after many the pauses grow to minutes.
        """
        doubts = self._doubts.setdefault(symbol, [])
        same = [doubt for doubt in doubts if _touches(doubt, first, last)]
        answers = counts + max((doubt.answers for doubt in same), default=0)
        tries = 1 + max((doubt.tries for doubt in same), default=0)
        doubts[:] = [rest for doubt in doubts for rest in _without(doubt, first, last)]
        if answers > len(self._pauses_s):
            return False
        beyond = max(tries - len(self._pauses_s), 0)
        pause_s = min(self._pauses_s[min(tries, len(self._pauses_s)) - 1] * 2.0 ** min(beyond, 30), _LONGEST_S)
        doubts.append(_Doubt(first, last, answers, tries, now_s + pause_s))
        return True

    def _parts(self, symbol: str, holes: Sequence[Hole], now_s: float) -> list[Part]:
        """What may be asked for now of a symbol's holes, ascending."""
        missing = Ids((hole.first, hole.last) for hole in holes)
        doubts = [doubt for doubt in self._doubts.get(symbol, ()) if missing.within(doubt.first, doubt.last)]
        if doubts:
            self._doubts[symbol] = doubts
        asleep = [(doubt.first, doubt.last) for doubt in doubts if doubt.again_s > now_s]
        return [
            Part(first, last, hole.found_s, hole.after_ms, hole.before_ms)
            for hole in holes
            for first, last in Ids([(hole.first, hole.last)]).without(asleep).ranges()
        ]


def _length(candidate: tuple[str, Part]) -> tuple[int, float]:
    part = candidate[1]
    return part.last - part.first, part.found_s


def _age(candidate: tuple[str, Part]) -> float:
    return candidate[1].found_s


def _page_of(chosen: Part, parts: Sequence[Part]) -> list[Part]:
    """A part and those around it that one page can hold; a part that is longer than a page alone."""
    if chosen.last - chosen.first >= PAGE:
        return [chosen]
    below = [part for part in parts if part.first > chosen.last - PAGE and part.last <= chosen.last]
    lowest = below[0].first
    return [part for part in parts if part.first >= lowest and part.last < lowest + PAGE]


def _touches(doubt: _Doubt, first: int, last: int) -> bool:
    return doubt.first <= last and doubt.last >= first


def _without(doubt: _Doubt, first: int, last: int) -> list[_Doubt]:
    rest = Ids([(doubt.first, doubt.last)]).without([(first, last)])
    return [doubt._replace(first=lower, last=upper) for lower, upper in rest.ranges()]
