"""New trades as serve follows them, from a real Redis in which prices has written."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from market.latest import NEWS
from market.trade import Trade
from prices.store import Store
from serve.news import News
from tests.prices.kept import KEPT, PLACE, write
from tests.prices.made import trade
from tests.redis_servers import OwnRedis

WITHIN_S = 20.0


def followed(redis: OwnRedis, steps: Callable[[Callable[[], Awaitable[list[Trade]]]], Awaitable[None]]) -> None:
    """Do something while the news are followed, with a function that gives the next of them."""

    async def follow() -> None:
        followed = News(redis.url)
        news = followed.follow()
        async with aclosing(news):

            async def following() -> list[Trade]:
                return list((await asyncio.wait_for(anext(news), WITHIN_S)).trades)

            await steps(following)
        await followed.close()

    asyncio.run(follow())


def test_new_trades_of_all_symbols_are_followed(redis: OwnRedis, store: Store) -> None:
    """From the moment at which it begins, which it says; each write of trades that are new, in order, and once."""
    write(store, trade(1))

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        write(store, trade(2), trade(1, symbol="ETHUSDT"))
        write(store, trade(2))
        write(store, trade(3))
        assert await following() == [trade(2), trade(1, symbol="ETHUSDT")]
        assert await following() == [trade(3)]

    followed(redis, steps)


def test_following_begins_in_an_empty_redis(redis: OwnRedis, store: Store) -> None:
    """The first trade of all is followed, without a second beginning."""

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        write(store, trade(1))
        assert await following() == [trade(1)]

    followed(redis, steps)


def test_a_cut_connection_loses_nothing(redis: OwnRedis, store: Store) -> None:
    """It is made again, and goes on where it was, without beginning anew."""

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        write(store, trade(1))
        assert await following() == [trade(1)]
        redis.client.client_kill_filter(_type="normal", skipme=True)
        write(store, trade(2))
        assert await following() == [trade(2)]

    followed(redis, steps)


def test_what_was_missed_is_told_by_beginning_anew(redis: OwnRedis, store: Store) -> None:
    """A follower that was too slow: the entries that it had not read are gone."""

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        write(store, trade(1))
        assert await following() == [trade(1)]
        for number in (2, 3, 4):
            write(store, trade(number))
        redis.client.xtrim(NEWS, maxlen=1, approximate=False)
        assert await following() == []
        assert await following() == [trade(4)]

    followed(redis, steps)


def test_a_redis_that_comes_back_empty_is_followed_anew(redis: OwnRedis) -> None:
    """Told by beginning anew, once it is there again; then what is written in it."""

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        first = Store(redis.url, kept=KEPT)
        first.begin({PLACE: 0})
        write(first, trade(1))
        assert await following() == [trade(1)]
        redis.kill()
        redis.start()
        assert await following() == []
        first.begin({PLACE: 0})
        write(first, trade(2))
        assert await following() == [trade(2)]
        first.close()

    followed(redis, steps)


def test_news_from_before_are_followed_where_the_clock_was_set_back(redis: OwnRedis, store: Store) -> None:
    """Redis emptied, and numbered from an earlier time: nothing after the old place would ever come."""

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        write(store, trade(1))
        assert await following() == [trade(1)]
        redis.client.delete(NEWS)
        redis.client.xadd(NEWS, {"binance:BTCUSDT": "1 1 1 1 true 1"}, id="1000-1")
        assert await following() == []
        write(store, trade(2))
        assert await following() == [trade(2)]

    followed(redis, steps)


def test_news_that_are_no_trades_are_passed_by(redis: OwnRedis, store: Store) -> None:
    """Of the others in the entry nothing is lost."""

    async def steps(following: Callable[[], Awaitable[list[Trade]]]) -> None:
        assert await following() == []
        redis.client.xadd(NEWS, {"binance:AAAUSDT": "nothing", "binance:BTCUSDT": "1 2 3 4 true 5"}, id="1000-1")
        assert await following() == [Trade("binance", "BTCUSDT", "3", "4", 1, 2, True)]

    followed(redis, steps)
