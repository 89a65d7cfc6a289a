"""What tests of the query service share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prices.store import Store
from tests.prices.kept import KEPT, PLACE
from tests.redis_servers import OwnRedis


@pytest.fixture
def store(redis: OwnRedis) -> Iterator[Store]:
    """The writing side of prices, in which one partition has begun."""
    made = Store(redis.url, kept=KEPT)
    made.begin({PLACE: 0})
    yield made
    made.close()
