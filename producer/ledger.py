"""The account of everything that came in: received = published + in hand + rejected + passed over + duplicates."""

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
    """Counts each element once, and lets each trade pass once."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self.received = 0
        self.trades: Counter[str] = Counter()
        """New trades by exchange: what has gone on to be published."""
        self.rejected: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.duplicates = 0
        self._seen: defaultdict[tuple[str, str], SeenIds] = defaultdict(SeenIds)
        self._now_s = now_s
        self._told_s: dict[str, float] = {}
        self._reported = (now_s(), Counter[str]())

    def enter(self, exchange: str, outcome: Outcome, frame: str | bytes) -> list[Trade]:
        """Count what a frame held; the trades in it that had not come before."""
        if outcome.trades:
            self.received += len(outcome.trades)
            new = [trade for trade in outcome.trades if self._seen[trade.exchange, trade.symbol].add(trade.trade_id)]
            self.trades[exchange] += len(new)
            self.duplicates += len(outcome.trades) - len(new)
            return new
        self.received += 1
        if outcome.rejected:
            self._count(self.rejected, outcome.rejected)
            self._tell(logging.WARNING, outcome.rejected, "%s: rejected: %s: %.300r", exchange, outcome.rejected, frame)
        else:
            self._count(self.passed_over, outcome.passed_over or _OTHER)
        if outcome.complaint:
            self._tell(logging.ERROR, "complaint", "%s answers with an error: %s", exchange, outcome.complaint)
        return []

    def follows(self, trade: Trade) -> bool:
        """Whether the trade is the next after one that has come."""
        return trade.trade_id - 1 in self._seen[trade.exchange, trade.symbol]

    def report(self, published: int, unacknowledged: int) -> str:
        """One line: the account so far, and the rate of each exchange since the last report."""
        now_s, trades = self._now_s(), self.trades.copy()
        then_s, before = self._reported
        self._reported = now_s, trades
        elapsed_s = max(now_s - then_s, 1e-3)
        rates = [f"{exchange} {(trades[exchange] - before[exchange]) / elapsed_s:.0f}/s" for exchange in sorted(trades)]
        counts = (
            f"received {self.received}, published {published}, un-acked {unacknowledged}, "
            f"rejected {self.rejected.total()}, passed over {self.passed_over.total()}, duplicates {self.duplicates}"
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

    def _count(self, counter: Counter[str], name: str) -> None:
        counter[name if name in counter or len(counter) < _KINDS else _OTHER] += 1

    def _tell(self, level: int, topic: str, text: str, *values: object) -> None:
        """Log the first of a kind, then one per interval: the counters have them all."""
        now_s = self._now_s()
        if now_s - self._told_s.get(topic, float("-inf")) >= _LOG_EVERY_S:
            self._told_s[topic] = now_s
            log.log(level, text, *values)
