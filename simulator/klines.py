"""Klines of the simulated trades, by the exchanges' rules, in whole ticks and lots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from simulator.markets import Market
from simulator.tape import Ints, Tape, Trades

_STEP_US = 600_000_000
"""Trades are read in pieces of at least this much time, so that nobody waits long for a turn."""


class Kline(NamedTuple):
    """One interval. Prices in ticks, volumes in lots, quote volumes in units of 10^-8."""

    open_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    """Sum of price times quantity, each cut at 8 decimals."""
    trade_count: int
    taker_volume: int
    """Of the trades whose taker bought."""
    taker_quote_volume: int
    first_id: int
    """-1 in an interval without trades, as last_id."""
    last_id: int


def klines_of(market: Market, trades: Trades, width_us: int) -> list[Kline]:
    """The klines of some consecutive trades; an interval without trades has none."""
    if not len(trades.ids):
        return []
    intervals = trades.times_us // width_us
    firsts = np.flatnonzero(np.diff(intervals, prepend=-1))
    lasts = np.append(firsts[1:], len(intervals)) - 1
    quotes = market.value(trades.prices, trades.quantities)
    taker = ~trades.buyer_makers

    def total(column: Ints) -> Ints:
        return np.add.reduceat(column, firsts)

    columns = (
        intervals[firsts] * width_us,
        trades.prices[firsts],
        np.maximum.reduceat(trades.prices, firsts),
        np.minimum.reduceat(trades.prices, firsts),
        trades.prices[lasts],
        total(trades.quantities),
        total(quotes),
        lasts - firsts + 1,
        total(trades.quantities * taker),
        total(quotes * taker),
        trades.ids[firsts],
        trades.ids[lasts],
    )
    return [Kline(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def klines_between(tape: Tape, start_us: int, end_us: int, width_us: int, now_us: int) -> Iterator[list[Kline]]:
    """The klines that open in [start, end), in pieces, of the trades before `now`: the last one may still be running.

    Start and end are multiples of the width. Intervals without trades are left out.
    """
    step_us = max(_STEP_US, width_us)
    for piece_us in range(start_us, min(end_us, now_us), step_us):
        trades = tape.between(piece_us, min(piece_us + step_us, end_us, now_us))
        yield klines_of(tape.market, trades, width_us)


def filled(klines: list[Kline], start_us: int, end_us: int, width_us: int, previous: int | None) -> list[Kline]:
    """Every interval of [start, end): one without trades stands at the close before it, as Binance prints it.

    `previous`: the last price before start; without one there are no klines before the first trade.
    """
    traded = {kline.open_us: kline for kline in klines}
    rows = []
    for open_us in range(start_us, end_us, width_us):
        kline = traded.get(open_us)
        if kline is None and previous is not None:
            kline = Kline(open_us, previous, previous, previous, previous, 0, 0, 0, 0, 0, -1, -1)
        if kline is not None:
            rows.append(kline)
            previous = kline.close
    return rows


def price_before(tape: Tape, time_us: int) -> int | None:
    """The price of the last trade before a time, in ticks; None before the first."""
    count = tape.count_before(time_us)
    return int(tape.numbered(count - 1, count).prices[0]) if count else None
