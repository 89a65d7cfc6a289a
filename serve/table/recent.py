"""The newest bars of every symbol, in memory: what is asked for most is answered without a disk."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from market.bar import Bar, rolled_up
from market.widths import MINUTE_MS, SECOND_MS, next_start, start_of

MOST = 100_000
"""Bars in memory, of all symbols together. With many symbols, each has fewer."""
LEAST = 120
"""Bars of a symbol that are kept, however many symbols there are."""


class Series:
    """The newest bars of one symbol of one exchange, oldest first: all of them that begin at `from_ms` or later."""

    __slots__ = ("_minutes", "_starts", "_texts", "bars", "from_ms")

    def __init__(self, from_ms: int) -> None:
        self.bars: list[Bar] = []
        self.from_ms = from_ms
        self._starts: list[int] = []
        self._minutes: dict[int, Bar] = {}
        self._texts: dict[int, bytes] = {}

    def take(self, bar: Bar) -> bool:
        """Whether a bar is news: not there yet, or with a higher revision than the one that is."""
        at = bisect_left(self._starts, bar.timestamp)
        if at == len(self._starts) or self._starts[at] != bar.timestamp:
            self._starts.insert(at, bar.timestamp)
            self.bars.insert(at, bar)
        elif bar.revision > self.bars[at].revision:
            self.bars[at] = bar
            self._texts.pop(bar.timestamp, None)
        else:
            return False
        self._minutes.pop(start_of(bar.timestamp, MINUTE_MS), None)
        return True

    def trim(self, most: int) -> None:
        """Forgets the oldest, some at a time, so that there are not many more than `most`."""
        if len(self.bars) > most + most // 8:
            less = len(self.bars) - most
            self.from_ms = self._starts[less - 1] + SECOND_MS
            for start in self._starts[:less]:
                self._texts.pop(start, None)
            del self.bars[:less], self._starts[:less]
            whole_ms = next_start(self.from_ms, MINUTE_MS)
            self._minutes = {start: bar for start, bar in self._minutes.items() if start >= whole_ms}

    def seconds(self, first_ms: int, end_ms: int) -> list[Bar]:
        """The bars that begin in [first, end)."""
        return self.bars[bisect_left(self._starts, first_ms) : bisect_left(self._starts, end_ms)]

    def last(self, most: int, first_ms: int, end_ms: int) -> list[Bar]:
        """The last of them, at most so many."""
        end = bisect_left(self._starts, end_ms)
        return self.bars[max(bisect_left(self._starts, first_ms), end - most) : end]

    def minutes(self, first_ms: int, end_ms: int) -> list[Bar]:
        """The minutes that begin in [first, end), whole minutes that are over. Each is made once, until it changes."""
        found = []
        at, end = bisect_left(self._starts, first_ms), bisect_left(self._starts, end_ms)
        while at < end:
            start = start_of(self._starts[at], MINUTE_MS)
            after = bisect_left(self._starts, start + MINUTE_MS, at, end)
            minute = self._minutes.get(start)
            if minute is None:
                (minute,) = rolled_up(self.bars[at:after], MINUTE_MS)
                self._minutes[start] = minute
            found.append(minute)
            at = after
        return found

    def text(self, bar: Bar, printed: Callable[[Bar], bytes]) -> bytes:
        """What `printed`, always the same, makes of a second. Of one that is here it is kept, and goes with it."""
        text = self._texts.get(bar.timestamp)
        if text is None:
            text = printed(bar)
            at = bisect_left(self._starts, bar.timestamp)
            if at < len(self.bars) and self.bars[at] is bar:  # it may have been amended since it was read
                self._texts[bar.timestamp] = text
        return text

    @property
    def texts(self) -> int:
        """How many bars are kept as text too."""
        return len(self._texts)


class Recent:
    """The series of all symbols."""

    def __init__(self, per_symbol: int, bars: Iterable[Bar] = (), from_ms: int = 0) -> None:
        """`bars` are current, and all there are from `from_ms` on."""
        self._per_symbol = per_symbol
        self._from_ms = from_ms
        self._series: dict[tuple[str, str], Series] = {}
        by_key = defaultdict(list)
        for bar in bars:
            by_key[bar.exchange, bar.symbol].append(bar)
        for key, some in by_key.items():
            series = self._series[key] = Series(from_ms)
            for bar in sorted(some, key=lambda bar: bar.timestamp):
                series.take(bar)
        for series in self._series.values():
            series.trim(self._most())

    def __len__(self) -> int:
        return sum(len(series.bars) for series in self._series.values())

    @property
    def texts(self) -> int:
        """How many bars are kept as text too."""
        return sum(series.texts for series in self._series.values())

    def of(self, exchange: str, symbol: str) -> Series:
        """The series of a symbol. One without a bar in memory has none since `from_ms`."""
        return self._series.get((exchange, symbol)) or Series(self._from_ms)

    def keys(self) -> Iterable[tuple[str, str]]:
        """Every exchange and symbol with a bar in memory."""
        return self._series.keys()

    def newest_ms(self, exchange: str, symbol: str) -> int | None:
        """The start of the newest bar of a symbol, if it is in memory."""
        bars = self.of(exchange, symbol).bars
        return bars[-1].timestamp if bars else None

    def take(self, bars: Sequence[Bar]) -> list[Bar]:
        """Takes over new rows of the table; returns those that are news. Whether older ones are, is not known here."""
        news, touched = [], set[tuple[str, str]]()
        for bar in bars:
            key = bar.exchange, bar.symbol
            series = self._series.get(key)
            if bar.timestamp < (series.from_ms if series else self._from_ms):
                news.append(bar)
                continue
            if series is None:
                series = self._series[key] = Series(self._from_ms)
            if series.take(bar):
                news.append(bar)
            touched.add(key)
        most = self._most()
        for key in touched:
            self._series[key].trim(most)
        return news

    def _most(self) -> int:
        return max(min(self._per_symbol, MOST // max(len(self._series), 1)), LEAST)
