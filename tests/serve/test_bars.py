"""Bars of every width, from memory and from files, held to what the trades give directly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from market.bar import Bar, bars_of
from market.trade import Trade
from market.widths import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, WIDTHS
from serve.bars import Bars, BarsAway
from tests.serve.following import caught_up, everything, following, until
from tests.serve.tables import START_MS, Table, every_second, in_batches, some_of_days, walk

BTC = ("binance", "BTCUSDT")
END_MS = START_MS + 3 * DAY_MS


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """A scenario on an event loop of its own, in bounded time."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await scenario()

    asyncio.run(bounded())


def of_width(trades: list[Trade], width_ms: int, end_ms: int) -> list[Bar]:
    """The bars of trades whose interval is over by then."""
    return [bar for bar in bars_of(trades, width_ms) if bar.timestamp + width_ms <= end_ms]


@pytest.fixture(scope="module")
def trades() -> list[Trade]:
    """Three days of a symbol that is traded now and then, and busy for the last two hours."""
    busy = every_second(END_MS - 7_200_000, 7_200)
    return walk(sorted({*some_of_days(3, 700), *busy[::3], *busy[-900:]}))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, trades: list[Trade]) -> Table:
    """Those in a table, beside another symbol, in a hundred commits, half of them merged."""
    table = Table(tmp_path_factory.mktemp("table")).create()
    others = walk(some_of_days(3, 100, seed=9), exchange="coinbase", symbol="ETHUSD", seed=5)
    batches = [*in_batches(bars_of([*trades, *others]), 100)]
    for number, batch in enumerate(batches):
        table.commit(batch)
        if number == len(batches) // 2:
            table.keep()
    return table


@pytest.mark.parametrize("recent", [3_600, 100], ids=["an hour in memory", "little in memory"])
@pytest.mark.parametrize("interval", WIDTHS)
def test_bars_of_any_width_are_those_of_the_trades(
    table: Table, trades: list[Trade], interval: str, recent: int
) -> None:
    """All of them, page by page in both directions; of each width, whole intervals that are over."""
    width_ms = WIDTHS[interval]
    expected = of_width(trades, width_ms, END_MS)
    limit = 1_000 if width_ms == SECOND_MS else max(len(expected) // 3, 1)

    async def scenario() -> None:
        async with following(table, recent=recent) as bars:
            for backward in (False, True):
                found = await everything(bars, *BTC, width_ms, limit=limit, backward=backward)
                assert len(found) == len(expected)
                assert found == expected

    run(scenario)


@pytest.mark.parametrize("recent", [3_600, 100], ids=["an hour in memory", "little in memory"])
@pytest.mark.parametrize("width_ms", [SECOND_MS, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 4 * HOUR_MS, DAY_MS])
def test_a_range_has_both_its_ends(table: Table, trades: list[Trade], width_ms: int, recent: int) -> None:
    """Bars that begin at the start or after it, and at the end or before it; the first or the last, so many."""
    every = of_width(trades, width_ms, END_MS)
    one, other = every[len(every) // 4].timestamp, every[-2 if len(every) > 2 else -1].timestamp

    async def scenario() -> None:
        async with following(table, recent=recent) as bars:
            for start, end, limit in [
                (one, other, 100_000),
                (one + 1, other - 1, 100_000),
                (one, other, 3),
                (None, other, 3),
                (None, other + width_ms - 1, 5),
                (one, None, 7),
                (None, None, 2),
                (other + 1, other, 5),
                (10**15, None, 5),
                (None, -5, 5),
                (0, 10**18, 4),
                (one, other, 0),
            ]:
                inside = [
                    bar
                    for bar in every
                    if (start is None or bar.timestamp >= start) and (end is None or bar.timestamp <= end)
                ]
                expected = inside[-limit or len(inside) :] if start is None else inside[:limit]
                found = await bars.read(*BTC, width_ms, start_ms=start, end_ms=end, limit=limit)
                assert found == expected, (start, end, limit)

    run(scenario)


def test_symbols_are_known_with_their_exchanges(table: Table) -> None:
    """Those of the whole past, also where nothing of them is in memory; in the order in which bare routes ask."""

    async def scenario() -> None:
        async with following(table, recent=60) as bars:
            assert bars.symbols() == {"BTCUSDT": ["binance"], "ETHUSD": ["coinbase"]}
            assert (bars.exchanges_of("BTCUSDT"), bars.exchanges_of("NOSUCH")) == (["binance"], [])
            assert await bars.read("coinbase", "BTCUSDT", MINUTE_MS, start_ms=None, end_ms=None, limit=5) == []
            assert bars.newest_ms(*BTC) == END_MS - SECOND_MS
            assert bars.end_ms() == END_MS

    run(scenario)


def test_an_interval_that_is_not_over_is_left_out(tmp_path: Path) -> None:
    """It is over when any symbol has a bar of its last second or later: the job closes seconds for all at once."""
    table = Table(tmp_path).create()
    table.traded(walk(every_second(START_MS, 59)))

    async def minutes(bars: Bars) -> list[int]:
        found = await bars.read(*BTC, MINUTE_MS, start_ms=None, end_ms=None, limit=9)
        return [bar.timestamp - START_MS for bar in found]

    async def scenario() -> None:
        async with following(table) as bars:
            assert await minutes(bars) == []
            table.traded(walk([START_MS + 59_000], exchange="coinbase", symbol="ETHUSD"))
            await caught_up(bars, table)
            assert await minutes(bars) == [0]
            assert len(await bars.read(*BTC, SECOND_MS, start_ms=0, end_ms=None, limit=99)) == 59

    run(scenario)


def test_new_bars_are_told_and_served_within_a_second(tmp_path: Path) -> None:
    """Each commit's, once; whoever listens reads them at once."""
    table = Table(tmp_path).create()
    seconds = [bars_of(walk([START_MS + number * 1_000], first_id=number * 10)) for number in range(20)]

    async def scenario() -> None:
        async with following(table) as bars, bars.hub.listen() as listener:
            for some in seconds:
                table.commit(some)
                async with asyncio.timeout(1):
                    assert list(await anext(listener)) == some
                newest = await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1)
                assert newest == some
            assert listener.waiting == 0

    run(scenario)


def test_what_upkeep_does_is_no_news_and_changes_no_answer(tmp_path: Path) -> None:
    """Files become others, and old ones are deleted: nothing comes twice, nothing is gone."""
    table = Table(tmp_path).create()
    trades = walk(every_second(START_MS, 400))
    for batch in in_batches(bars_of(trades), 20):
        table.commit(batch)

    async def scenario() -> None:
        async with following(table, recent=60) as bars, bars.hub.listen() as listener:
            before = await bars.read(*BTC, SECOND_MS, start_ms=0, end_ms=None, limit=1_000)
            assert table.keep().compacted == 20
            await caught_up(bars, table)
            real_ms = START_MS + 10_000 * DAY_MS
            assert table.keep(real_ms, fold_after_days=0).deleted_files >= 20
            bars.follower.state.history.pages._shelf.clear()  # type: ignore[union-attr]
            assert await bars.read(*BTC, SECOND_MS, start_ms=0, end_ms=None, limit=1_000) == before == bars_of(trades)
            assert listener.waiting == 0

    run(scenario)


def test_a_symbol_of_a_few_trades_is_found_far_back(tmp_path: Path) -> None:
    """The limit counts bars, not intervals or days."""
    table = Table(tmp_path).create()
    rare = walk([START_MS + day * DAY_MS + 7_000 for day in range(0, 12, 3)], symbol="RARE")
    table.traded(rare)
    table.traded(walk([START_MS + day * DAY_MS for day in range(12)] + [START_MS + 12 * DAY_MS]))

    async def scenario() -> None:
        async with following(table, recent=60) as bars:
            for width_ms in (SECOND_MS, 5 * MINUTE_MS, HOUR_MS, DAY_MS):
                found = await bars.read("binance", "RARE", width_ms, start_ms=None, end_ms=None, limit=3)
                assert found == bars_of(rare, width_ms)[-3:]
                found = await bars.read("binance", "RARE", width_ms, start_ms=START_MS + 1, end_ms=None, limit=2)
                first = [bar for bar in bars_of(rare, width_ms) if bar.timestamp > START_MS]
                assert found == first[:2]

    run(scenario)


def test_a_listener_that_is_too_slow_is_told_to_read_anew(tmp_path: Path) -> None:
    """`follow` gives nothing then, and goes on with what comes."""
    table = Table(tmp_path).create()

    async def scenario() -> None:
        async with following(table) as bars:
            news = bars.follow()
            some = bars_of(walk([START_MS]))
            for _ in range(2):
                came = asyncio.ensure_future(anext(news))
                await until(lambda: bars.hub.listeners == 1)
                bars.hub.publish(some)
                assert await came == some
                for _ in range(1_001):
                    bars.hub.publish(some)
                assert await anext(news) == ()
            await news.aclose()  # type: ignore[attr-defined]

    run(scenario)


def test_without_a_table_it_is_said_why_and_it_comes_by_itself(tmp_path: Path) -> None:
    """The service is started before the job makes the table."""
    table = Table(tmp_path)

    async def scenario() -> None:
        bars = Bars(table.path, table.settings.rollups, per_symbol=60)
        with pytest.raises(BarsAway, match="has not been read yet"):
            await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1)
        await bars.start()
        await until(lambda: "there is no table" in bars.follower.problem)
        with pytest.raises(BarsAway, match="there is no table"):
            await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1)
        assert (bars.symbols(), bars.end_ms(), bars.newest_ms(*BTC), bars.knows_all) == ({}, None, None, False)
        table.create()
        table.traded(walk(every_second(START_MS, 3)))
        await caught_up(bars, table)
        assert len(await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=9)) == 3
        assert bars.follower.problem == ""
        await bars.close()

    run(scenario)


def test_parquet_is_said_not_to_be_served(tmp_path: Path) -> None:
    """Spark's file sink has no log that can be followed."""
    table = Table(tmp_path, bar_format="parquet")

    async def scenario() -> None:
        bars = Bars.of(table.settings)
        await bars.start()
        with pytest.raises(BarsAway, match="BAR_FORMAT=parquet"):
            await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1)
        await bars.close()

    run(scenario)
