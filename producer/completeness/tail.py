"""What the topics say of the time before this start; pure, fed record by record.

The tail of the trades topic has the ids that were published last; the gaps topic has what was missing or lost. A tail
begins in the middle: the ids below it are not missing, only unknown. Nor is every id above its lowest one known: what
was back-filled late lies far below the live trades beside it. Late ones were reported as open before, so the lowest
id that was never open tells from where on the tail is whole.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

from market.gap import EDGE, Gap, read_gap
from market.ids import Ids, Range
from market.trade import Rejected, Trade, read_record
from producer.completeness.account import RENUMBERED_MS
from producer.completeness.ids import SeenIds
from producer.completeness.sequence import Hole, Sequences

log = logging.getLogger(__name__)

_SIMULATED = "sim-"
"""Simulated exchanges are never replayed, and their clock may show any year."""
_ANY_TIME_MS = 2**60  # what stands in the topic was published, be its time ever so late
_MINUTE_MS = 60_000
_ON_ITS_WAY_MS = 10_000
"""A trade may be so much older than its record in Kafka: it was on its way, or waited for others."""


class Known(NamedTuple):
    """What is known of one symbol; see `Sequences.resume`."""

    seen: list[Range]
    gone: list[Range]
    open_: list[Hole]
    since: int
    newest_ms: int
    last: int | None
    """The newest id in the tail."""
    filled: list[Range]
    """Ids in the tail that a gap record still tells as open or lost."""
    edge: Gap | None
    """The record that tells that the beginning was not known yet."""


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
        self.edge: Gap | None = None
        self._records: list[Gap] = []

    def add(self, gap: Gap) -> None:
        first, last = gap.first_trade_id, gap.last_trade_id
        self.open.exclude(first, last)
        self.lost.exclude(first, last)
        if self.edge and first <= self.edge.first_trade_id <= last:
            self.edge = None
        if gap.status == "open" and gap.cause.startswith(EDGE):
            self.edge = gap
        elif gap.status == "open":
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

    def __init__(self, *, window_ms: int) -> None:
        self.records = 0
        """Records of the trades topic that were read."""
        self._window_ms = window_ms
        self._seen: dict[str, dict[str, _Seen]] = defaultdict(lambda: defaultdict(_Seen))
        self._gaps: dict[str, dict[str, _Gaps]] = defaultdict(lambda: defaultdict(_Gaps))
        self._whole_until_ms: Counter[str] = Counter()
        self._oldest_ms: dict[str, int] = {}

    def add_record(self, value: bytes | None, kafka_time_ms: int, only: Collection[str] | None = None) -> None:
        """One record of the trades topic, in the order of its partition; `only`: the exchanges that it counts for."""
        self.records += 1
        if only is not None and not any(exchange.encode() in (value or b"") for exchange in only):
            return
        for element in read_record(value, kafka_time_ms, _ANY_TIME_MS):
            if isinstance(element, Rejected):
                continue
            time_ms = element.timestamp if isinstance(element, Trade) else element.heartbeat
            exchange = element.exchange
            if time_ms < kafka_time_ms - self._window_ms and not exchange.startswith(_SIMULATED):
                continue  # replayed: it says nothing of where the exchange stands
            if only is not None and exchange not in only:
                continue
            self._oldest_ms[exchange] = min(self._oldest_ms.get(exchange, kafka_time_ms), kafka_time_ms)
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

    def knows(self, exchange: str) -> bool:
        """Whether anything of an exchange was in what was read."""
        return exchange in self._oldest_ms

    def restore(self, exchange: str, sequences: Sequences) -> None:
        """Let the sequences of an exchange, which are new, go on where the topic ends.

        However long ago that was: the exchange is asked for all that it has made since. A symbol that is not in what
        was read goes on from the newest heartbeat. Where there is none, it goes on from the oldest record of the
        exchange, some of its trades then a second time.
        """
        if self._whole_until_ms[exchange]:
            sequences.whole_until_ms = self._whole_until_ms[exchange]
        elif self.knows(exchange):
            # The first record of all may be younger than the minute with which the record was to begin.
            began_ms = self._oldest_ms[exchange] - _ON_ITS_WAY_MS
            sequences.whole_until_ms = began_ms - began_ms % _MINUTE_MS
        elif self.records:
            sequences.past_unknown = f"{EDGE}: nothing of {exchange} is in the part of the topic that was read"
        for symbol in self._seen[exchange].keys() | self._gaps[exchange].keys():
            known = self.known(exchange, symbol)
            sequences.resume(
                symbol,
                known.seen,
                known.gone,
                open_=known.open_,
                since=known.since,
                newest_ms=known.newest_ms,
                filled=known.filled,
                edge=known.edge.first_trade_id if known.edge else None,
            )
            if known.edge and known.edge.before is not None:
                sequences.since_ms[symbol] = known.edge.before // _MINUTE_MS * _MINUTE_MS

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
            return Known([], [], [], 0, 0, None, [], gaps.edge)
        untold = Ids([*gaps.open.ranges(), *gaps.lost.ranges()])
        lowest, highest = min(bounds)[0], max(last for _, last in bounds)
        return Known(
            seen,
            Ids(lost).within(lowest, highest),
            gaps.holes(symbol, missing),
            live[0][0] if live else highest + 1,
            trades.newest_ms,
            trades.last if live else None,
            [found for first, last in seen for found in untold.within(first, last)],
            gaps.edge,
        )
