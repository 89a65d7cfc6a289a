"""What serve reads of heartbeats in Redis."""

from __future__ import annotations

import asyncio

from market.latest import HEARTBEATS, POSITIONS
from serve.prices import Prices
from tests.redis_servers import OwnRedis


def promised(redis: OwnRedis, topic: str) -> dict[str, int]:
    """Up to when every trade of a topic is there, by exchange."""

    async def ask() -> dict[str, int]:
        prices = Prices(redis.url)
        try:
            return dict((await prices.heartbeats(topic)).until_ms)
        finally:
            await prices.close()

    return asyncio.run(ask())


def test_what_is_promised_is_the_oldest_of_the_partitions(redis: OwnRedis) -> None:
    """Of the topic that is asked about; nothing of an exchange that has no heartbeat in one of them."""
    redis.client.hset(POSITIONS, mapping={"crypto-trades:0": 5, "crypto-trades:1": 6, "other:0": 7})
    beats = {"binance:crypto-trades:0": 2_000, "binance:crypto-trades:1": 1_500, "binance:other:0": 9_000}
    redis.client.hset(HEARTBEATS, mapping={**beats, "coinbase:crypto-trades:0": 2_000})
    assert promised(redis, "crypto-trades") == {"binance": 1_500}
    assert promised(redis, "nothing") == {}
