"""Which klines a request gets: held to a plain listing of all of them, for any trades and any request."""

from __future__ import annotations

import asyncio
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.bar import Bar, bars_of
from market.trade import Trade
from serve.binance.line import Line
from serve.running import Running, floored
from tests.serve.binance.made import START_MS, Table, bar_at, line_of, listed, trade, trades_at

SECOND_MS, MINUTE_MS = 1_000, 60_000


@st.composite
def markets(draw: st.DrawFn) -> list[Trade]:
    """Trades with pauses and, now and then, missing ids."""
    pauses = draw(st.lists(st.integers(0, 4_000), min_size=1, max_size=40))
    skips = draw(st.lists(st.sampled_from([1, 1, 1, 1, 3]), min_size=len(pauses), max_size=len(pauses)))
    times, ids = accumulate(pauses, initial=START_MS), accumulate(skips, initial=7)
    return [trade(number, time_ms) for number, time_ms in zip(ids, times, strict=True)]


def asked(line: Line, start_ms: int | None, end_ms: int | None, limit: int) -> list[Bar]:
    """What a request gets."""
    if start_ms is None:
        return asyncio.run(line.last(end_ms, limit))
    return asyncio.run(line.first(start_ms, end_ms, limit))


def times(bars: list[Bar]) -> list[int]:
    """Seconds after the start."""
    return [(bar.timestamp - START_MS) // SECOND_MS for bar in bars]


@given(
    markets(),
    st.sampled_from([(1_000, 0), (5_000, 0), (5_000, 3_000)]),
    st.integers(-5, 200),
    st.one_of(st.none(), st.integers(-8_000, 170_000)),
    st.one_of(st.none(), st.integers(-8_000, 170_000)),
    st.integers(1, 12),
)
def test_any_request_gets_what_a_plain_listing_has(
    trades: list[Trade],
    shape: tuple[int, int],
    closed_s: int,
    start_ms: int | None,
    end_ms: int | None,
    limit: int,
) -> None:
    """With a start the first so many, else the last; both ends count; wherever the table ends and bars run."""
    width_ms, phase_ms = shape
    closed_ms = START_MS + closed_s * SECOND_MS
    until_ms = max(trades[-1].timestamp + SECOND_MS, closed_ms)
    line = line_of(trades, closed_ms, until_ms, width_ms, phase_ms)
    first_ms, last_ms = (None if time is None else START_MS + time for time in (start_ms, end_ms))
    wanted = [
        bar
        for bar in listed(trades, until_ms, width_ms, phase_ms)
        if (first_ms is None or bar.timestamp >= first_ms) and (last_ms is None or bar.timestamp <= last_ms)
    ]
    expected = wanted[-limit:] if first_ms is None else wanted[:limit]
    assert asked(line, first_ms, last_ms, limit) == expected


@given(
    markets(),
    st.sampled_from([(1_000, 0), (5_000, 0), (5_000, 3_000)]),
    st.integers(-5, 200),
    st.integers(-8_000, 170_000),
    st.integers(1, 12),
)
def test_what_follows_a_time_is_what_a_plain_listing_has(
    trades: list[Trade], shape: tuple[int, int], closed_s: int, start_ms: int, limit: int
) -> None:
    """Of the last so many intervals, those that begin then or later."""
    width_ms, phase_ms = shape
    closed_ms = START_MS + closed_s * SECOND_MS
    until_ms = max(trades[-1].timestamp + SECOND_MS, closed_ms)
    first_ms = max(START_MS + start_ms, floored(until_ms - 1, width_ms, phase_ms) - (limit - 1) * width_ms)
    expected = [bar for bar in listed(trades, until_ms, width_ms, phase_ms) if bar.timestamp >= first_ms]
    line = line_of(trades, closed_ms, until_ms, width_ms, phase_ms)
    assert asyncio.run(line.since(START_MS + start_ms, limit)) == expected


def test_what_runs_is_told_without_reading_the_past() -> None:
    """A stream asks each second: of a thousand finished intervals, those that it has told are not read again."""
    trades = trades_at([START_MS + 1_000 * second for second in range(1_000)])
    end_ms = START_MS + 1_000 * SECOND_MS
    line = line_of(trades, end_ms, end_ms)
    read, reads = line._read, list[int]()

    async def counted(start_ms: int | None, end_ms: int, limit: int) -> list[Bar]:
        bars = await read(start_ms, end_ms, limit)
        reads.append(len(bars))
        return bars

    line._read = counted
    assert times(asyncio.run(line.since(end_ms - 2 * SECOND_MS, 1_000))) == [998, 999]
    assert sum(reads) <= 3


def test_a_quiet_interval_stands_at_the_close_before() -> None:
    """Volume 0 and no trade: recorded frames of an empty second have ids of -1."""
    line = line_of(trades_at([START_MS, START_MS + 2_000]), START_MS + 3_000, START_MS + 3_000)
    quiet = asked(line, None, None, 10)[1]
    close = bar_at(0, 1, 1, "101.1").close
    assert (quiet.open, quiet.high, quiet.low, quiet.close) == (close, close, close, close)
    assert (quiet.volume, quiet.quote_volume, quiet.trade_count) == (0, 0, 0)
    assert (quiet.taker_buy_volume, quiet.taker_buy_quote_volume) == (0, 0)
    assert (quiet.first_trade_id, quiet.last_trade_id) == (-1, -1)


def test_there_is_no_row_where_trades_are_missing() -> None:
    """Ids 3 to 5 are missing between second 1 and second 4: nobody knows what seconds 2 and 3 were."""
    trades = [*trades_at([START_MS, START_MS + 1_000]), *trades_at([START_MS + 4_000, START_MS + 6_000], first_id=6)]
    line = line_of(trades, START_MS + 7_000, START_MS + 7_000)
    assert times(asked(line, None, None, 10)) == [0, 1, 4, 5, 6]
    assert times(asked(line, START_MS, None, 10)) == [0, 1, 4, 5, 6]
    assert times(asked(line, START_MS + 2_000, START_MS + 3_000, 10)) == []


def test_before_the_first_trade_of_all_there_is_no_row() -> None:
    """As before a listing."""
    line = line_of(trades_at([START_MS]), START_MS + 2_000, START_MS + 2_000)
    assert times(asked(line, START_MS - 5_000, None, 10)) == [0, 1]
    assert times(asked(line, None, START_MS - 1_000, 10)) == []


def test_where_it_is_not_known_what_runs_the_klines_end_with_the_table() -> None:
    """Redis is away: the interval that is not over is not told, in no width."""
    trades = trades_at([START_MS, START_MS + 61_000])
    table = Table(bars_of(trades), MINUTE_MS, closed_ms=START_MS + 62_000)
    line = Line(table.read, Running([], START_MS + 62_000, START_MS + 60_000), MINUTE_MS)
    assert times(asked(line, None, None, 10)) == [0]


def test_a_symbol_that_trades_every_second_is_read_once() -> None:
    """However many klines are asked for: neighbours are looked for where there is a hole alone."""
    trades = trades_at([START_MS + SECOND_MS * second for second in range(2_000)])
    table = Table(bars_of(trades))
    closed_ms = START_MS + 2_000 * SECOND_MS
    line = Line(table.read, Running([], closed_ms, closed_ms), SECOND_MS)
    assert len(asked(line, None, None, 1_000)) == 1_000
    assert len(asked(line, START_MS, None, 1_000)) == 1_000
    assert [limit for _, _, limit in table.reads] == [1_000, 1_000]


@pytest.mark.parametrize("start_ms", [None, START_MS])
def test_a_symbol_that_hardly_trades_is_read_a_few_times(start_ms: int | None) -> None:
    """A trade an hour: a thousand seconds are three reads, and none is of more than was asked for."""
    trades = trades_at([START_MS + 3_600_000 * hour for hour in range(50)])
    table = Table(bars_of(trades))
    closed_ms = trades[-1].timestamp + 5_000_000
    line = Line(table.read, Running([], closed_ms, closed_ms), SECOND_MS)
    assert len(asked(line, start_ms, None, 1_000)) == 1_000
    assert len(table.reads) <= 4
    assert max(limit for _, _, limit in table.reads) <= 1_000


@given(markets(), st.integers(1, 9))
def test_pages_of_any_size_make_the_whole(trades: list[Trade], limit: int) -> None:
    """Clients page by the last open time plus one, forward, and by the first one minus one, backward."""
    until_ms = trades[-1].timestamp + SECOND_MS
    whole = listed(trades, until_ms)
    line = line_of(trades, until_ms, until_ms)
    forward: list[Bar] = []
    while page := asked(line, forward[-1].timestamp + 1 if forward else 0, None, limit):
        forward += page
    backward: list[Bar] = []
    while page := asked(line, None, backward[0].timestamp - 1 if backward else None, limit):
        backward = page + backward
    assert forward == whole
    assert backward == whole
