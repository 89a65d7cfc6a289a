"""Aggregate trades: neighbouring trades at one time, one price and one side, as one taker order makes them.

An aggregate's id is the id of its first trade. So ids ascend, and an aggregate has the same id for ever, whoever asks
and however; but they are not consecutive as Binance's are: to number aggregates one would have to read the tape from
its beginning. `fromId` gives the first aggregate with that id or a higher one, so paging by last id + 1 works alike.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simulator.tape import Tape, Trades


class Aggregate(NamedTuple):
    """Trades first_id … last_id."""

    first_id: int
    last_id: int
    time_us: int
    price: int
    """In ticks."""
    quantity: int
    """Of all of them, in lots."""
    buyer_maker: bool


def aggregates_of(trades: Trades) -> list[Aggregate]:
    """Consecutive trades as aggregates. The first and the last may lack trades beyond the ends."""
    if not len(trades.ids):
        return []
    same = np.ones(len(trades.ids) - 1, np.bool_)
    for column in (trades.times_us, trades.prices, trades.buyer_makers):
        same &= column[1:] == column[:-1]
    firsts = np.flatnonzero(np.append(True, ~same))
    lasts = np.append(firsts[1:], len(trades.ids)) - 1
    columns = (
        trades.ids[firsts],
        trades.ids[lasts],
        trades.times_us[firsts],
        trades.prices[firsts],
        np.add.reduceat(trades.quantities, firsts),
        trades.buyer_makers[firsts],
    )
    return [Aggregate(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def first_aggregates(tape: Tape, first: int, end: int, limit: int) -> list[Aggregate]:
    """The first `limit` aggregates with first ≤ id < end. No aggregate may cross `end`."""
    first, size = max(first, 0), 2 * limit
    while True:
        last = min(first + size, end)
        found = aggregates_of(tape.numbered(max(first - 1, 0), last))  # one trade more tells whether `first` begins one
        found = [aggregate for aggregate in found if aggregate.first_id >= first]
        if last >= end or len(found) > limit:
            return found[:limit]
        size *= 4


def last_aggregates(tape: Tape, end: int, limit: int) -> list[Aggregate]:
    """The last `limit` aggregates with id < end, oldest first. No aggregate may cross `end`."""
    size = 2 * limit
    while True:
        first = max(end - size, 0)
        found = aggregates_of(tape.numbered(first, end))
        if first == 0 or len(found) > limit:
            return found[-limit:]
        size *= 4
