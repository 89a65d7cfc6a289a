"""Quiet intervals and gaps between bars, told apart by the trade ids."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from market.bar import Bar, bars_of
from market.widths import SECOND_MS
from serve.marks import filled, marked, missing_between
from tests.serve.tables import START_MS, walk

STARTS = [START_MS + second * SECOND_MS for second in (0, 1, 4, 7)]
BARS = bars_of(walk(STARTS))
LOST = [BARS[0], BARS[1], replace(BARS[2], first_trade_id=BARS[2].first_trade_id + 1), BARS[3]]
"""The same, one trade missing before the third."""


def seconds(rows: list[tuple[Bar, int | None, bool]]) -> list[tuple[int, int | None, bool]]:
    return [((bar.timestamp - START_MS) // SECOND_MS, missing, is_filled) for bar, missing, is_filled in rows]


def test_what_is_missing_before_a_bar_is_told() -> None:
    """0 where it goes on with the next id; nobody knows before the first bar of all."""
    assert seconds(marked(BARS, None)) == [(0, None, False), (1, 0, False), (4, 0, False), (7, 0, False)]
    assert seconds(marked(LOST, None))[2] == (4, 1, False)
    assert seconds(marked(BARS[1:], BARS[0]))[0] == (1, 0, False)
    assert missing_between(BARS[3], BARS[0]) == 0  # ids that overlap are none that is missing


def test_quiet_intervals_get_a_row_at_the_price_before() -> None:
    """Nobody traded: nothing is counted, and the price is the last one."""
    rows = filled(BARS, SECOND_MS, START_MS, START_MS + 9_000, before=None, after=None)
    assert seconds(rows) == [
        *[(0, None, False), (1, 0, False), (2, 0, True), (3, 0, True), (4, 0, False)],
        *[(5, 0, True), (6, 0, True), (7, 0, False), (8, 0, True)],
    ]
    quiet = rows[2].bar
    assert {quiet.open, quiet.high, quiet.low, quiet.close, quiet.vwap} == {BARS[1].close}
    assert {quiet.volume, quiet.quote_volume, quiet.taker_buy_volume, quiet.taker_buy_quote_volume} == {Decimal(0)}
    assert (quiet.trade_count, quiet.missing_trades, quiet.revision) == (0, 0, 0)


def test_within_a_gap_nothing_is_filled() -> None:
    """Trades are missing there: whether an interval was quiet, nobody knows."""
    rows = filled(LOST, SECOND_MS, START_MS, START_MS + 8_000, before=None, after=None)
    assert seconds(rows) == [(0, None, False), (1, 0, False), (4, 1, False), (5, 0, True), (6, 0, True), (7, 0, False)]


def test_the_neighbours_tell_what_is_at_the_edges() -> None:
    """The bar before gives the price, and the bar behind tells whether trades are missing up to it."""
    inside = [BARS[2]]
    rows = filled(inside, SECOND_MS, STARTS[1] + 1_000, STARTS[3], before=BARS[1], after=BARS[3])
    assert seconds(rows) == [(2, 0, True), (3, 0, True), (4, 0, False), (5, 0, True), (6, 0, True)]
    assert rows[0].bar.close == BARS[1].close
    later = replace(BARS[3], first_trade_id=BARS[3].first_trade_id + 5)
    rows = filled(inside, SECOND_MS, STARTS[1] + 1_000, STARTS[3], before=None, after=later)
    assert seconds(rows) == [(4, None, False)]


def test_a_range_without_a_bar_is_quiet_or_unknown() -> None:
    """Quiet between two bars that follow one another; unknown before the first."""
    whole = (STARTS[2] + 1_000, STARTS[3])
    assert seconds(filled([], SECOND_MS, *whole, before=BARS[2], after=BARS[3])) == [(5, 0, True), (6, 0, True)]
    assert filled([], SECOND_MS, *whole, before=None, after=BARS[3]) == []
    assert filled([], SECOND_MS, *whole, before=BARS[0], after=BARS[3]) == []
