"""Trades in the order of their ids, and the ids that are missing: what goes out at once, what waits, what to ask for.

An exchange counts the trades of a symbol without gaps. So an id that follows the last one goes at once; one that does
not opens a hole, and newer trades of that symbol wait for it, but never longer than `wait_s`. A hole stays on the
list until it is filled, in order or late, or lost. Pure: times are arguments, in seconds of one monotonic clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from market.ids import Range
from market.trade import Trade
from producer.completeness.account import JUMP, Account
from producer.completeness.spans import PASSED, Span


class Hole(NamedTuple):
    """A range of trade ids of one symbol that are missing, both ends included."""

    symbol: str
    first: int
    last: int
    after_ms: int | None = None
    """Time of the last known trade before it, where there is one."""
    before_ms: int | None = None
    """Time of the first known trade after it, where there is one."""
    found_s: float = float("-inf")
    """When it was found; holes of the time before the program's start are older than all others."""


class Sequences:
    """The sequences of trade ids of one exchange, each of its symbols for itself."""

    def __init__(self, *, wait_s: float, grace_s: float = 0.3, waiting_limit: int = 100_000) -> None:
        """`grace_s`: trades swap places within 250 ms; a hole that is younger is not asked for over REST."""
        self.waiting = 0
        """Trades that wait for a lower id."""
        self.duplicates = 0
        """Trades that had come before."""
        self.whole_until_ms: int | None = None
        """A time up to which the topic holds every trade of the exchange, also of symbols not known here."""
        self.past_unknown: str | None = None
        """Why nothing is known of the time before this start, although others have published then."""
        self.since_ms: dict[str, int] = {}
        """Symbols whose beginning was not known when the last run ended: a time at which their record may begin."""
        self._wait_s = wait_s
        self._grace_s = grace_s
        self._waiting_limit = waiting_limit
        self._accounts: dict[str, Account] = {}
        self._timers: list[
            tuple[float, str]
        ] = []  # a heap: the deadline of each symbol that has one, or an earlier one of it
        self._timed: set[str] = set()

    @property
    def restarts(self) -> int:
        """How often an exchange has begun to count a symbol's trades anew."""
        return sum(account.restarts for account in self._accounts.values())

    @property
    def strays(self) -> int:
        """Trades whose id was too far ahead to be believed; they are counted as duplicates."""
        return sum(account.strays for account in self._accounts.values())

    def resume(
        self,
        symbol: str,
        seen: Sequence[Range],
        gone: Sequence[Range] = (),
        *,
        open_: Sequence[Hole] = (),
        since: int | None = None,
        newest_ms: int = 0,
        filled: Sequence[Range] = (),
        edge: int | None = None,
    ) -> None:
        """Begin a symbol with what the topics say, before its first trade.

        seen: ids that the topic holds. gone: ids reported as lost. open_: ids reported as open, which are missing.
        since: the id from which on `seen` is whole, so that the ids between its ranges are missing; what lies below
        is unknown, and not asked for. Without it, the lowest of `seen`; above all of them: nothing is known but what
        is open. newest_ms: the time of the newest trade in the topic; 0: not known. filled: what was reported as open
        or lost, and is there all the same. edge: what lies below this id, and it, may be missing; `begin` will tell.
        """
        if since is None:
            since = min((first for first, _ in seen), default=2**63)
        account = self._accounts[symbol] = Account()
        told = [Span(hole.first, hole.last, PASSED, PASSED, True, hole.after_ms, hole.before_ms) for hole in open_]
        account.restore(seen, gone, told, since, newest_ms, edge)
        account.filled = list(filled)
        account.release()

    def take(self, trade: Trade, now_s: float) -> list[Trade]:
        """What may be published now that this trade has come, in the order of ids: nothing if it waits or is known."""
        account = self._accounts.get(trade.symbol)
        if account is not None and account.flows and trade.trade_id == account.last + 1:
            account.last += 1
            if trade.timestamp > account.newest_ms:
                account.newest_ms = trade.timestamp
            return [trade]
        if account is None:
            account = self._accounts[trade.symbol] = Account()
        if not account.enter(trade, now_s, now_s + self._wait_s):
            self.duplicates += 1
            return []
        self.waiting += 1
        account.pass_until(now_s)
        return self._settled(trade.symbol, account)

    def bound(self, symbol: str, newest: int, now_s: float) -> None:
        """The exchange says that it has counted so far: what we have less is missing."""
        account = self._accounts.get(symbol)
        if account is not None and account.counts and account.last < newest <= account.last + JUMP:
            account.open(newest, now_s, now_s + self._wait_s)
            account.flows = False
            self._time(symbol, account)

    def begin(self, symbol: str, first: int, now_s: float) -> list[Trade]:
        """The record of a symbol without a past begins with this id: what we have not is missing from there on.

        While its first trades wait, they wait for these ids; afterwards these follow late. Once only.
        """
        account = self._accounts.setdefault(symbol, Account())
        account.pass_until(now_s)
        account.begin(first)
        return self._settled(symbol, account)

    def forgo(self, symbol: str) -> None:
        """Nobody will ever know with which id the record of a symbol begins, or there is none before its first."""
        self._accounts.setdefault(symbol, Account()).forgone = True

    def edges(self, now_s: float) -> list[Hole]:
        """The id before the first trade of each record whose first trades go out soon, before its beginning is known.

        Each once, to be reported as open, while those still wait: after a crash nothing else would tell that there
        was a question.
        """
        found = []
        for symbol, account in self._accounts.items():
            if account.starts_by(now_s + self._wait_s / 2):
                account.edge = (account.start or 0) - 1
                found.append(Hole(symbol, account.edge, account.edge, None, account.start_ms))
        return found

    def edge(self, symbol: str) -> int | None:
        """The id that `edges` has told of a symbol, in this run or, unsettled, in the last one."""
        account = self._accounts.get(symbol)
        return account.edge if account else None

    def report(self, symbol: str, first: int, last: int) -> list[Hole]:
        """What is missing of these ids; it counts as reported from now on."""
        account = self._accounts.get(symbol)
        return [_hole(symbol, span) for span in account.report(first, last)] if account else []

    def lose(self, symbol: str, first: int, last: int) -> list[Trade]:
        """What is missing of these ids is not to be had: nothing waits for it any more. Should it come, it goes."""
        account = self._accounts.get(symbol)
        if account is None:
            return []
        account.lose(first, last)
        return self._settled(symbol, account)

    def due(self, now_s: float) -> list[Trade]:
        """What has waited for `wait_s`."""
        out: list[Trade] = []
        while self._timers and self._timers[0][0] <= now_s:
            out += self._ring(now_s)
        return out

    def next_due_s(self) -> float | None:
        """The next deadline; None: nothing is waited for."""
        while self._timers:
            due_s, symbol = self._timers[0]
            deadline_s = self._accounts[symbol].deadline_s
            if deadline_s == due_s:
                return due_s
            heappop(self._timers)  # what it stood for has been filled meanwhile
            self._timed.remove(symbol)
            self._time(symbol, self._accounts[symbol])
        return None

    def ripe(self, now_s: float) -> list[Hole]:
        """The holes that live trades will not fill, for they are older than the grace."""
        return [_hole(*found) for found in self._holes() if found[1].found_s <= now_s - self._grace_s]

    def late(self, now_s: float) -> list[Hole]:
        """Holes that newer trades no longer wait for, each once: to be reported as open."""
        found = [found for found in self._holes() if not found[1].reported and found[1].deadline_s <= now_s]
        for _, span in found:
            span.reported = True
        return [_hole(*one) for one in found]

    def filled(self) -> list[Hole]:
        """Ids that have come since the last call although they were reported as open or lost."""
        out = []
        for symbol, account in self._accounts.items():
            if account.filled:
                out += [Hole(symbol, first, last) for first, last in account.filled]
                account.filled = []
        return out

    def given_up(self) -> list[Hole]:
        """Holes of a count that the exchange has given up since the last call: they will not be filled."""
        out = []
        for symbol, account in self._accounts.items():
            if account.given_up:
                out += [_hole(symbol, span) for span in account.given_up]
                account.given_up = []
        return out

    def missing(self, symbol: str) -> list[Hole]:
        """The holes of a symbol, ascending."""
        account = self._accounts.get(symbol)
        return [_hole(symbol, span) for span in account.holes] if account else []

    def gone(self, symbol: str) -> list[Range]:
        """The ids of a symbol that are neither published nor asked for, ascending."""
        account = self._accounts.get(symbol)
        return [(span.first, span.last) for span in account.gone] if account else []

    def symbols(self) -> list[str]:
        """The symbols of which something is known."""
        return list(self._accounts)

    def first(self, symbol: str) -> int | None:
        """The lowest id that is known of; None: there is none."""
        account = self._accounts.get(symbol)
        return account.first if account and account.first <= account.last else None

    def start(self, symbol: str) -> int | None:
        """The first id of a record that has begun in this run; None: it has not."""
        account = self._accounts.get(symbol)
        if account is None:
            return None
        return account.start if account.edge is None else account.edge + 1

    def has_begun(self, symbol: str) -> bool:
        """Whether it is known with which id the record of a symbol begins."""
        account = self._accounts.get(symbol)
        return account is not None and account.begun

    def lacks(self, symbol: str, first: int, last: int) -> bool:
        """Whether any of these ids is not published, as far as is known."""
        account = self._accounts.get(symbol)
        if account is None or first < account.first or last > account.last:
            return True
        return any(span.first <= last and first <= span.last for span in [*account.holes, *account.gone])

    def last(self, symbol: str) -> int | None:
        """The id after which the next is expected; None: nobody knows."""
        account = self._accounts.get(symbol)
        return account.last if account and account.counts else None

    def _settled(self, symbol: str, account: Account) -> list[Trade]:
        """What may go of a symbol after a change, and what has to go so that not too many wait."""
        out = self._released(symbol, account)
        while self.waiting > self._waiting_limit:
            out += self._ring(self._timers[0][0])
        return out

    def _ring(self, now_s: float) -> list[Trade]:
        """The symbol whose deadline comes first: take its deadlines up to now, or else its first one, as passed."""
        _, symbol = heappop(self._timers)
        self._timed.remove(symbol)
        account = self._accounts[symbol]
        account.pass_until(now_s)
        return self._released(symbol, account)

    def _released(self, symbol: str, account: Account) -> list[Trade]:
        out = account.release()
        self.waiting -= len(out)
        self._time(symbol, account)
        return out

    def _time(self, symbol: str, account: Account) -> None:
        """Set the symbol's alarm."""
        deadline_s = account.deadline_s
        if deadline_s is not None and symbol not in self._timed:
            self._timed.add(symbol)
            heappush(self._timers, (deadline_s, symbol))

    def _holes(self) -> Iterable[tuple[str, Span]]:
        return ((symbol, span) for symbol, account in self._accounts.items() for span in account.holes)


def _hole(symbol: str, span: Span) -> Hole:
    return Hole(symbol, span.first, span.last, span.after_ms, span.before_ms, span.found_s)
