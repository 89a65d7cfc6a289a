"""What holding bars to klines shows, interval by interval: what counts as a difference, and what does not."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bars.audit.gaps import Ids, explained
from bars.audit.proof import listed, time_text
from market.gap import Gap
from market.klines import Kline, Klines

KEPT = 1_000
"""Differences that are told, at most."""


@dataclass
class KlineProof:
    """What holding the bars to the klines of one file has shown. Counts are of intervals."""

    origin: str
    exchange: str
    symbol: str
    width_ms: int
    fields: tuple[str, ...]
    equal: int = 0
    quiet: int = 0
    """No trades on either side, and the exchange says so."""
    absent: int = 0
    """The exchange has no row, and there is no bar: a halt, or a quiet interval where it leaves those out."""
    known_gaps: int = 0
    """Differing by trades that are missing here, which gap records account for."""
    edges: int = 0
    """Differing where the table covers a part of the interval, or the kline was still running."""
    outside: int = 0
    """Before the table's range, after it, or not in the range that was asked for."""
    open: int = 0
    """Not closed by the watermark yet."""
    off_grid: int = 0
    """Klines that begin between two intervals, as some of long ago do."""
    different: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def compared(self) -> int:
        """Intervals on which the two sides have spoken."""
        return self.equal + self.quiet + self.known_gaps + self.different

    @property
    def holds(self) -> bool:
        """Whether there was something to compare, and nothing differs."""
        return not self.different and self.compared > 0

    @property
    def verdict(self) -> str:
        """The last line."""
        if not self.compared:
            return "NOTHING WAS COMPARED: no kline lies within the table's range"
        return "THE BARS DO NOT EQUAL THE KLINES" if self.different else "the bars equal the klines"

    def text(self) -> str:
        """For a person to read."""
        return "\n".join(
            [
                f"klines of {self.exchange} {self.symbol}, {self.width_ms // 1_000} s each, from {self.origin}",
                f"compared: {', '.join(self.fields)}",
                f"intervals: {self.equal:,} equal, {self.quiet:,} quiet on both sides, {self.different:,} different, "
                f"{self.known_gaps:,} lacking trades that gap records account for",
                f"not compared: {self.outside:,} outside of the table's range, {self.open:,} still open, "
                f"{self.edges:,} cut by an edge, {self.absent:,} that the exchange has no row for, "
                f"{self.off_grid:,} off the grid",
                *listed("different", self.differences, self.different),
                self.verdict,
            ]
        )

    def document(self) -> dict[str, Any]:
        """For a machine."""
        names = (name for name in self.__dataclass_fields__)
        return {"holds": self.holds, "verdict": self.verdict} | {name: getattr(self, name) for name in names}


@dataclass
class Judge:
    """Holds the bars of one symbol, rolled up, to its klines."""

    proof: KlineProof
    klines: Klines
    covered_from: int
    """Start of the symbol's first bar. Its trades may begin in the middle of it."""
    covered_to: int
    """End of the exchange's last closed bar. Its trades may end in the middle of it."""
    watermark_ms: int
    from_ms: int | None
    to_ms: int | None
    gaps: Sequence[Gap]

    def judge(
        self,
        klines: Sequence[Kline],
        bars: Mapping[int, Any],
        begin: int,
        end: int,
        neighbours: Callable[[], tuple[int | None, int | None]],
        *,
        is_last: bool,
    ) -> None:
        """Counts the intervals from `begin` to `end`: those of klines, and those of bars without one.

        `bars` have the fields of a kline and the first and last id, by their start; `neighbours` gives the last id
        before `begin` and the first from `end` on, or None; `is_last` says that no klines follow.
        """
        width, proof = self.klines.width_ms, self.proof
        there = {kline.start_ms: kline for kline in klines if (kline.start_ms - begin) % width == 0}
        astray = [kline for kline in klines if (kline.start_ms - begin) % width]
        proof.off_grid += len(astray)
        starts = {kline.start_ms - (kline.start_ms - begin) % width for kline in astray}
        touched = starts | {start + width for start in starts if start + width < end}
        spoken = sorted((there.keys() | bars.keys()) - touched)
        proof.absent += (end - begin) // width - len(spoken) - len(touched)
        differing = []
        for start in spoken:
            kline, bar = there.get(start), bars.get(start)
            if start + width > self.watermark_ms:
                proof.open += 1
            elif self._is_outside(start):
                proof.outside += 1
            elif kline is not None and kline.is_quiet and bar is None:
                proof.quiet += 1
            elif kline is not None and bar is not None and not self._changes(kline, bar):
                proof.equal += 1
            elif self._is_cut(start) or (is_last and kline is klines[-1] and self._may_run(kline, bar)):
                proof.edges += 1
            else:
                differing.append((start, kline, bar))
        outer = neighbours() if differing and self.gaps else (None, None)
        for start, kline, bar in differing:
            if kline is not None and self._lacks_what_gaps_tell(start, kline, bar, bars, outer):
                proof.known_gaps += 1
            else:
                proof.different += 1
                if len(proof.differences) < KEPT:
                    proof.differences.append(f"{time_text(start)}: {self._difference(kline, bar)}")

    def _is_outside(self, start: int) -> bool:
        end = start + self.klines.width_ms
        asked = (self.from_ms is None or start >= self.from_ms) and (self.to_ms is None or end <= self.to_ms)
        return not asked or end <= self.covered_from or start >= self.covered_to

    def _is_cut(self, start: int) -> bool:
        # Equals too: within its first second, and its last, the record may begin or end.
        return start <= self.covered_from or start + self.klines.width_ms >= self.covered_to

    def _may_run(self, kline: Kline, bar: Any) -> bool:
        """Whether the newest kline of an answer looks as if more trades followed: ours are more then, never less."""
        return self.klines.newest_may_run and bar is not None and kline.volume < bar["volume"]

    def _changes(self, kline: Kline, bar: Any) -> list[str]:
        pairs = [(name, getattr(kline, name), bar[name]) for name in self.klines.fields]
        return [
            f"{name} {_plain(ours)}, theirs {_plain(theirs)}"
            for name, theirs, ours in pairs
            if not self._same(theirs, ours)
        ]

    def _same(self, theirs: Decimal | int, ours: Decimal | int) -> bool:
        # Candles of Coinbase are JSON numbers: what has been a double may be off behind the eighth decimal.
        is_rough = self.klines.family == "coinbase" and isinstance(theirs, Decimal)
        return (round(theirs, 8) if is_rough else theirs) == ours

    def _difference(self, kline: Kline | None, bar: Any) -> str:
        if kline is None:
            return f"no kline, {bar['trade_count']:,} trades in the bars"
        if bar is None:
            trades = "trades" if kline.trade_count is None else f"{kline.trade_count:,} trades"
            return f"no bar, {trades} with a volume of {_plain(kline.volume)} in the kline"
        return "; ".join(self._changes(kline, bar))

    def _lacks_what_gaps_tell(
        self, start: int, kline: Kline, bar: Any, bars: Mapping[int, Any], outer: tuple[int | None, int | None]
    ) -> bool:
        """Whether ids are missing in or around an interval that gap records account for, and can be what differs."""
        starts = sorted(bars)
        place = bisect_left(starts, start)
        behind = starts[place + (bar is not None) :][:1]
        before = bars[starts[place - 1]]["last_trade_id"] if place else outer[0]
        after = bars[behind[0]]["first_trade_id"] if behind else outer[1]
        if before is None or after is None or before + 1 >= after:
            return False
        span = Ids(self.proof.exchange, self.proof.symbol, before + 1, after - 1)
        count = bar["trade_count"] if bar is not None else 0
        missing = span.number - count
        known = sum(item.ids.number for item in explained([span], [], [], self.gaps) if item.status in ("lost", "open"))
        fits = kline.trade_count is None or count < kline.trade_count <= count + missing
        return 0 < missing <= known and fits and (bar is None or kline.volume > bar["volume"])


def _plain(value: Decimal | int) -> str:
    return f"{value.normalize():f}" if isinstance(value, Decimal) else f"{value:,}"
