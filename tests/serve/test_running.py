"""The seconds that the table does not have yet: held to the definition of a bar, and absent where a trade may be."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.bar import bars_of, rolled_up
from market.trade import Trade
from serve.running import OpenTrades, Span, floored, spans
from tests.serve.binance.made import BTC, START_MS, bar_at, trade, trades_at

SECOND_MS, MINUTE_MS, HOUR_MS = 1_000, 60_000, 3_600_000

numerals = st.integers(1, 10**13).map(lambda number: f"{number // 10**8}.{number % 10**8:08d}")
any_trades = st.lists(
    st.builds(
        Trade,
        st.just(BTC[0]),
        st.just(BTC[1]),
        numerals,
        numerals,
        st.integers(START_MS, START_MS + 3_000),
        st.integers(1, 30),
        st.booleans(),
    ),
    max_size=30,
    unique_by=lambda trade: trade.trade_id,
)


@given(any_trades, st.randoms())
def test_open_seconds_are_the_bars_of_their_trades(trades: list[Trade], random: object) -> None:
    """Added one by one, in any order, some of them twice, and looked at between: what all of them make at once."""
    open_trades = OpenTrades(closed_ms=0)
    again = [*trades, *trades[::2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    for one in again:
        open_trades.add([one])
        assert open_trades.seconds()
    assert open_trades.seconds() == bars_of(trades)


def test_of_two_trades_with_one_id_the_first_counts() -> None:
    """As in the table, where the other one is a conflict."""
    open_trades = OpenTrades(closed_ms=0)
    first = trade(1, START_MS, price="10")
    open_trades.add([first, first._replace(price="11")])
    assert open_trades.seconds() == bars_of([first])


def test_seconds_that_the_table_has_are_forgotten_and_taken_no_more() -> None:
    """A trade that comes late for its second amends the table, and is not open."""
    trades = trades_at([START_MS, START_MS + 1_000, START_MS + 2_000])
    open_trades = OpenTrades(closed_ms=START_MS + 1_000)
    open_trades.add(trades)
    assert open_trades.seconds() == bars_of(trades[1:])
    open_trades.close(START_MS + 2_000)
    open_trades.add([trade(4, START_MS + 1_500)])
    assert open_trades.seconds() == bars_of(trades[2:])


@pytest.mark.parametrize(
    ("held", "last_of_table", "reaches"),
    [
        ([5, 6, 7], 4, True),  # the first one held follows the table
        ([3, 4, 5], 4, True),  # some are in the table already
        ([3, 4], 4, True),  # nobody has traded since
        ([6, 7], 4, False),  # 5 is missing
        ([2, 3], 4, False),  # Redis is behind the table
        ([1, 2, 6, 7], 4, False),  # 2 and before came late, behind a hole
        ([], 4, False),
    ],
)
def test_the_record_has_to_reach_back_to_the_table(held: list[int], last_of_table: int, reaches: bool) -> None:
    """Else a trade may be missing, and nothing is told."""
    open_trades = OpenTrades(closed_ms=START_MS + 1_000)
    open_trades.begin([trade(number, START_MS + 100 * number) for number in held])
    assert open_trades.reaches(bar_at(0, 1, last_of_table)) is reaches


def test_what_came_while_the_record_was_read_belongs_to_it() -> None:
    """Heard first, read then: none is lost, and none counts twice."""
    trades = trades_at([START_MS + 100 * number for number in range(6)])
    open_trades = OpenTrades(closed_ms=START_MS)
    open_trades.add(trades[4:])
    open_trades.begin(trades[:5])
    assert open_trades.seconds() == bars_of(trades)
    assert open_trades.known_from_ms == START_MS + 1


def test_without_a_table_nothing_is_joined_to_it() -> None:
    """What is told then are intervals that begin when every trade was heard already."""
    open_trades = OpenTrades(closed_ms=0)
    assert open_trades.known_from_ms is None
    open_trades.begin(trades_at([START_MS]))
    assert not open_trades.reaches(None)
    assert open_trades.known_from_ms == START_MS + 1


def test_too_many_open_trades_are_forgotten_from_the_oldest_second() -> None:
    """The record then begins with the next second, and reaches back to the table no more."""
    trades = trades_at([START_MS, START_MS + 1, START_MS + 1_000, START_MS + 1_001])
    open_trades = OpenTrades(closed_ms=0, limit=3)
    open_trades.add(trades)
    assert open_trades.seconds() == bars_of(trades[2:])
    assert not open_trades.reaches(bar_at(-1, 0, 0))
    assert open_trades.reaches(bar_at(0, 1, 2))


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_a_time_is_made_of_few_intervals_without_a_hole(first_s: int, second_s: int) -> None:
    """Of hours in the middle, of minutes around them, of seconds at the ends: five pieces at most."""
    start_ms, end_ms = (START_MS + 1_000 * second for second in sorted((first_s, second_s)))
    found = list(spans(start_ms, end_ms))
    assert len(found) <= 5
    assert sum(span.end_ms - span.start_ms for span in found) == end_ms - start_ms
    assert all(before.end_ms == after.start_ms for before, after in pairwise(found))
    assert all(span.start_ms % span.width_ms == span.end_ms % span.width_ms == 0 for span in found)
    assert sum(span.intervals for span in found if span.width_ms < HOUR_MS) <= 2 * (59 + 59)


def test_an_hour_and_a_bit() -> None:
    """The pieces, told."""
    start_ms = START_MS + HOUR_MS - 61_000
    assert list(spans(start_ms, START_MS + 2 * HOUR_MS + 1_000)) == [
        Span(SECOND_MS, start_ms, start_ms + 1_000),
        Span(MINUTE_MS, start_ms + 1_000, START_MS + HOUR_MS),
        Span(HOUR_MS, START_MS + HOUR_MS, START_MS + 2 * HOUR_MS),
        Span(SECOND_MS, START_MS + 2 * HOUR_MS, START_MS + 2 * HOUR_MS + 1_000),
    ]
    with pytest.raises(ValueError, match="is not made of full seconds"):
        list(spans(START_MS, START_MS + 1_500))


@given(st.integers(-(10**6), 10**6), st.sampled_from([1_000, 60_000]), st.integers(0, 59_999))
def test_intervals_begin_at_multiples_of_their_width_and_a_phase(time_ms: int, width_ms: int, phase_ms: int) -> None:
    """The start is at the time or before it, by less than a width; rolling up agrees."""
    start_ms = floored(time_ms, width_ms, phase_ms)
    assert 0 <= time_ms - start_ms < width_ms
    assert (start_ms - phase_ms) % width_ms == 0
    (rolled,) = rolled_up(bars_of([trade(1, START_MS)]), width_ms, phase_ms)
    assert rolled.timestamp == floored(START_MS, width_ms, phase_ms)
