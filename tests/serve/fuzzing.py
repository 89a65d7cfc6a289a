"""What the fuzz of all routes shares: cases made by hypothesis and schemathesis, each sent as a real request, counted.

To make a case costs more than to have it answered. So all cases of a kind are made first, and each is sent to every
route that takes the same parameters. They are not made smaller when one fails: the request that failed is shown whole.
"""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import cycle
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies
from hypothesis.strategies import SearchStrategy
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serve.served import Answer

CASES = 500
"""Of each route, at least: requests that differ in their address or their headers."""
OF_A_KIND = 250
"""Of what is allowed, and of what is not; fewer where a route has few parameters, or none."""
_ATTEMPTS = 20
LEAST_UNKNOWN = 100
"""Of what is allowed together with something that nobody knows; more where there is too little else."""
SIGNS = [chr(number) for number in range(33, 127)]
_HEADERS = ("Accept", "Authorization", "Cookie", "If-None-Match", "Origin", "Range", "X-API-Key", "X-Forwarded-For")
_NUMBER_OF_CASE = "X-Schemathesis-TestCaseId"

texts = strategies.text(strategies.characters(codec="utf-8"), max_size=30)
"""Whatever can be put into an address."""
headers = strategies.dictionaries(strategies.sampled_from(_HEADERS), strategies.text(SIGNS, max_size=40), max_size=3)
"""Headers that change no answer where no API key is set."""


class Cases(NamedTuple):
    """What routes that take the same parameters are asked with."""

    allowed: Sequence[Any]
    wrong: Sequence[Any]
    unknown: Sequence[tuple[Mapping[str, Any], Mapping[str, str]]]
    """Parameters that none of them has, and headers."""


def made(strategy: SearchStrategy[Any], most: int, *, number: int = 0) -> list[Any]:
    """Examples of a strategy: fewer than the most where there are no more. Others where it has another number."""
    found: list[Any] = []

    @seed(number)  # else, where CI is set, hypothesis makes the same ones again and again
    @settings(
        max_examples=most,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(strategy)
    def take(one: Any) -> None:
        found.append(one)

    take()
    return found


def each_once(strategy: SearchStrategy[Any], least: int = CASES, *, key: Callable[[Any], Any] = str) -> list[Any]:
    """Examples that differ, so many at least; of what hypothesis makes, many are the same."""
    found: dict[Any, Any] = {}
    for number in range(_ATTEMPTS):
        found |= {key(one): one for one in made(strategy, least, number=number)}
        if len(found) >= least:
            return list(found.values())
    raise AssertionError(f"hypothesis has made {len(found)} different ones and not {least}")


def cases_of(operation: Any, unknown: Sequence[Any]) -> Cases:
    """Cases for an operation, and for those that take the same parameters."""
    allowed = made(operation.as_strategy(generation_mode=GenerationMode.POSITIVE), OF_A_KIND)
    has_parameters = any((*operation.query, *operation.path_parameters, *operation.headers))
    wrong = made(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE), OF_A_KIND) if has_parameters else []
    return Cases(allowed, wrong, unknown)


def unknown_to(names: Iterable[str]) -> list[Any]:
    """Parameters that are none of these, once or several times, and headers."""
    known = set(names)
    others = strategies.text(min_size=1, max_size=30).filter(lambda name: name not in known)
    values = strategies.text(max_size=30) | strategies.lists(strategies.text(max_size=5), min_size=2, max_size=3)
    return each_once(
        strategies.tuples(strategies.dictionaries(others, values, min_size=1, max_size=3), headers), CASES + 50
    )


class Request(NamedTuple):
    """A request that no description tells how to make."""

    method: str
    target: str
    headers: Mapping[str, str] = {}
    body: bytes = b""


class Line:
    """A connection over which such requests go one after the other."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The end of it."""
        self._connection.close()

    def answer(self, request: Request) -> Answer:
        """The whole answer."""
        body = request.body or None
        self._connection.request(request.method, request.target, body, dict(request.headers))
        return Answer.of(self._connection.getresponse())


class Client:
    """The cases of a description, sent over one connection, and what was asked by them."""

    def __init__(self, port: int) -> None:
        self._line = Line(port)
        self.asked: set[Any] = set()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def answer(self, case: Any) -> Response:
        """The answer to a case, held to the description."""
        prepared = requests.Request(**case.as_transport_kwargs()).prepare()
        sent = {name: str(value) for name, value in prepared.headers.items() if name != _NUMBER_OF_CASE}
        request = Request("GET", prepared.path_url, sent)
        self.asked.add((request.target, *sorted(sent.items())))
        answer = self._line.answer(request)
        received = {name: [value] for name, value in answer.headers.items()}
        response = Response(answer.status, received, answer.body, prepared, elapsed=0.0, verify=False, encoding="utf-8")
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        return response


def fuzz(
    operation: Any, cases: Cases, *, steer: Callable[[Any], None], refused: Callable[[Any, int, Any], None]
) -> Counter[int]:
    """Asks a route with all cases, and checks how each kind is answered. Returns the statuses of what is allowed.

    `steer` makes a case ask for what there is, and is done to two of three. `refused` looks at a refusal.
    """
    with Client(urlsplit(operation.base_url).port or 80) as client:
        answered = []
        for number, case in enumerate(_sent_to(operation, one) for one in cases.allowed):
            if number % 3:
                steer(case)
            answered.append((client.answer(case).status_code, case))
        allowed = Counter(status for status, _ in answered)
        assert allowed[200] > allowed.total() // 2, allowed

        statuses: Counter[int] = Counter()
        for case in (_sent_to(operation, one) for one in cases.wrong):
            response = client.answer(case)
            statuses[response.status_code] += 1
            if response.status_code != 200:
                refused(case, response.status_code, response.json())
        # What is not allowed may be so once it is written in an address: 1 as "1", a list of nothing as nothing.
        assert statuses.keys() <= {200, 400, 404}
        assert statuses[200] <= statuses.total() // 10, statuses

        good = cycle([case for status, case in answered if status == 200])
        for number, (parameters, sent) in enumerate(cases.unknown):
            if number >= LEAST_UNKNOWN and len(client.asked) >= CASES:
                break
            case = _sent_to(operation, next(good))
            case.query = {**case.query, **parameters}
            case.headers = {**case.headers, **sent}
            response = client.answer(case)
            assert response.status_code == 400, case
            refused(case, 400, response.json())
        assert len(client.asked) >= CASES
    return allowed


def _sent_to(operation: Any, case: Any) -> Any:
    """The same case, for another operation with the same parameters."""
    return operation.Case(
        path_parameters=dict(case.path_parameters),
        query=dict(case.query),
        headers=case.headers,
        _meta=case.meta,
    )
