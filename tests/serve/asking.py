"""One question to the prices in a Redis, with a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from serve.prices import Prices
from tests.redis_servers import OwnRedis

T = TypeVar("T")


def asked(redis: OwnRedis, question: Callable[[Prices], Awaitable[T]]) -> T:
    """The answer to a question."""

    async def ask() -> T:
        prices = Prices(redis.url)
        try:
            return await question(prices)
        finally:
            await prices.close()

    return asyncio.run(ask())
