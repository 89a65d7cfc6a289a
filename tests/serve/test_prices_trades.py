"""The last trades of a symbol as serve reads them, from a real Redis in which prices has written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from market.latest import price_key, trades_key
from market.trade import Trade
from prices.chunks import MOST_TRADES
from prices.store import Store
from serve import prices as module
from serve.prices import Prices
from tests.prices.kept import PLACE, write
from tests.prices.made import BTC, trade
from tests.redis_servers import OwnRedis
from tests.serve.asking import asked


@pytest.fixture
def store(redis: OwnRedis) -> Iterator[Store]:
    """The writing side, which keeps as many trades as it does where nothing else is said."""
    made = Store(redis.url, kept=10_000)
    made.begin({PLACE: 0})
    yield made
    made.close()


def came(store: Store, numbers: Iterable[int]) -> None:
    """Write trades in this order."""
    trades = [trade(number) for number in numbers]
    for begin in range(0, len(trades), MOST_TRADES):
        write(store, *trades[begin : begin + MOST_TRADES])


def newest(redis: OwnRedis, limit: int) -> list[int]:
    """The numbers of the newest trades."""
    return ids(asked(redis, lambda prices: prices.trades(*BTC, limit=limit)))


def first(redis: OwnRedis, limit: int, from_id: int) -> list[int]:
    """The numbers of the first trades from one on."""
    return ids(asked(redis, lambda prices: prices.trades(*BTC, limit=limit, from_id=from_id)))


def ids(trades: list[Trade]) -> list[int]:
    """Their numbers, in their order."""
    return [one.trade_id for one in trades]


@pytest.mark.parametrize("page", [3, 1_000])
def test_the_newest_trades_come_oldest_first(
    redis: OwnRedis, store: Store, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """As many as asked for, exactly as they were, however they are read."""
    monkeypatch.setattr(module, "_PAGE", page)
    trades = [trade(number) for number in range(1, 21)]
    write(store, *trades)
    assert asked(redis, lambda prices: prices.trades(*BTC, limit=7)) == trades[-7:]
    assert asked(redis, lambda prices: prices.trades(*BTC, limit=1_000)) == trades
    assert asked(redis, lambda prices: prices.trades("binance", "ETHUSDT", limit=7)) == []


def test_a_late_trade_takes_the_place_of_its_number(redis: OwnRedis, store: Store) -> None:
    """It stands last in the stream, and is neither the newest nor missing."""
    came(store, [1, 2, 4, 5, 3])
    assert newest(redis, 1) == [5]
    assert newest(redis, 3) == [3, 4, 5]


def test_trades_are_read_back_in_the_order_in_which_they_came(redis: OwnRedis, store: Store) -> None:
    """A line that is none hides no other."""
    came(store, [1, 4])
    redis.client.xadd(trades_key(*BTC), {"trade": "nonsense"})
    came(store, [3])

    async def back(prices: Prices) -> list[Trade]:
        return [one async for page in prices.newest_first(*BTC) for one in page]

    assert ids(asked(redis, back)) == [3, 4, 1]


def test_each_trade_comes_once(redis: OwnRedis, store: Store) -> None:
    """Though the stream held it twice, as after a writer's numbers began anew."""
    came(store, [1, 2])
    for _, fields in redis.client.xrange(trades_key(*BTC)):
        redis.client.xadd(trades_key(*BTC), fields)
    assert newest(redis, 10) == [1, 2]


@pytest.mark.parametrize("page", [3, 1_000])
def test_trades_from_a_number_on(redis: OwnRedis, store: Store, monkeypatch: pytest.MonkeyPatch, page: int) -> None:
    """The first of those that are kept, the bound included."""
    monkeypatch.setattr(module, "_PAGE", page)
    came(store, range(1, 21))
    assert first(redis, 3, from_id=5) == [5, 6, 7]
    assert first(redis, 3, from_id=0) == [1, 2, 3]
    assert first(redis, 3, from_id=19) == [19, 20]
    assert first(redis, 3, from_id=21) == []


def test_trades_that_came_late_are_on_their_page(redis: OwnRedis, store: Store) -> None:
    """However far behind newer ones they stand: who pages on would never see them."""
    came(store, [1, *range(5, 2_000), *range(2_100, 4_000), 2, 3, 4, *range(2_000, 2_100), *range(4_000, 5_000)])
    for number in (1, 2, 3, 1_998, 2_000, 2_099, 4_997):
        assert first(redis, 3, from_id=number) == [number, number + 1, number + 2]
    assert first(redis, 1_000, from_id=0) == list(range(1, 1_001))
    assert first(redis, 1_000, from_id=1_500) == list(range(1_500, 2_500))


def test_the_newest_trades_are_found_before_many_that_came_late(redis: OwnRedis, store: Store) -> None:
    """A producer has back-filled hundreds: they stand last, and are not the newest."""
    came(store, [*range(1, 200), *range(3_000, 4_000), *range(200, 3_000)])
    assert newest(redis, 3) == [3_997, 3_998, 3_999]
    assert newest(redis, 1_100) == list(range(2_900, 4_000))


@pytest.mark.parametrize("page", [3, 1_000])
def test_numbers_that_are_missing_for_good_are_passed_by(
    redis: OwnRedis, store: Store, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """By some exchange that leaves numbers out, or where trades are lost."""
    monkeypatch.setattr(module, "_PAGE", page)
    came(store, range(2, 400, 2))
    assert newest(redis, 3) == [394, 396, 398]
    assert first(redis, 3, from_id=101) == [102, 104, 106]
    assert first(redis, 3, from_id=0) == [2, 4, 6]


def test_the_newest_are_told_where_the_price_is_gone(redis: OwnRedis, store: Store) -> None:
    """Deleted or evicted, so that nobody knows which trade is the last: the stream does."""
    came(store, range(1, 300))
    redis.client.delete(price_key(*BTC))
    assert newest(redis, 3) == [297, 298, 299]
    assert first(redis, 3, from_id=5) == [5, 6, 7]


def test_no_more_is_read_than_the_answer_needs(redis: OwnRedis, store: Store) -> None:
    """Where no number is missing: what is new is at the end of a long stream."""
    came(store, range(1, 3_001))
    redis.client.config_resetstat()
    assert newest(redis, 3) == [2_998, 2_999, 3_000]
    assert first(redis, 500, from_id=2_999) == [2_999, 3_000]
    assert first(redis, 500, from_id=3_001) == []
    assert redis.client.info("commandstats")["cmdstat_xrevrange"]["calls"] == 2
