"""The texts of finished klines, kept, because the same ones are asked for again and again. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from market.bar import Bar
from serve.binance.shapes import kline_row

KEPT_ROWS = 1_000
"""Of one symbol, width and unit: the newest ones, as many as a request gets at most; and an eighth more, so that the
oldest go some at a time."""
KEPT_LINES = 100
"""Symbols, widths and units; the ones that were asked for last."""


class Rows:
    """Texts by what they are of, and by their time."""

    def __init__(self, *, lines: int = KEPT_LINES, rows: int = KEPT_ROWS) -> None:
        self._most_lines, self._most_rows = lines, rows
        self._lines: OrderedDict[Hashable, dict[int, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def texts(
        self, key: Hashable, bars: Sequence[Bar], width_ms: int, unit_us: int, *, keep_before_ms: int | None
    ) -> list[bytes]:
        """Klines, each as JSON.

        `key`: of what the bars are, and in which edition; of one key, a finished interval never has another bar.
        `keep_before_ms`: intervals that end until then are finished, and kept; None: keep nothing.
        """
        line = self._line(key)
        texts = []
        end_ms = -1 if keep_before_ms is None else keep_before_ms
        oldest_ms = end_ms - self._most_rows * width_ms
        for bar in bars:
            start_ms = bar.timestamp
            text = line.get(start_ms)
            if text is None:
                text = kline_row(bar, width_ms, unit_us)
                if oldest_ms <= start_ms <= end_ms - width_ms:
                    line[start_ms] = text
            texts.append(text)
        if len(line) > self._most_rows + self._most_rows // 8:
            for start_ms in [start_ms for start_ms in line if start_ms < oldest_ms]:
                del line[start_ms]
        return texts

    def _line(self, key: Hashable) -> dict[int, bytes]:
        if key in self._lines:
            self._lines.move_to_end(key)
        else:
            self._lines[key] = {}
            if len(self._lines) > self._most_lines:
                self._lines.popitem(last=False)
        return self._lines[key]
