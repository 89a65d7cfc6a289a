"""What the topics say of the time before this start; pure, fed record by record.

The tail of the trades topic has the ids that were published last; the gaps topic has what was missing or lost. A tail
begins in the middle: the ids below it are not missing, only unknown. Nor is every id above its lowest one known: what
was back-filled late lies far below the live trades beside it. Late ones were reported as open before, so the lowest
id that was never open tells from where on the tail is whole.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from market.gap import Gap, read_gap
from market.trade import Rejected, Trade, read_record
from producer.completeness.account import RENUMBERED_MS
from producer.completeness.ids import Ids, Range, SeenIds
from producer.completeness.sequence import Hole, Sequences

log = logging.getLogger(__name__)

_SIMULATED = "sim-"
"""Simulated exchanges are never replayed, and their clock may show any year."""
_ANY_TIME_MS = 2**60  # what stands in the topic was published, be its time ever so late


class Known(NamedTuple):
    """What is known of one symbol; see `Sequences.resume`."""

    seen: list[Range]
    gone: list[Range]
    open_: list[Hole]
    since: int
    newest_ms: int
    last: int | None
    """The newest id in the tail."""


class _Seen:
    """The trades of one symbol in the tail."""

    def __init__(self) -> None:
        self.ids = SeenIds()
        self.last = -1
        self.newest_ms = 0
        self._odd: int | None = None

    def add(self, trade: Trade) -> None:
        number, time_ms = trade.trade_id, trade.timestamp
        if number <= self.last and time_ms > self.newest_ms + RENUMBERED_MS:  # see `account.RENUMBERED_MS`
            odd, self._odd = self._odd, number
            if odd is None or odd >= number:
                return
            self.ids, self.last, self._odd = SeenIds([(odd, odd)]), odd, None
        self.ids.add(number)
        self.last = max(self.last, number)
        self.newest_ms = max(self.newest_ms, time_ms)


class _Gaps:
    """The gap records of one symbol, in their order."""

    def __init__(self) -> None:
        self.open, self.ever_open, self.lost = Ids(), Ids(), Ids()
        self._records: list[Gap] = []

    def add(self, gap: Gap) -> None:
        first, last = gap.first_trade_id, gap.last_trade_id
        self.open.exclude(first, last)
        self.lost.exclude(first, last)
        if gap.status == "open":
            self.open.include(first, last)
            self.ever_open.include(first, last)
            self._records.append(gap)
        elif gap.status == "lost":
            self.lost.include(first, last)

    def holes(self, symbol: str, ranges: Sequence[Range]) -> list[Hole]:
        """Open ranges, with the times that their records tell."""
        holes = []
        for first, last in ranges:
            for gap in reversed(self._records):  # what is open is open by the newest record that names it
                lower, upper = max(first, gap.first_trade_id), min(last, gap.last_trade_id)
                if lower <= upper:
                    break
            whole = gap.first_trade_id <= first and last <= gap.last_trade_id
            holes.append(Hole(symbol, first, last, gap.after if whole else None, gap.before if whole else None))
        return holes


class Tail:
    """What the topics say, by exchange and symbol."""

    def __init__(self, *, window_ms: int, now_ms: int) -> None:
        self.records = 0
        """Records of the trades topic that were read."""
        self._window_ms = window_ms
        self._now_ms = now_ms
        self._seen: dict[str, dict[str, _Seen]] = defaultdict(lambda: defaultdict(_Seen))
        self._gaps: dict[str, dict[str, _Gaps]] = defaultdict(lambda: defaultdict(_Gaps))
        self._whole_until_ms: Counter[str] = Counter()
        self._ended_ms: Counter[str] = Counter()

    def add_record(self, value: bytes | None, kafka_time_ms: int) -> None:
        """One record of the trades topic, in the order of its partition."""
        self.records += 1
        for element in read_record(value, kafka_time_ms, _ANY_TIME_MS):
            if isinstance(element, Rejected):
                continue
            time_ms = element.timestamp if isinstance(element, Trade) else element.heartbeat
            exchange = element.exchange
            if time_ms < kafka_time_ms - self._window_ms and not exchange.startswith(_SIMULATED):
                continue  # replayed: it says nothing of where the exchange stands
            self._ended_ms[exchange] = max(self._ended_ms[exchange], kafka_time_ms)
            if isinstance(element, Trade):
                self._seen[exchange][element.symbol].add(element)
            else:  # a replay's last heartbeat lies ahead of its time
                self._whole_until_ms[exchange] = max(self._whole_until_ms[exchange], min(time_ms, kafka_time_ms))

    def add_gap(self, value: bytes | None) -> None:
        """One record of the gaps topic, in order."""
        gap = read_gap(value)
        if gap is None:
            log.warning("a record of the gaps topic is none, and passed over: %.200r", value)
        else:
            self._gaps[gap.exchange][gap.symbol].add(gap)

    def restore(self, exchange: str, sequences: Sequences) -> None:
        """Let the sequences of an exchange, which are new, go on where the topic ends.

        An exchange whose last record is older than the window is begun anew: what came since is not asked for, but
        reported as lost once it is known where the record goes on.
        """
        is_recent = self._now_ms - self._ended_ms[exchange] <= self._window_ms
        if is_recent and self._whole_until_ms[exchange]:
            sequences.whole_until_ms = self._whole_until_ms[exchange]
        for symbol in self._seen[exchange].keys() | self._gaps[exchange].keys():
            known = self.known(exchange, symbol)
            if is_recent or known.last is None:
                sequences.resume(
                    symbol, known.seen, known.gone, open_=known.open_, since=known.since, newest_ms=known.newest_ms
                )
            else:
                sequences.resume(symbol, [], open_=known.open_, newest_ms=known.newest_ms)
                sequences.ended[symbol] = known.last

    def described(self, exchange: str) -> str:
        """How much is known of an exchange, in a few words."""
        ids = sum(last - first + 1 for seen in self._seen[exchange].values() for first, last in seen.ids.ranges())
        return f"{ids} trades of {len(self._seen[exchange])} symbols"

    def known(self, exchange: str, symbol: str) -> Known:
        """What is known of one symbol."""
        trades, gaps = self._seen[exchange][symbol], self._gaps[exchange][symbol]
        seen = trades.ids.ranges()
        live = trades.ids.without(gaps.ever_open.ranges()).ranges()
        missing = gaps.open.without(seen).ranges()
        lost = gaps.lost.without(seen).ranges()
        bounds = [*seen, *missing]
        if not bounds:
            return Known([], [], [], 0, 0, None)
        lowest, highest = min(bounds)[0], max(last for _, last in bounds)
        return Known(
            seen,
            Ids(lost).within(lowest, highest),
            gaps.holes(symbol, missing),
            live[0][0] if live else highest + 1,
            trades.newest_ms,
            trades.last if live else None,
        )
