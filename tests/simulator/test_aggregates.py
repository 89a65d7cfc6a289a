from __future__ import annotations

from itertools import groupby, pairwise

from hypothesis import given
from hypothesis import strategies as st

from simulator.aggregates import Aggregate, first_aggregates, last_aggregates
from simulator.markets import MARKETS
from simulator.tape import SECOND_US, Tape

NOW_US = 1_704_067_200 * SECOND_US
TAPE = Tape(next(market for market in MARKETS if market.symbol == "ETHUSDT"), seed=3, rate=40.0)
BEFORE = TAPE.count_before(NOW_US - 120 * SECOND_US)
MADE = TAPE.count_before(NOW_US)


def straightforward() -> list[Aggregate]:
    """The aggregates of two minutes, one trade after the other: the rule as one would tell it."""
    aggregates = []
    rows = list(TAPE.numbered(BEFORE, MADE).rows())
    for (time_us, price, buyer_maker), group in groupby(rows, key=lambda row: (row[1], row[2], row[4])):
        trades = list(group)
        quantity = sum(row[3] for row in trades)
        aggregates.append(Aggregate(trades[0][0], trades[-1][0], time_us, price, quantity, buyer_maker))
    return aggregates


ALL = straightforward()


def test_aggregates_hold_every_trade_once() -> None:
    """Ids are without a gap from one aggregate to the next; some hold several trades, and ids ascend."""
    assert all(later.first_id == earlier.last_id + 1 for earlier, later in pairwise(ALL))
    assert len(ALL) < MADE - BEFORE
    assert max(aggregate.last_id - aggregate.first_id for aggregate in ALL) >= 2


@given(first=st.integers(BEFORE, MADE + 10), limit=st.integers(1, 300))
def test_a_page_from_an_id_is_the_same_whoever_asks(first: int, limit: int) -> None:
    """The aggregates that begin at the id or after it, wherever the page begins."""
    expected = [aggregate for aggregate in ALL if aggregate.first_id >= first][:limit]
    assert first_aggregates(TAPE, first, MADE, limit) == expected


@given(position=st.integers(1, len(ALL) - 1), limit=st.integers(1, 300))
def test_a_page_back_from_an_end_is_the_same_whoever_asks(position: int, limit: int) -> None:
    """The last aggregates before an end, oldest first."""
    expected = ALL[:position][-limit:]
    found = last_aggregates(TAPE, ALL[position].first_id, limit)
    assert found[-len(expected) :] == expected
    assert len(found) == limit


def test_the_first_aggregates_of_all_are_the_beginning() -> None:
    """Before the first trade there is nothing, and nobody minds."""
    beginning = first_aggregates(TAPE, 0, 50, 1000)
    assert last_aggregates(TAPE, 50, 1000) == beginning
    assert (beginning[0].first_id, beginning[-1].last_id) == (0, 49)
    assert (first_aggregates(TAPE, 0, 0, 10), last_aggregates(TAPE, 0, 10)) == ([], [])
