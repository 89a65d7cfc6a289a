"""Every REST route of Binance's, bare and of each venue, asked with what is allowed, what is not, and what is unknown.

What is allowed is answered as described, or refused with a documented status, for a symbol that fits the pattern need
not be listed; what is not allowed is refused with Binance's code and words; never 500.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import schemathesis
from hypothesis import strategies

from serve.binance.rest import ROUTES
from serve.binance.symbols import VENUES
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trades_at
from tests.serve.binance.stand import Stand
from tests.serve.fuzzing import Cases, Line, Request, cases_of, each_once, fuzz, headers, texts, unknown_to

METHODS = ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
UNTOLD = (
    *("depth", "aggTrades", "historicalBlockTrades", "ticker/bookTicker", "ticker", "ticker/tradingDay"),
    *("executionRules", "referencePrice", "referencePrice/calculation"),
)
ACCOUNTS = (
    *("account", "account/commission", "allOrders", "myTrades", "openOrders", "order", "order/test", "order/oco"),
    *("orderList", "openOrderList", "allOrderList", "rateLimit/order", "sor/order", "userDataStream", "myAllocations"),
)
APART = ("symbol", "symbols", "symbolStatus", "permissions")
"""Parameters of which two may exclude each other."""
_naming = re.compile(r"arameter '(\w+)'").search
NAMES = {
    -1101: ("Too many parameters", "Duplicate values for a parameter"),
    -1104: ("Not all sent parameters were read",),
    -1120: ("Invalid interval",),
    -1121: ("Invalid symbol",),
    -1122: ("Invalid symbolStatus",),
    -1128: ("Combination of optional parameters invalid",),
    -1139: ("Invalid ticker type",),
    -1151: ("Symbol is present multiple times in the list",),
    -1194: ("Invalid value for time unit; expected either MICROSECOND or MILLISECOND",),
    -1220: ("The symbol's status does not match the requested symbolStatus",),
}
"""How Binance's words begin where they do not quote the parameter's name (its "Error codes")."""
QUOTES = (-1100, -1102, -1105, -1130)
"""Codes whose words do."""


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, redis_server: OwnRedis) -> Iterator[Stand]:
    """With a few seconds of one symbol at both venues, some of them open."""
    made = Stand(tmp_path_factory.mktemp("fuzz"), redis_server.emptied())
    for exchange in ("sim-binance", "sim-coinbase"):
        trades = trades_at([START_MS + 500 * number for number in range(20)], key=(exchange, "BTCUSDT"))
        made.told(trades)
        made.finished(trades[:14])
    made.stop_clock(START_MS + 10_500)
    with made.serving():
        yield made


@pytest.fixture(scope="module")
def description(stand: Stand) -> Any:
    return schemathesis.openapi.from_url(f"{stand.http}/openapi.json")


@pytest.fixture(scope="module")
def cases(description: Any) -> Callable[[tuple[str, ...]], Cases]:
    """Cases for all routes with these parameters, made once."""
    unknown = unknown_to(name.rstrip("!") for route in ROUTES.values() for name in route.parameters)

    @cache
    def of(parameters: tuple[str, ...]) -> Cases:
        path = next(path for path, route in ROUTES.items() if route.parameters == parameters)
        return cases_of(description[f"/api/v3/{path}"]["GET"], unknown)

    return of


def there_is(case: Any) -> None:
    """Lets a case ask for the one symbol that is listed, and trades; of what goes with it only, and of real clocks."""
    symbols = {"symbol": "BTCUSDT"} if "symbol" in case.query else {"symbols": '["BTCUSDT"]'}
    if not symbols.keys() & case.query.keys():
        symbols = {}
    others = {name: value for name, value in case.query.items() if name not in APART}
    case.query = {**others, **symbols, **({"timeZone": "+05:45"} if "timeZone" in others else {})}


def refused(case: Any, status: int, body: Any) -> None:
    """400, with a code whose words name the parameter."""
    code, text = body["code"], body["msg"]
    assert status == 400
    if code in QUOTES:
        name = _naming(text)
        assert name, (case, body)
        assert name[1] in {parameter.name for parameter in case.operation.query}, (case, body)
    else:
        assert text.startswith(NAMES[code]), (case, body)


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("venue", VENUES)
def test_a_route_answers_as_described(description: Any, cases: Any, path: str, venue: str) -> None:
    """Statuses, media types and contents are those of the description; what is wrong or unknown is refused."""
    operation = description[f"{venue}/api/v3/{path}"]["GET"]
    fuzz(operation, cases(ROUTES[path].parameters), steer=there_is, refused=refused)


def told(answer: Any) -> tuple[int, int]:
    """Status and Binance's code."""
    return answer.status, answer.json["code"]


_queries = strategies.dictionaries(texts, texts, max_size=3).map(urlencode)
_bodies = strategies.binary(max_size=200)


def requests_to(paths: Any, methods: Any) -> list[Request]:
    """Requests to paths below the base of any venue, each another one whatever headers it has."""
    bases = strategies.sampled_from([f"{venue}/api/v3" for venue in VENUES])
    targets = strategies.builds("{}/{}?{}".format, bases, paths, _queries)
    requests = strategies.builds(Request, methods, targets, headers, _bodies)
    return each_once(requests, key=lambda one: (one.method, one.target, one.body))


@pytest.mark.parametrize("kind", ["order books", "accounts", "nothing"])
def test_what_trades_do_not_tell_is_refused_as_binance_refuses(stand: Stand, kind: str) -> None:
    """-1020; -2014 without a key and -2015 with any; and 404 where nothing is: whatever the method and what comes."""
    known = (*ACCOUNTS, *UNTOLD, *ROUTES)
    nowhere = texts.filter(lambda text: "\n" not in text and text.split("/")[0] not in known)
    paths = {
        "order books": strategies.sampled_from(UNTOLD),
        "accounts": strategies.sampled_from(ACCOUNTS),
        "nothing": nowhere.map(lambda text: quote(text, safe="")),
    }
    methods = strategies.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"])
    keys = [{}, {"X-MBX-APIKEY": "any"}]
    with Line(stand.port) as line:
        for number, request in enumerate(requests_to(paths[kind], methods)):
            key = keys[number % 2]
            answer = line.answer(request._replace(headers={**request.headers, **key}))
            if kind == "nothing":
                assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), request
            elif kind == "accounts":
                assert told(answer) == (401, -2015 if key else -2014), request
            else:
                assert told(answer) == (400, -1020), request


def test_no_other_method_is_allowed(stand: Stand) -> None:
    """405 at every route of every venue, with the methods that are; whatever comes with it."""
    routes = strategies.sampled_from(list(ROUTES))
    requests = requests_to(routes, strategies.sampled_from(METHODS))
    with Line(stand.port) as line:
        for request in requests:
            answer = line.answer(request)
            assert told(answer) == (405, -1000), request
            assert answer.headers["allow"].startswith("GET"), request
    asked = Counter((request.method, request.target.partition("?")[0]) for request in requests)
    assert len(asked) > len(list(product(METHODS, ROUTES)))


def test_every_route_is_fuzzed(stand: Stand) -> None:
    """Those under a venue are the bare ones, with fewer exchanges."""
    told = {path for path in stand.rows("/openapi.json")["paths"] if "/api/v3" in path}
    assert told == {f"{venue}/api/v3/{path}" for venue in VENUES for path in ROUTES}
