"""Latest prices and last trades as serve reads them, from a real Redis in which prices has written."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest

from market.latest import KNOWN, NEWS, Price, price_key, trades_key
from market.trade import Trade
from prices.store import Store
from serve.prices import Prices, PricesAway
from tests.prices.kept import KEPT, PLACE, write
from tests.prices.made import BTC, trade
from tests.redis_servers import OwnRedis
from tests.serve.asking import asked

WITHIN_S = 20.0


def test_the_latest_price_is_what_was_written(redis: OwnRedis, store: Store) -> None:
    """Every field; None before there is one."""
    assert asked(redis, lambda prices: prices.latest(*BTC)) is None
    write(store, trade(1), trade(2))
    expected = Price(*trade(2), kafka_time=trade(2).timestamp + 5)
    assert asked(redis, lambda prices: prices.latest(*BTC)) == expected


def test_all_prices_come_in_the_order_of_their_names(redis: OwnRedis, store: Store) -> None:
    """One for each symbol that has one; a name without a price is passed by."""
    assert asked(redis, lambda prices: prices.all()) == []
    write(store, trade(1, symbol="ETHUSDT"), trade(2), trade(3, symbol="ETHUSDT"))
    redis.client.sadd(KNOWN, "binance:AAAUSDT")
    found = asked(redis, lambda prices: prices.all())
    assert [(price.symbol, price.trade_id) for price in found] == [("BTCUSDT", 2), ("ETHUSDT", 3)]


def refused(redis: OwnRedis, question: Callable[[Prices], Awaitable[object]]) -> str:
    """What is said where there is no answer."""
    with pytest.raises(PricesAway) as error:
        asked(redis, question)
    return str(error.value)


def test_a_redis_that_is_away_is_told_and_no_password(redis: OwnRedis) -> None:
    """Whatever is asked of it."""
    redis.kill()
    for question in (
        lambda prices: prices.heartbeats("crypto-trades"),
        lambda prices: prices.latest(*BTC),
        lambda prices: prices.all(),
        lambda prices: prices.trades(*BTC, limit=1),
    ):
        assert refused(redis, question).startswith(f"Redis at {redis.url}: ")

    async def ask() -> None:
        prices = Prices(f"redis://me:secret@127.0.0.1:{redis.port}/0")
        try:
            await prices.heartbeats("crypto-trades")
        finally:
            await prices.close()

    with pytest.raises(PricesAway) as error:
        asyncio.run(ask())
    assert "secret" not in str(error.value)


def test_a_redis_that_hangs_is_not_waited_for(redis: OwnRedis) -> None:
    """The answer is that there is none, soon."""
    redis.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert "imeout" in refused(redis, lambda prices: prices.latest(*BTC))
        assert time.monotonic() - began < 10
    finally:
        redis.signal(signal.SIGCONT)


def test_nonsense_in_redis_is_told(redis: OwnRedis, store: Store) -> None:
    """Somebody else's keys are neither a price nor a reason to fail otherwise."""
    redis.client.hset(price_key(*BTC), mapping={"price": "1", "timestamp": "now"})
    redis.client.xadd(trades_key(*BTC), {"trade": "nothing"})
    redis.client.set(price_key("binance", "ETHUSDT"), "mine")
    says = f"Redis at {redis.url} holds what prices does not write: "
    assert refused(redis, lambda prices: prices.latest(*BTC)).startswith(says)
    assert refused(redis, lambda prices: prices.trades(*BTC, limit=1)).startswith(says)
    assert "WRONGTYPE" in refused(redis, lambda prices: prices.latest("binance", "ETHUSDT"))


def followed(redis: OwnRedis, steps: Callable[[Callable[[], Awaitable[list[Trade]]]], Awaitable[None]]) -> None:
    """Do something while the news are followed, with a function that gives the next of them."""

    async def follow() -> None:
        prices = Prices(redis.url)
        news = prices.follow()
        async with aclosing(news):

            async def following() -> list[Trade]:
                return list((await asyncio.wait_for(anext(news), WITHIN_S)).trades)

            await steps(following)
        await prices.close()

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
