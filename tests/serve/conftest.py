"""What tests of the service share: a table and the service over it, without Redis; and the side that writes to one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prices.store import Store
from tests.prices.kept import KEPT, PLACE
from tests.redis_servers import OwnRedis
from tests.serve.served import Served, served
from tests.serve.tables import START_MS, Table, every_second, walk


@pytest.fixture
def store(redis: OwnRedis) -> Iterator[Store]:
    """The writing side of prices, in which one partition has begun."""
    made = Store(redis.url, kept=KEPT)
    made.begin({PLACE: 0})
    yield made
    made.close()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A hundred seconds of one symbol."""
    made = Table(tmp_path_factory.mktemp("table")).create()
    made.traded(walk(every_second(START_MS, 100)))
    return made


@pytest.fixture(scope="module")
def service(table: Table) -> Iterator[Served]:
    """Up to date with its table."""
    with served(table.settings) as running:
        running.caught_up(table.version)
        yield running
