"""What changes under the service: bars are amended, tables replaced, logs cleared, disks full. It stays right."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable

from market.bar import Bar, bars_of, rolled_up, vwap_of
from market.widths import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, start_of
from serve.bars import Bars, BarsAway
from tests.serve.following import caught_up, following, until
from tests.serve.tables import START_MS, Table, every_second, in_batches, some_of_days, walk

BTC = ("binance", "BTCUSDT")
WIDTHS = (SECOND_MS, MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 12 * HOUR_MS, DAY_MS)
TRADES = walk([*some_of_days(4, 150), START_MS + 4 * DAY_MS + 300_000])
"""Three days that are settled, one that is just over, and the first minutes of another."""
BARS = bars_of(TRADES)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await scenario()

    asyncio.run(bounded())


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path).create()
    for batch in in_batches(BARS, 60):
        table.commit(batch)
    return table


async def holds(bars: Bars, expected: list[Bar]) -> None:
    """Every width is what these seconds make."""
    end_ms = expected[-1].timestamp + SECOND_MS
    for width_ms in WIDTHS:
        rolled = rolled_up(expected, width_ms)
        over = [bar for bar in rolled if bar.timestamp + width_ms <= end_ms]
        found = await bars.read(*BTC, width_ms, start_ms=0, end_ms=None, limit=10_000)
        assert found == over, width_ms


def amended(bars: list[Bar], at: int, revision: int = 1) -> list[Bar]:
    """The bars, one of them as it turned out to be."""
    old = bars[at]
    volume, quote_volume = old.volume + 1, old.quote_volume + 1_000
    more = replace(old, high=old.high + 1, volume=volume, quote_volume=quote_volume, revision=revision)
    return [*bars[:at], replace(more, vwap=vwap_of(quote_volume, volume)), *bars[at + 1 :]]


@pytest.mark.parametrize("recent", [3_600, 60])
def test_amended_bars_correct_whatever_was_made_of_them(table: Table, recent: int) -> None:
    """Seconds, minutes, hours, days: in memory, in pages, on disk; of a settled day, of today, of the newest hour."""

    async def scenario() -> None:
        now = BARS
        async with following(table, recent=recent) as bars, bars.hub.listen() as listener:
            await holds(bars, now)
            for at in (0, 10, len(BARS) // 2, len(BARS) - 2, len(BARS) - 1, 10):
                now = amended(now, at, now[at].revision + 1)
                table.commit([now[at]])
                assert list(await anext(listener)) == [now[at]]
                await holds(bars, now)
            table.commit([BARS[5], replace(now[10], revision=0)])  # an older revision that comes late changes nothing
            await caught_up(bars, table)
            await holds(bars, now)
        async with following(table, recent=recent) as bars:
            await holds(bars, now)

    run(scenario)


def test_a_bar_that_comes_late_is_found_in_its_place(table: Table) -> None:
    """A second that had none gets one, days later: no page of before hides it."""
    late = bars_of(walk([START_MS + 5 * HOUR_MS + 30_000], first_id=10**6))[0]
    assert late.timestamp not in {bar.timestamp for bar in BARS}

    async def scenario() -> None:
        async with following(table, recent=60) as bars:
            await holds(bars, BARS)
            table.commit([replace(late, revision=1)])
            await caught_up(bars, table)
            await holds(bars, sorted([*BARS, replace(late, revision=1)], key=lambda bar: bar.timestamp))

    run(scenario)


def test_a_table_that_was_replaced_is_noticed(table: Table) -> None:
    """Deleted and made again with as many versions: nothing of the old one is served, and listeners are told."""
    others = bars_of(walk(some_of_days(2, 100, seed=3), seed=4))

    async def scenario() -> None:
        async with following(table) as bars, bars.hub.listen() as listener:
            await holds(bars, BARS)
            versions = table.version
            table.replace()
            for batch in in_batches(others, max(len(others) // (versions + 5), 1)):
                table.commit(batch)
            while await anext(listener) != ():
                pass
            table_id = DeltaTable(table.path).metadata().id
            await until(lambda: bars.follower.state is not None and bars.follower.state.table_id == table_id)
            await caught_up(bars, table)
            await holds(bars, others)

    run(scenario)


def test_a_table_that_is_gone_is_said_to_be(table: Table) -> None:
    """What was in memory is not served as if it were there; a new one is followed when it comes."""

    async def scenario() -> None:
        async with following(table) as bars:
            shutil.rmtree(table.path)
            await until(lambda: bars.follower.state is None)
            with pytest.raises(BarsAway, match="there is no table"):
                await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1)
            table.create()
            table.commit(BARS[:9])
            await caught_up(bars, table)
            await holds(bars, BARS[:9])

    run(scenario)


def test_versions_that_were_cleared_away_meanwhile_are_made_up_for(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service was asleep for longer than the log is kept: it reads the table as a whole."""

    async def scenario() -> None:
        async with following(table) as bars, bars.hub.listen() as listener:
            loads = bars.follower.counts.loads
            monkeypatch.setattr(bars.follower._log, "commits", list)  # asleep
            now = amended(BARS, 3)
            table.commit([now[3]])
            for number in range(3):
                table.commit(bars_of(walk([BARS[-1].timestamp + (number + 1) * 1_000], first_id=10**6 + number * 9)))
            DeltaTable(table.path).create_checkpoint()
            real_ms = int(datetime.now(UTC).timestamp() * 1000)
            assert table.keep(real_ms + 3_700_000, fold_after_days=0).log_files_deleted > 0
            monkeypatch.undo()
            assert await anext(listener) == ()
            await caught_up(bars, table)
            assert bars.follower.counts.loads == loads + 1
            found = await bars.read(*BTC, SECOND_MS, start_ms=0, end_ms=BARS[-1].timestamp, limit=10_000)
            assert found == now

    run(scenario)


def test_a_cache_that_cannot_be_written_stops_nothing(table: Table, tmp_path: Path) -> None:
    """A file is in its way: minutes are made again when they are needed, and new bars come as ever."""
    table.settings.rollups.write_text("in the way")

    async def scenario() -> None:
        async with following(table, recent=60) as bars, bars.hub.listen() as listener:
            await holds(bars, BARS)
            history = bars.follower.state.history  # type: ignore[union-attr]
            await until(lambda: history.days_not_kept >= 3)
            newest = bars_of(walk([BARS[-1].timestamp + 1_000], first_id=10**6))
            table.commit(newest)
            assert list(await anext(listener)) == newest
            await holds(bars, [*BARS, *newest])
            assert bars.follower.problem == ""

    run(scenario)


def test_days_that_are_over_are_made_once_for_all_starts(table: Table) -> None:
    """Another start finds them on disk; a file that is damaged there is made anew."""

    async def scenario() -> None:
        async with following(table, recent=60) as bars:
            history = bars.follower.state.history  # type: ignore[union-attr]
            await until(lambda: len([*table.settings.rollups.glob("*/*.hours.parquet")]) == 3)
            assert (history.days_made, history.days_not_kept) == (3, 0)
            await holds(bars, BARS)
        async with following(table, recent=60) as bars:
            await holds(bars, BARS)
            assert bars.follower.state.history.days_made == 0  # type: ignore[union-attr]
        for file in table.settings.rollups.glob("*/*.parquet"):
            file.write_bytes(file.read_bytes()[:-50])
        async with following(table, recent=60) as bars:
            await holds(bars, BARS)
            assert bars.follower.state.history.days_made == 3  # type: ignore[union-attr]

    run(scenario)


def test_files_that_vanish_are_told_and_not_a_wrong_answer(table: Table, tmp_path: Path) -> None:
    """Somebody has deleted data by hand: no bars rather than fewer, with the name; what is in memory is served."""

    async def scenario() -> None:
        async with following(table, recent=60) as bars:
            newest = await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1)
            for file in table.path.glob("date=2024-08-10/*.parquet"):
                file.unlink()
            with pytest.raises(BarsAway, match=r"the table cannot be read: .*date=2024-08-10"):
                await bars.read(*BTC, SECOND_MS, start_ms=START_MS + DAY_MS, end_ms=START_MS + 2 * DAY_MS, limit=9)
            assert await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1) == newest

    run(scenario)


def test_more_than_many_bars_at_once_are_taken_over_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that catches up brings an hour in one commit: it is loaded, and listeners read anew."""
    monkeypatch.setattr("serve.table.follower.MANY", 100)
    table = Table(tmp_path).create()
    trades = walk(every_second(START_MS, 500))

    async def scenario() -> None:
        async with following(table, recent=200) as bars, bars.hub.listen() as listener:
            table.traded(trades)
            assert await anext(listener) == ()
            await holds(bars, bars_of(trades))

    run(scenario)


def test_a_minute_of_a_thousand_symbols_is_news(tmp_path: Path) -> None:
    """A job that catches up brings it in one commit: whoever listens is told, and need not read anew."""
    table = Table(tmp_path).create()
    table.traded(walk([START_MS]))
    minute = bars_of(walk(every_second(START_MS + SECOND_MS, 60)))

    async def scenario() -> None:
        async with following(table) as bars, bars.hub.listen() as listener:
            table.commit([replace(bar, symbol=f"S{number}") for number in range(1_000) for bar in minute])
            assert len(await anext(listener)) == 60_000
            assert bars.follower.counts.loads == 1

    run(scenario)


def test_a_day_that_is_made_when_its_table_is_left_is_not_kept(table: Table) -> None:
    """Nobody asks for it any more; that is neither an error nor a disk that does not keep up."""

    async def scenario() -> None:
        async with following(table) as bars:
            assert bars.follower.state is not None
            history = bars.follower.state.history
            history.close()
            await history._make(START_MS)
            await asyncio.gather(*history._keeping)
            assert (history._keeper.waiting, history.days_not_kept) == (0, 0)

    run(scenario)


def test_memory_holds_the_newest_of_all_symbols_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many to load, the oldest are left to the files: the answers are the same."""
    monkeypatch.setattr("serve.table.follower.MOST", 150)
    table = Table(tmp_path).create()
    trades = [trade for number in range(3) for trade in walk(every_second(START_MS, 100), symbol=f"S{number}")]
    table.traded(trades)

    async def scenario() -> None:
        async with following(table) as bars:
            assert bars.follower.state is not None
            assert 0 < len(bars.follower.state.recent) <= 150
            for number in range(3):
                found = await bars.read("binance", f"S{number}", SECOND_MS, start_ms=0, end_ms=None, limit=1_000)
                assert found == [bar for bar in bars_of(trades) if bar.symbol == f"S{number}"]
            newest = await bars.read("binance", "S0", SECOND_MS, start_ms=None, end_ms=None, limit=1)
            oldest = await bars.read("binance", "S0", SECOND_MS, start_ms=0, end_ms=None, limit=1)
            for bar in (*newest, *oldest):
                assert bars.printer("binance", "S0", lambda bar: b"%d" % bar.timestamp)(bar) == b"%d" % bar.timestamp
            assert bars.follower.state.recent.texts == 1  # what comes of files is another object each time
            assert start_of(newest[0].timestamp, MINUTE_MS) == START_MS + MINUTE_MS

    run(scenario)


def test_a_defect_of_ours_is_told_and_followed_by_another_try(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in taking a commit over: it is seen in /readyz, and the table is loaded anew."""

    async def scenario() -> None:
        async with following(table) as bars:
            with monkeypatch.context() as patch:
                patch.setattr("serve.table.follower._bars_of", lambda *_: 1 / 0)
                newest = bars_of(walk([BARS[-1].timestamp + 1_000], first_id=10**6))
                table.commit(newest)
                await until(lambda: "ZeroDivisionError" in bars.follower.problem)
            await caught_up(bars, table)
            await until(lambda: not bars.follower.problem)
            assert await bars.read(*BTC, SECOND_MS, start_ms=None, end_ms=None, limit=1) == newest

    run(scenario)
