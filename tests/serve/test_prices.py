"""Latest prices and last trades as serve reads them, from a real Redis in which prices has written."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable

import pytest

from market.latest import KNOWN, Price, price_key, trades_key
from prices.store import Store
from serve.prices import Prices, PricesAway
from tests.prices.kept import write
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
