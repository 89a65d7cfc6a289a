"""Every REST route of Binance's, asked with whatever its parameters allow, and with what they do not.

What is allowed is answered as described, or refused with a documented status, for a symbol that fits the pattern need
not be listed; what is not allowed is refused; never 500.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from unittest import SkipTest

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from serve.binance.rest import ROUTES
from serve.binance.symbols import VENUES
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trades_at
from tests.serve.binance.stand import Stand

CASES = 250
"""Of each route, with each of what is allowed and what is not."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, redis_server: OwnRedis) -> Iterator[Stand]:
    """With a few seconds of one symbol, some of them open."""
    if not redis_server.is_alive:
        redis_server.start()
    redis_server.client.flushall()
    made = Stand(tmp_path_factory.mktemp("fuzz"), redis_server)
    trades = trades_at([START_MS + 500 * number for number in range(20)])
    made.told(trades)
    made.finished(trades[:14])
    made.stop_clock(START_MS + 10_500)
    with made.serving():
        yield made


@pytest.fixture(scope="module")
def description(stand: Stand) -> Any:
    return schemathesis.openapi.from_url(f"{stand.http}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["allowed", "not allowed"])
@pytest.mark.parametrize("path", ROUTES)
def test_a_route_answers_as_described(description: Any, path: str, mode: Any) -> None:
    """Statuses, media types and contents are those of the description, and wrong input is refused."""
    operation = description[f"/api/v3/{path}"]["GET"]
    statuses: Counter[int] = Counter()
    with requests.Session() as session:

        @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode), is_listed=st.sampled_from([True, True, False]))
        def check(case: Any, is_listed: bool) -> None:
            if is_listed and mode is GenerationMode.POSITIVE and "symbol" in (case.query or {}):
                case.query["symbol"] = "BTCUSDT"  # of those that fit the pattern, next to none is listed
            response = case.call_and_validate(session=session, excluded_checks=[positive_data_acceptance])
            statuses[response.status_code] += 1

        try:
            check()
        except SkipTest:
            pytest.fail(f"nothing could be made for {path}")
    if mode is GenerationMode.POSITIVE:
        assert statuses[200] >= statuses.total() // 4, statuses
    else:
        # What is not allowed may be so once it is written in an address: 1 as "1", a list of nothing as nothing.
        assert statuses.keys() <= {200, 400}
        assert statuses[400] >= statuses.total() * 9 // 10, statuses


def test_every_route_is_fuzzed(stand: Stand) -> None:
    """Those under a venue are the bare ones, with fewer exchanges."""
    told = {path for path in stand.rows("/openapi.json")["paths"] if "/api/v3" in path}
    assert told == {f"{venue}/api/v3/{path}" for venue in VENUES for path in ROUTES}
