"""Every route of ours, asked with whatever its parameters allow, with what they do not, and with what nobody knows.

What is allowed is answered as described; what is not is refused, with a status that the description tells and a text
that names what was wrong; never 500.
"""

from __future__ import annotations

import ast
import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, unquote

import pytest
import schemathesis
from hypothesis import strategies

from market.widths import LATEST_MS, SECOND_MS, WIDTHS
from tests.serve.fuzzing import CASES, Client, Line, Request, cases_of, each_once, fuzz, headers, texts, unknown_to
from tests.serve.served import Served, served
from tests.serve.tables import Table, every_second, walk
from tests.serve.test_prices_routes import priced

KNOWN = ("exchange", "interval", "from", "to", "limit", "fill", "format")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROUTES = ("/price/{symbol}", "/prices", "/bars/{symbol}", "/symbols", "/healthz", "/readyz", "/metrics")
METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
_REFUSALS = (
    r"there is no parameter (?P<unknown>.+): (it may be .+|there is none here)",
    r"(?P<twice>\w+) is given more than once",
    r"(?P<wrong>\w+)=.* is not allowed: (it must |Input should ).+",
    r"(?P<from>from)=.* is later than to=.*",
)
"""What is said of a request that is wrong: the name of the parameter, and what is allowed."""
_refusals = [re.compile(pattern, re.DOTALL).fullmatch for pattern in _REFUSALS]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Iterator[Served]:
    """With bars of the last minutes, and a Redis that has prices: nothing is away or stale."""
    now_ms = int(time.time()) * SECOND_MS
    table = Table(tmp_path_factory.mktemp("fuzz")).create()
    table.traded(walk(every_second(now_ms - 200 * SECOND_MS, 200)))
    priced(redis_server.emptied(), "binance", "BTCUSDT", "66398.85")
    with served(table.settings, redis_url=redis_server.url, stale_after=10**9) as running:
        running.caught_up(table.version)
        yield running


@pytest.fixture(scope="module")
def description(service: Served) -> Any:
    return schemathesis.openapi.from_url(f"http://127.0.0.1:{service.settings.serve_port}/openapi.json")


@pytest.fixture(scope="module")
def unknown() -> list[Any]:
    return unknown_to(KNOWN)


def there_is(case: Any) -> None:
    """Lets a case ask for the one symbol that there is, at its exchange, of a time that ends after it begins."""
    if case.path_parameters:
        case.path_parameters = {"symbol": "BTCUSDT"}
    possible = {"exchange": "binance", "from": "0", "to": str(LATEST_MS)}
    case.query = {name: possible.get(name, value) for name, value in case.query.items()}


def named(text: str) -> str:
    """The parameter that a refusal names. Fails where it names none, or does not say what is allowed."""
    for refusal in _refusals:
        if match := refusal(text):
            ((kind, name),) = ((kind, name) for kind, name in match.groupdict().items() if name is not None)
            return str(ast.literal_eval(name)) if kind == "unknown" else name
    raise AssertionError(f"nothing is named: {text}")


def refused(case: Any, status: int, body: Any) -> None:
    """400 names a parameter that was sent; 404, of a path that has no route, the path."""
    if status == 400:
        sent = {str(name)[:50] for name in (*case.query, *case.path_parameters)}
        assert named(body["error"]) in sent, (case, body)
    else:
        assert body["error"].startswith(("there is nothing at /", "there are no bars of ", "price not available")), body


@pytest.mark.parametrize("route", ROUTES)
def test_a_route_answers_as_described(description: Any, unknown: list[Any], route: str) -> None:
    """Statuses, media types and contents are those of the description; what is wrong or unknown is refused by name."""
    operation = description[route]["GET"]
    fuzz(operation, cases_of(operation, unknown), steer=there_is, refused=refused)


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


queries = strategies.fixed_dictionaries(
    {},
    optional={
        "interval": strategies.sampled_from(list(WIDTHS)),
        "limit": strategies.integers(1, 5_000),
        "fill": strategies.sampled_from(["none", "previous"]),
        "format": strategies.sampled_from(["json", "csv", "parquet"]),
        "from": times(),
        "to": times(),
    },
)


def test_bars_of_a_symbol_that_there_is_are_answered(service: Served, description: Any) -> None:
    """Whatever else is asked of them: those of the time asked for, in order, and no more than asked for."""
    operation, counted = description["/bars/{symbol}"]["GET"], Counter[int]()
    with Client(service.settings.serve_port) as client:
        for query in each_once(queries):
            (start_ms, start), (end_ms, end) = query.get("from", (0, None)), query.get("to", (LATEST_MS, None))
            asked = {**query, "from": start, "to": end}
            sent = {name: value for name, value in asked.items() if value is not None}
            response = client.answer(operation.Case(path_parameters={"symbol": "BTCUSDT"}, query=sent))
            is_wrong = None not in (start, end) and start_ms > end_ms
            counted[response.status_code] += 1
            assert response.status_code == (400 if is_wrong else 200), (query, response.text)
            if response.headers["content-type"] == ["application/json"] and not is_wrong:
                found = [bar["timestamp"] for bar in response.json()["bars"]]
                assert found == sorted(set(found))
                assert len(found) <= query.get("limit", 500)
                assert all(start_ms <= one <= end_ms for one in found)
        assert len(client.asked) >= CASES
    assert counted[200] > CASES // 2


_ROOTS = ("", "/price/BTCUSDT", "/bars/BTCUSDT", "/prices", "/symbols", "/page/app.js", "/api", "/api/v4", "/ws", "/..")
_parts = texts.filter(bool).map(lambda part: quote(part, safe="")) | strategies.binary(min_size=1).map(quote)
_paths = strategies.tuples(
    strategies.sampled_from(_ROOTS), strategies.lists(_parts, min_size=1, max_size=4).map("/".join)
).map("/".join)


def test_paths_that_there_are_not_are_told(service: Served) -> None:
    """404, with the path; whatever it is made of."""
    requests = strategies.builds(Request, strategies.just("GET"), _paths, headers)
    statuses = Counter[int]()
    with Line(service.settings.serve_port) as line:
        for request in each_once(requests, key=lambda one: one.target):
            answer = line.answer(request)
            statuses[answer.status] += 1
            if answer.status == 307:  # where the path without a slash at its end is one of ours
                assert unquote(request.target).endswith("/"), request
                assert answer.headers["location"].startswith(f"http://127.0.0.1:{service.settings.serve_port}/")
            else:
                assert answer.status == 404, (request, answer)
                assert answer.json["error"].startswith("there is nothing at /"), (request, answer)
    assert statuses[404] >= CASES - CASES // 10


@pytest.mark.parametrize("method", METHODS)
def test_no_other_method_is_allowed(service: Served, method: str) -> None:
    """405 at every route, with the methods that are; whatever comes with it."""
    targets = strategies.tuples(strategies.sampled_from(ROUTES), texts, texts).map(
        lambda drawn: f"{drawn[0].replace('{symbol}', 'BTCUSDT')}?{quote(drawn[1], safe='')}={quote(drawn[2], safe='')}"
    )
    bodies = strategies.binary(max_size=200)
    requests = each_once(
        strategies.builds(Request, strategies.just(method), targets, headers, bodies), CASES // len(METHODS) + 1
    )
    with Line(service.settings.serve_port) as line:
        for request in requests:
            answer = line.answer(request)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD"), (request, answer)
            assert answer.json == {"error": f"{method} is not allowed here"}


def test_every_route_of_ours_is_fuzzed(service: Served) -> None:
    """A new route has to be added here; Binance's have a test of their own."""
    told = service.ask("/openapi.json").json["paths"]
    assert {path for path in told if "/api/v3" not in path} == set(ROUTES)
