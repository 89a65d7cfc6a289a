"""Pages in memory: made once for all who ask, and anew when something in them changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pyarrow as pa
import pytest

from market.widths import DAY_MS, HOUR_MS
from serve.problems import BarsAway
from serve.table.apart import Apart
from serve.table.pages import Page, Pages
from serve.table.shelf import Shelf
from tests.serve.tables import START_MS

SECONDS = Page("seconds", START_MS, START_MS + HOUR_MS, "binance", "BTCUSDT")
TABLE = pa.table({"number": list(range(100))})


class Maker:
    """Makes a page when it is let to."""

    def __init__(self) -> None:
        self.made = 0
        self.go = asyncio.Event()

    async def __call__(self) -> pa.Table:
        self.made += 1
        await self.go.wait()
        return TABLE


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_a_page_is_made_once_for_all_who_ask() -> None:
    """Those who ask meanwhile wait for the same; those who ask later find it."""

    async def scenario() -> None:
        pages, maker = Pages(), Maker()
        asking = [asyncio.ensure_future(pages.get(SECONDS, maker)) for _ in range(3)]
        await asyncio.sleep(0)
        maker.go.set()
        assert await asyncio.gather(*asking) == [TABLE] * 3
        assert await pages.get(SECONDS, maker) is TABLE
        assert (maker.made, pages.size) == (1, TABLE.nbytes)

    run(scenario)


def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    """A client that hangs up does not stop what is read for another one."""

    async def scenario() -> None:
        pages, maker = Pages(), Maker()
        gone, stays = (asyncio.ensure_future(pages.get(SECONDS, maker)) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        maker.go.set()
        assert await stays is TABLE
        assert (gone.cancelled(), maker.made) == (True, 1)

    run(scenario)


@pytest.mark.parametrize(
    ("page", "is_touched"),
    [
        (SECONDS, True),
        (SECONDS._replace(symbol="ETHUSDT"), False),
        (SECONDS._replace(hour_ms=START_MS), False),
        (Page("block", START_MS, START_MS + HOUR_MS), True),
        (Page("block", START_MS, START_MS), False),
        (Page("day", START_MS), True),
        (Page("hours", START_MS), True),
        (Page("minutes", START_MS, None, "coinbase", "ETHUSD"), True),
        (Page("hours", START_MS + DAY_MS), False),
    ],
)
def test_what_an_amendment_touches_is_made_anew(page: Page, is_touched: bool) -> None:
    """The hour of the symbol, the block of the hour, and whatever is made of the day; nothing else."""

    async def scenario() -> None:
        pages, maker = Pages(), Maker()
        maker.go.set()
        await pages.get(page, maker)
        assert pages.touch([("binance", "BTCUSDT", START_MS + HOUR_MS)]) == {START_MS}
        assert pages.touch([]) == set()
        await pages.get(page, maker)
        assert maker.made == 1 + is_touched

    run(scenario)


def test_a_page_under_way_when_it_is_touched_is_not_kept() -> None:
    """It may have been read of the files before; who asks afterwards does not get it."""

    async def scenario() -> None:
        pages, before, after = Pages(), Maker(), Maker()
        asking = asyncio.ensure_future(pages.get(SECONDS, before))
        await asyncio.sleep(0)
        pages.touch([("binance", "BTCUSDT", START_MS + HOUR_MS)])
        later = asyncio.ensure_future(pages.get(SECONDS, after))
        await asyncio.sleep(0)
        before.go.set()
        await asking
        assert pages.at_hand(SECONDS) is None
        after.go.set()
        await later
        assert pages.at_hand(SECONDS) is TABLE
        assert (before.made, after.made) == (1, 1)

    run(scenario)


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    """The next one who asks tries again."""

    async def scenario() -> None:
        pages, maker = Pages(), Maker()
        maker.go.set()

        async def failing() -> pa.Table:
            raise FileNotFoundError("gone")

        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                await pages.get(SECONDS, failing)
        assert await pages.get(SECONDS, maker) is TABLE

    run(scenario)


def test_a_page_that_still_grows_is_not_kept() -> None:
    """That of the open hour."""

    async def scenario() -> None:
        pages, maker = Pages(), Maker()
        maker.go.set()
        for _ in range(2):
            await pages.get(SECONDS, maker, keep=False)
        assert (maker.made, pages.size) == (2, 0)

    run(scenario)


def test_the_shelf_is_bounded() -> None:
    """The longest unused goes; what is too large is not kept at all."""
    shelf: Shelf[str] = Shelf(3 * TABLE.nbytes)
    for key in "abc":
        shelf.put(key, TABLE)
    assert shelf.get("a") is TABLE
    shelf.put("d", TABLE)
    assert [key for key in "abcd" if shelf.get(key) is not None] == ["a", "c", "d"]
    assert shelf.size == 3 * TABLE.nbytes
    shelf.put("large", pa.concat_tables([TABLE, TABLE]))
    assert (shelf.get("large"), shelf.size) == (None, 3 * TABLE.nbytes)
    shelf.forget(lambda key: key != "a")
    assert shelf.size == TABLE.nbytes
    shelf.put("a", TABLE)
    shelf.clear()
    assert (shelf.get("a"), shelf.size) == (None, 0)


def test_work_apart_is_bounded() -> None:
    """What cannot wait any more is refused, and told so."""

    async def scenario() -> None:
        apart = Apart("test", threads=1, waiting=2)
        loop = asyncio.get_running_loop()
        go = asyncio.Event()
        blocked = [asyncio.ensure_future(apart(lambda: asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)))]
        blocked.append(asyncio.ensure_future(apart(lambda: True)))
        await asyncio.sleep(0)
        with pytest.raises(BarsAway, match="more of the past is asked for at once than can be read"):
            await apart(lambda: None)
        go.set()
        assert await asyncio.gather(*blocked) == [True, True]
        assert (apart.waiting, apart.done) == (0, 2)
        apart.close()

    run(scenario)


def test_work_that_comes_after_the_end_is_refused() -> None:
    """And counted nowhere: a table may be left while something of it is read."""

    async def scenario() -> None:
        apart = Apart("test", threads=1)
        apart.close()
        with pytest.raises(BarsAway, match="the table was left meanwhile"):
            await apart(lambda: None)
        assert (apart.waiting, apart.done) == (0, 0)

    run(scenario)
