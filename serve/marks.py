"""What is between bars: quiet intervals, in which nobody traded, and gaps, in which trades are missing. Pure.

Exchanges count the trades of a symbol without gaps. So the ids tell the two apart: where a bar begins with the id after
the last one of the bar before, nothing has happened between them; where ids lie between, nobody knows what has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from market.bar import Bar

_NOTHING = Decimal(0)


class Marked(NamedTuple):
    """A bar, and what lies before it."""

    bar: Bar
    missing_before: int | None
    """Trade ids between the bar before and this one; None where there is no bar before."""
    filled: bool = False
    """Whether it stands for an interval without a trade: its prices are the close before, its ids mean nothing."""


def missing_between(before: Bar, after: Bar) -> int:
    """How many trade ids lie between two bars of one symbol."""
    return max(after.first_trade_id - before.last_trade_id - 1, 0)


def marked(bars: Iterable[Bar], before: Bar | None) -> list[Marked]:
    """Bars in the order of time, with what is missing before each; `before` is the bar before the first."""
    found = []
    for bar in bars:
        found.append(Marked(bar, None if before is None else missing_between(before, bar)))
        before = bar
    return found


def filled(
    bars: Sequence[Bar], width_ms: int, first_ms: int, end_ms: int, *, before: Bar | None, after: Bar | None
) -> list[Marked]:
    """A row for each interval that begins in [first, end), but for those that no one knows of.

    `bars` are all that begin there; `before` and `after` are the bars next to them on either side, where there are any.
    Before the first bar of all nothing is filled, and nothing within a gap. At the end, where no bar follows yet,
    all are quiet: `end_ms` is to be no later than what is known.
    """
    rows: list[Marked] = []
    start = first_ms
    for row in marked(bars, before):
        if before is not None and not row.missing_before:
            rows += _filling(before, range(start, row.bar.timestamp, width_ms))
        rows.append(row)
        before, start = row.bar, row.bar.timestamp + width_ms
    if before is not None and not (after and missing_between(before, after)):
        rows += _filling(before, range(start, end_ms, width_ms))
    return rows


def quiet(start_ms: int, before: Bar) -> Bar:
    """An interval in which nobody traded, as Binance lists it: at the close before, and without trade ids."""
    price = before.close
    return Bar(
        exchange=before.exchange,
        symbol=before.symbol,
        timestamp=start_ms,
        open=price,
        high=price,
        low=price,
        close=price,
        volume=_NOTHING,
        quote_volume=_NOTHING,
        vwap=price,
        trade_count=0,
        taker_buy_volume=_NOTHING,
        taker_buy_quote_volume=_NOTHING,
        first_trade_id=-1,
        last_trade_id=-1,
        missing_trades=0,
    )


def _filling(before: Bar, starts: Iterable[int]) -> list[Marked]:
    return [Marked(quiet(start, before), 0, filled=True) for start in starts]
