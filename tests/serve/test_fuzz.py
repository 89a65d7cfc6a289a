"""Every route that the description tells, asked with whatever its parameters allow, and with what they do not.

What is allowed is answered as described; what is not is refused, with a status that the description tells; never 500.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest import SkipTest

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from market.widths import LATEST_MS, SECOND_MS
from tests.serve.served import Served, served
from tests.serve.tables import Table, every_second, walk
from tests.serve.test_prices_routes import priced

CASES = 500
"""Of each route, at least. Of what is allowed, there are fewer where a route has few parameters, or none."""
KNOWN = ("exchange", "interval", "from", "to", "limit", "fill", "format")
HEADERS = ("Accept", "Authorization", "Cookie", "If-None-Match", "Origin", "Range", "X-API-Key", "X-Forwarded-For")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SIGNS = [chr(number) for number in range(33, 127)]
WITH_PARAMETERS = ("/price/{symbol}", "/prices", "/bars/{symbol}")
ROUTES = (*WITH_PARAMETERS, "/symbols", "/healthz", "/readyz", "/metrics")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Iterator[Served]:
    """With bars of the last minutes, and a Redis that has prices: nothing is away or stale."""
    now_ms = int(time.time()) * SECOND_MS
    table = Table(tmp_path_factory.mktemp("fuzz")).create()
    table.traded(walk(every_second(now_ms - 200 * SECOND_MS, 200)))
    if not redis_server.is_alive:
        redis_server.start()
    priced(redis_server, "binance", "BTCUSDT", "66398.85")
    with served(table.settings, redis_url=redis_server.url, stale_after=10**9) as running:
        running.caught_up(table.version)
        yield running


@pytest.fixture(scope="module")
def description(service: Served) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{service.settings.serve_port}/openapi.json")


@pytest.mark.parametrize(
    ("route", "mode"),
    [
        *((route, GenerationMode.POSITIVE) for route in ROUTES),
        *((route, GenerationMode.NEGATIVE) for route in WITH_PARAMETERS),
    ],
)
def test_a_route_answers_as_described(service: Served, description: Any, route: str, mode: Any) -> None:
    """Statuses, media types and contents are those of the description, and wrong input is refused."""
    operation = description[route]["GET"]
    with requests.Session() as session:

        @settings(
            max_examples=CASES // 2 if route in WITH_PARAMETERS else CASES,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            # A day that does not exist fits the pattern of a time, and is refused all the same.
            case.call_and_validate(session=session, excluded_checks=[positive_data_acceptance])

        try:
            check()
        except SkipTest:
            pytest.fail(f"nothing could be made for {route}")


@strategies.composite
def times(draw: Any) -> tuple[int, str]:
    """A time in ms, any or one near the bars, and how it may be written."""
    near = strategies.integers(-4_000, 400).map(lambda second: int(time.time() + second) * SECOND_MS)
    time_ms = draw(near | strategies.integers(0, LATEST_MS))
    if draw(strategies.booleans()):
        return time_ms, str(time_ms)
    zone = timezone(timedelta(minutes=draw(strategies.integers(-12 * 60, 12 * 60))))
    try:
        return time_ms, (EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone).isoformat(timespec="milliseconds")
    except OverflowError:  # it is another year there, which is none
        return time_ms, str(time_ms)


def test_bars_of_a_symbol_that_there_is_are_answered(service: Served, description: Any) -> None:
    """Whatever else is asked of them: of other symbols, most answers are that there are none."""
    operation, counted = description["/bars/{symbol}"]["GET"], Counter[int]()
    with requests.Session() as session:

        @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(
            case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            start=strategies.none() | times(),
            end=strategies.none() | times(),
        )
        def check(case: Any, start: tuple[int, str] | None, end: tuple[int, str] | None) -> None:
            case.path_parameters = {"symbol": "BTCUSDT"}
            asked = {name: value for name, value in case.query.items() if name not in ("exchange", "from", "to")}
            bounds = {name: bound[1] for name, bound in (("from", start), ("to", end)) if bound}
            case.query = asked | bounds
            response = case.call(session=session)
            is_wrong = start is not None and end is not None and start[0] > end[0]
            counted[response.status_code] += 1
            assert response.status_code == (400 if is_wrong else 200), response.text
            case.validate_response(response, excluded_checks=[positive_data_acceptance])
            if response.headers["content-type"] == "application/json" and not is_wrong:
                found = [bar["timestamp"] for bar in response.json()["bars"]]
                assert found == sorted(set(found))
                assert len(found) <= int(asked.get("limit", 500))
                assert all((start or (0,))[0] <= one <= (end or (LATEST_MS,))[0] for one in found)

        check()
    assert counted.total() >= CASES
    assert counted[200] > CASES // 2


@pytest.mark.parametrize("route", ROUTES)
def test_what_no_route_knows_is_refused(service: Served, description: Any, route: str) -> None:
    """Beside what is allowed, something that nobody has described: 400, which names it, and no case is left out."""
    operation, cases = description[route]["GET"], 0
    unknown = strategies.text(min_size=1, max_size=30).filter(lambda name: name not in KNOWN)
    values = strategies.text(max_size=30) | strategies.lists(strategies.text(max_size=5), min_size=2, max_size=3)
    headers = strategies.dictionaries(strategies.sampled_from(HEADERS), strategies.text(SIGNS, max_size=40))
    with requests.Session() as session:

        @settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(
            case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            extra=strategies.dictionaries(unknown, values, min_size=1, max_size=3),
            headers=headers,
        )
        def check(case: Any, extra: dict[str, Any], headers: dict[str, str]) -> None:
            nonlocal cases
            cases += 1
            case.query = {**(case.query or {}), **extra}
            case.headers = {**(case.headers or {}), **headers}
            response = case.call(session=session)
            assert response.status_code == 400
            assert response.json()["error"].startswith("there is no parameter ")
            case.validate_response(response, excluded_checks=[positive_data_acceptance])

        check()
    assert cases >= CASES


def test_every_route_of_ours_is_fuzzed(service: Served) -> None:
    """A new route has to be added here; Binance's have a test of their own."""
    told = service.ask("/openapi.json").json["paths"]
    assert {path for path in told if "/api/v3" not in path} == set(ROUTES)
