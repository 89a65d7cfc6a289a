"""The seconds that the table does not have yet: held to the definition of a bar, and absent where a trade may be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.bar import bars_of
from market.trade import Trade
from serve.live.trades import OpenTrades
from tests.serve.binance.made import BTC, START_MS, bar_at, trade, trades_at

MINUTE_MS = 60_000

numerals = st.integers(1, 10**13).map(lambda number: f"{number // 10**8}.{number % 10**8:08d}")
any_trades = st.lists(
    st.builds(
        Trade,
        st.just(BTC[0]),
        st.just(BTC[1]),
        numerals,
        numerals,
        st.one_of(st.integers(0, 3_000), st.integers(59_000, 61_000)).map(lambda time_ms: START_MS + time_ms),
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
        assert open_trades.bars()
    assert open_trades.bars() == bars_of(trades)
    assert open_trades.bars(5 * MINUTE_MS) == bars_of(trades, MINUTE_MS)
    assert open_trades.end_ms == max((bar.timestamp + 1_000 for bar in bars_of(trades)), default=0)


@given(any_trades, st.integers(-1, 62))
def test_minutes_are_of_the_seconds_that_are_open_still(trades: list[Trade], closed_s: int) -> None:
    """Also when the table has some of their seconds, and trades come once more."""
    open_trades = OpenTrades(closed_ms=0)
    open_trades.add(trades)
    assert len(open_trades.bars(MINUTE_MS)) <= 2
    closed_ms = START_MS + 1_000 * closed_s
    open_trades.close(closed_ms)
    left = [one for one in trades if one.timestamp >= closed_ms]
    assert open_trades.bars(MINUTE_MS) == bars_of(left, MINUTE_MS)
    late = trade(99, START_MS + 61_500)
    open_trades.add([late, *trades])
    left += [late] if late.timestamp >= closed_ms else []
    assert open_trades.bars(MINUTE_MS) == bars_of(left, MINUTE_MS)
    assert open_trades.bars() == bars_of(left)


@given(any_trades)
def test_its_size_is_that_of_its_seconds_and_of_the_holes_in_their_ids(trades: list[Trade]) -> None:
    """However many trades a second has, it counts once; nothing is left when the table has all."""
    open_trades = OpenTrades(closed_ms=0)
    open_trades.add([*trades, *trades])
    seconds = {
        bar.timestamp: {one.trade_id for one in trades if one.timestamp // 1_000 * 1_000 == bar.timestamp}
        for bar in bars_of(trades)
    }
    assert open_trades.size == sum(number - 1 not in ids for ids in seconds.values() for number in ids)
    open_trades.close(START_MS + 2 * MINUTE_MS)
    assert (open_trades.size, open_trades.bars()) == (0, [])


def test_of_two_trades_with_one_id_the_first_counts() -> None:
    """As in the table, where the other one is a conflict."""
    open_trades = OpenTrades(closed_ms=0)
    first = trade(1, START_MS, price="10")
    open_trades.add([first, first._replace(price="11")])
    assert open_trades.bars() == bars_of([first])


def test_seconds_that_the_table_has_are_forgotten_and_taken_no_more() -> None:
    """A trade that comes late for its second amends the table, and is not open."""
    trades = trades_at([START_MS, START_MS + 1_000, START_MS + 2_000])
    open_trades = OpenTrades(closed_ms=START_MS + 1_000)
    open_trades.add(trades)
    assert open_trades.bars() == bars_of(trades[1:])
    open_trades.close(START_MS + 2_000)
    open_trades.add([trade(4, START_MS + 1_500)])
    assert open_trades.bars() == bars_of(trades[2:])


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
    open_trades = begun([trade(number, START_MS + 100 * number) for number in held], closed_ms=START_MS + 1_000)
    assert open_trades.reaches(bar_at(0, 1, last_of_table)) is reaches


def test_what_came_while_the_record_was_read_belongs_to_it() -> None:
    """Heard first, read then: none is lost, and none counts twice."""
    trades = trades_at([START_MS + 100 * number for number in range(6)])
    open_trades = OpenTrades(closed_ms=START_MS)
    open_trades.add(trades[4:])
    begin(open_trades, trades[:5])
    assert open_trades.bars() == bars_of(trades)
    assert open_trades.known_from_ms == START_MS + 1


def test_without_a_table_nothing_is_joined_to_it() -> None:
    """What is told then are intervals that begin when every trade was heard already."""
    open_trades = OpenTrades(closed_ms=0)
    assert open_trades.known_from_ms is None
    begin(open_trades, trades_at([START_MS]))
    assert not open_trades.reaches(None)
    assert open_trades.known_from_ms == START_MS + 1


def test_of_too_many_the_oldest_minute_is_forgotten() -> None:
    """The record then begins behind it, and reaches back to the table when that has come so far."""
    trades = trades_at([START_MS, START_MS + 1_000, START_MS + MINUTE_MS, START_MS + MINUTE_MS + 1_000])
    open_trades = begun(trades)
    assert open_trades.reaches(bar_at(-1, 0, 0))
    open_trades.forget()
    assert open_trades.bars() == bars_of(trades[2:])
    assert open_trades.size == 2
    assert open_trades.known_from_ms == START_MS + MINUTE_MS
    assert not open_trades.reaches(bar_at(-1, 0, 0))
    assert not open_trades.reaches(bar_at(0, 1, 1))
    assert open_trades.reaches(bar_at(1, 2, 2))


def test_a_second_that_was_forgotten_in_part_is_not_told() -> None:
    """What comes of it later is there; the record reaches back when the table has had the rest of it."""
    open_trades = begun(trades_at([START_MS, START_MS + 100]))
    open_trades.forget()
    open_trades.add([trade(3, START_MS + 200)])
    assert not open_trades.reaches(bar_at(-1, 0, 0))
    assert (open_trades.known_from_ms or 0) > START_MS + 200


def test_a_trade_that_the_record_lacked_before_its_first_makes_it_worth_reading_anew() -> None:
    """One that lies further back, behind what is missing still, does not."""
    open_trades = begun([trade(number, START_MS + 100 * number) for number in (1, 2, 6, 7)])
    assert not open_trades.has_older
    open_trades.add([trade(3, START_MS + 300)])
    assert not open_trades.has_older
    open_trades.add([trade(5, START_MS + 500)])
    assert open_trades.has_older
    assert not open_trades.reaches(bar_at(-1, 0, 0))
    assert begun([trade(number, START_MS + 100 * number) for number in range(1, 8)]).reaches(bar_at(-1, 0, 0))


def test_an_exchange_that_counts_anew_is_followed_from_there() -> None:
    """The table's newest bar is still of the old numbers then: what runs is told when it has new ones."""
    open_trades = begun([trade(number, START_MS) for number in (1_000, 1_001)])
    open_trades.add([trade(1, START_MS + 1_000), trade(2, START_MS + 1_100), trade(3, START_MS + 2_000)])
    assert not open_trades.reaches(bar_at(-1, 999, 999))
    assert not open_trades.reaches(bar_at(0, 1_000, 1_001))
    assert open_trades.reaches(bar_at(1, 1, 2))


def begun(trades: Sequence[Trade], closed_ms: int = 0) -> OpenTrades:
    """A record that begins with these trades."""
    open_trades = OpenTrades(closed_ms)
    begin(open_trades, trades)
    return open_trades


def begin(open_trades: OpenTrades, trades: Sequence[Trade]) -> None:
    """It begins with them: they are added too."""
    open_trades.begin(trades)
    open_trades.add(trades)
