"""A Redis that comes back as an older copy of itself, with persistence or after a failover."""

from __future__ import annotations

import asyncio

from market.latest import NEWS, line_of, name_of
from prices.store import Store
from serve.news import News
from tests.prices.kept import KEPT, PLACE, write
from tests.prices.made import BTC, trade
from tests.redis_servers import OwnRedis


def test_entries_that_are_numbered_anew_are_not_taken_for_those_that_follow(redis: OwnRedis) -> None:
    """It numbers from where the copy ends, with other trades under the same numbers: the follower begins anew."""
    store = Store(redis.url, kept=KEPT)
    store.begin({PLACE: 0})

    async def scenario() -> None:
        news = News(redis.url)
        follower = news.follow()
        try:
            async with asyncio.timeout(20):
                assert (await anext(follower)).trades == []
                for number in (1, 2):
                    write(store, trade(number))
                    assert (await anext(follower)).trades == [trade(number)]
                older_copy(redis)
                assert (await anext(follower)).trades == []
        finally:
            await follower.aclose()
            await news.close()

    asyncio.run(scenario())
    store.close()


def older_copy(redis: OwnRedis) -> None:
    """At once: connections are cut, the second entry holds other trades, and a third one is there already."""
    (first, _), (second, _) = redis.client.xrange(NEWS)
    epoch, _, _ = second.partition("-")
    with redis.client.pipeline(transaction=True) as change:
        change.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        change.delete(NEWS)
        for name, numbers in ((first, [1]), (second, [2, 3]), (f"{epoch}-3", [4])):
            lines = "\n".join(line_of(trade(number), trade(number).timestamp + 5) for number in numbers)
            change.xadd(NEWS, {name_of(*BTC): lines}, id=name)
        change.execute()
