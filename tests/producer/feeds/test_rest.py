"""Requests over REST, against a server on this machine that throttles, bans, breaks and floods; time is not real."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from producer.feeds.answers import FeedRefusedError
from producer.feeds.rest import USED_WEIGHT, Rest, RestError, RestRefusedError
from simulator.server import serve
from tests.producer.feeds.servers import HttpHandler, Time, asking
from tests.support import free_ports


def failure_of(answer: web.Response | HttpHandler, **options: Any) -> tuple[type, str, dict[str, int]]:
    """What a request meets that is answered so: the error, its text without the base's address, and the counters."""

    async def handler(request: web.Request) -> web.StreamResponse:
        return answer if isinstance(answer, web.Response) else await answer(request)

    async def scenario() -> tuple[type, str, dict[str, int]]:
        async with asking(handler, **options) as rest:
            with pytest.raises((RestError, RestRefusedError, FeedRefusedError)) as caught:
                await rest.get("/path?a=1")
            assert rest.requests == 1
            return caught.type, re.sub("http://127.0.0.1:[0-9]+", "BASE", str(caught.value)), dict(rest.errors)

    return asyncio.run(scenario())


def test_an_answer_is_json_whose_fractions_stay_text() -> None:
    """A price printed as a number keeps its digits, ids stay whole numbers of any size."""

    async def answer(request: web.Request) -> web.Response:
        assert request.path_qs == "/api/v3/trades?symbol=BTCUSDT&limit=1"
        return web.Response(text='[{"id": 12345678901234567890, "price": 0.10000000000000000001, "x": NaN}]')

    async def scenario() -> Any:
        async with asking(answer) as rest:
            return await rest.get("/api/v3/trades?symbol=BTCUSDT&limit=1")

    assert asyncio.run(scenario()) == [{"id": 12345678901234567890, "price": "0.10000000000000000001", "x": "NaN"}]


def test_requests_wait_for_their_turn_in_the_budget() -> None:
    """Of 60 a minute one goes out each second, in the order in which they were asked for."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({})

    async def scenario() -> float:
        time = Time()
        async with asking(answer, time, weight_per_minute=60) as rest:
            await asyncio.gather(*(rest.get(f"/{number}") for number in range(4)))
        return time.now - 1000

    assert asyncio.run(scenario()) == pytest.approx(3, abs=0.01)
    assert sorted(asked) == ["/0", "/1", "/2", "/3"]


def test_what_others_use_of_the_address_is_taken_into_account() -> None:
    """Binance tells what it has counted for our address; where nothing is left, we wait."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers={USED_WEIGHT: "4900"})

    async def scenario() -> float:
        time = Time()
        async with asking(answer, time) as rest:
            await rest.get("/", weight=4)
            before = time.now
            await rest.get("/", weight=4)
            assert rest.budget.used == 4900
            return time.now - before

    assert asyncio.run(scenario()) == pytest.approx(10 + 4 / 80, abs=0.01)


@pytest.mark.parametrize(
    ("answer", "kind", "error", "told"),
    [
        (
            web.Response(status=400, text='{"code":-1121,"msg":"Invalid symbol."}'),
            "refused",
            RestRefusedError,
            'test: BASE/path?a=1 answered HTTP 400: {"code":-1121,"msg":"Invalid symbol."}',
        ),
        (web.Response(status=404), "refused", RestRefusedError, "test: BASE/path?a=1 answered HTTP 404"),
        (
            web.Response(status=302, headers={"Location": "http://elsewhere.invalid/"}),
            "refused",
            RestRefusedError,
            "test: BASE/path?a=1 answered HTTP 302",
        ),
        (
            web.Response(status=409, text="a\x1b[31m\n\nb" + "c" * 400),
            "refused",
            RestRefusedError,
            f"test: BASE/path?a=1 answered HTTP 409: a\ufffd[31m b{'c' * 292}",
        ),
        (
            web.Response(status=503, text="overloaded"),
            "server",
            RestError,
            "test: BASE/path?a=1 answered HTTP 503: overloaded",
        ),
        (web.Response(status=408), "server", RestError, "test: BASE/path?a=1 answered HTTP 408"),
        (
            web.Response(status=429, text='{"code":-1003}'),
            "throttled",
            RestError,
            'test: BASE/path?a=1 answered HTTP 429: {"code":-1003}',
        ),
        (
            web.Response(text="<html>"),
            "not JSON",
            RestError,
            "test: BASE/path?a=1 answered with what is no JSON: <html>",
        ),
        (
            web.Response(body=b"[" * 100_000),
            "not JSON",
            RestError,
            f"test: BASE/path?a=1 answered with what is no JSON: {'[' * 300}",
        ),
        (
            web.Response(status=403),
            "refused",
            FeedRefusedError,
            "test: BASE/path?a=1 answered HTTP 403: the endpoint forbids this address; wait, or connect from elsewhere",
        ),
        (
            web.Response(status=451),
            "refused",
            FeedRefusedError,
            "test: BASE/path?a=1 answered HTTP 451: the exchange does not serve this address (Binance refuses some "
            "countries and many cloud providers); connect from elsewhere, or choose another SOURCE, such as coinbase "
            "or simulator",
        ),
    ],
)
def test_what_an_answer_means(answer: web.Response, kind: str, error: type, told: str) -> None:
    """Each answer that is none is an error that says whether to try again, what came, and is counted by its kind."""
    assert failure_of(answer) == (error, told, {kind: 1})


def test_an_answer_that_floods_is_not_read_to_its_end() -> None:
    """More bytes than allowed are refused, packed or not, however many would follow."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_compression()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b"1" * 2**20)
        return response

    told = "test: BASE/path?a=1 answered with more than 1048576 bytes"
    assert failure_of(flood, largest_answer=2**20) == (RestRefusedError, told, {"too large": 1})


def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    """A request ends after its time, though the connection is open and drips."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    told = "test: BASE/path?a=1 did not answer within 0.1 s"
    assert failure_of(drip, timeout_s=0.1) == (RestError, told, {"timeout": 1})


def test_a_connection_that_breaks_is_an_error_that_may_pass() -> None:
    """Cut off in the middle of an answer, the request may be made again."""

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"[1,")
        assert request.transport is not None
        request.transport.abort()
        return response

    error, told, errors = failure_of(cut)
    assert (error, errors) == (RestError, {"network": 1})
    assert told.startswith("test: BASE/path?a=1 cannot be asked: ")


def test_where_nobody_listens_the_error_says_so() -> None:
    """The budget is not lost to requests that fail: the next one is not held up for ever."""

    async def scenario() -> tuple[str, int]:
        base = f"http://127.0.0.1:{free_ports(1)[0]}"
        async with aiohttp.ClientSession() as session:
            time = Time()
            rest = Rest(session, base, name="test", weight_per_minute=60, now_s=time.now_s, sleep=time.sleep)
            for _ in range(3):
                with pytest.raises(RestError) as caught:
                    await rest.get("/")
            return str(caught.value).replace(base, "BASE"), rest.errors["network"]

    told, errors = asyncio.run(scenario())
    assert told.startswith("test: BASE/ cannot be asked: Cannot connect to host 127.0.0.1:")
    assert errors == 3


def test_the_simulated_exchanges_answer() -> None:
    """Binance's counts are heard, and its time comes with the times between which it was told."""

    async def scenario() -> None:
        async with serve() as simulator, aiohttp.ClientSession() as session:
            rest = Rest(session, simulator.http, name="test", weight_per_minute=4800)
            answer = await rest.timed("/api/v3/time")
            assert isinstance(answer.content["serverTime"], int)
            assert answer.sent_s <= answer.received_s
            assert await rest.get("/api/v3/ping") == {}
            assert rest.budget.used is not None
            assert isinstance(await rest.get("/products"), list)
            with pytest.raises(RestRefusedError, match=r'answered HTTP 400: \{"code":-1121,"msg":"Invalid symbol."\}'):
                await rest.get("/api/v3/trades?symbol=NOSUCH", weight=25)
            assert (rest.requests, dict(rest.errors)) == (4, {"refused": 1})

    asyncio.run(scenario())
