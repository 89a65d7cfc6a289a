"""The account of everything that came in, in elements: a trade is one, and so is a frame that holds none.

    received = published + in hand + rejected + passed over + duplicates

`in hand` is what is on its way: waiting for a missing trade, in a batch, un-acknowledged, or on disk. The difference of
the two sides is always zero, and a metric.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable

from market.trade import Trade
from producer.completeness.ids import SeenIds
from producer.exchanges.outcome import Outcome

log = logging.getLogger(__name__)

_LOG_EVERY_S = 10.0
_KINDS = 50
"""Kinds and reasons counted by name at most; the names come from outside."""
_OTHER = "other"


class Ledger:
    """Counts each element once, by exchange and by what became of it."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.received: Counter[str] = Counter()
        """Elements by exchange."""
        self.trades: Counter[str] = Counter()
        """New trades by exchange: what has gone on to be published."""
        self.duplicates: Counter[str] = Counter()
        self.rejected: Counter[str] = Counter()
        """By reason."""
        self.passed_over: Counter[str] = Counter()
        """By kind."""
        self._seen: defaultdict[tuple[str, str], SeenIds] = defaultdict(SeenIds)
        self._now_s = now_s
        self._told_s: dict[str, float] = {}
        self._reported = (now_s(), Counter[str]())

    def count(self, exchange: str, outcome: Outcome, frame: object) -> None:
        """Count what a frame held. What becomes of its trades is told by `new` and `doubled`."""
        self.received[exchange] += len(outcome.trades)
        for reason in (*outcome.rejections, *filter(None, [outcome.rejected])):
            self.received[exchange] += 1
            self._count(self.rejected, reason)
            self._tell(logging.WARNING, reason, "%s: rejected: %s: %.300r", exchange, reason, frame)
        if outcome.passed_over is not None:
            self.received[exchange] += 1
            self._count(self.passed_over, outcome.passed_over)
        if outcome.complaint:
            self._tell(logging.ERROR, "complaint", "%s answers with an error: %s", exchange, outcome.complaint)

    def pass_over(self, exchange: str, kind: str, elements: int) -> None:
        """Elements that are told again, or not asked for, are left out."""
        self.received[exchange] += elements
        if elements:
            self._count(self.passed_over, kind, elements)

    def new(self, exchange: str, trades: int) -> None:
        """Trades have gone on to be published."""
        self.trades[exchange] += trades

    def doubled(self, exchange: str, trades: int) -> None:
        """Trades were known already."""
        self.duplicates[exchange] += trades

    def enter(self, exchange: str, outcome: Outcome, frame: object) -> list[Trade]:
        """Count what a frame of a recording held; the trades in it that had not come before, which are published."""
        self.count(exchange, outcome, frame)
        new = [trade for trade in outcome.trades if self._seen[trade.exchange, trade.symbol].add(trade.trade_id)]
        self.new(exchange, len(new))
        self.doubled(exchange, len(outcome.trades) - len(new))
        return new

    def difference(self, *, waiting: int) -> int:
        """Elements that came in and that nobody accounts for: 0. `waiting` is for a missing trade."""
        counted = (self.trades, self.duplicates, self.rejected, self.passed_over)
        return self.received.total() - sum(counter.total() for counter in counted) - waiting

    def report(self, published: int, unacknowledged: int) -> str:
        """One line: the account so far, and the rate of each exchange since the last report."""
        now_s, trades = self._now_s(), self.trades.copy()
        then_s, before = self._reported
        self._reported = now_s, trades
        elapsed_s = max(now_s - then_s, 1e-3)
        rates = [f"{exchange} {(trades[exchange] - before[exchange]) / elapsed_s:.0f}/s" for exchange in sorted(trades)]
        counts = (
            f"received {self.received.total()}, published {published}, un-acked {unacknowledged}, "
            f"rejected {self.rejected.total()}, passed over {self.passed_over.total()}, "
            f"duplicates {self.duplicates.total()}"
        )
        return f"{counts}; trades: {', '.join(rates) or 'none yet'}"

    def details(self) -> str:
        """The kinds of what was passed over and the reasons of what was rejected."""
        parts = [
            f"{name} ({', '.join(f'{kind}: {count}' for kind, count in counter.most_common())})"
            for name, counter in (("rejected", self.rejected), ("passed over", self.passed_over))
            if counter
        ]
        return "; ".join(parts) or "nothing rejected, nothing passed over"

    def _count(self, counter: Counter[str], name: str, elements: int = 1) -> None:
        counter[name if name in counter or len(counter) < _KINDS else _OTHER] += elements

    def _tell(self, level: int, topic: str, text: str, *values: object) -> None:
        """Log the first of a kind, then one per interval: the counters have them all."""
        now_s = self._now_s()
        if now_s - self._told_s.get(topic, float("-inf")) >= _LOG_EVERY_S:
            self._told_s[topic] = now_s
            log.log(level, text, *values)
