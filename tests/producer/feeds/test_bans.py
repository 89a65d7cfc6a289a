"""An exchange that does not want to hear from us for a while is not asked meanwhile; time is not real."""

from __future__ import annotations

import asyncio
import logging
import re

import pytest
from aiohttp import web

from producer.feeds.rest import RestError
from tests.producer.feeds.servers import Time, asking


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (418, {"Retry-After": "259200"}, 259_200),
        (418, {"Retry-After": "99999999999999999999"}, 259_200),
        (429, {"Retry-After": "0"}, 1),
        (429, {}, 120),
        (418, {"Retry-After": "soon"}, 120),
        (429, {"Retry-After": "Fri, 01 Mar 2024 00:05:00 GMT", "Date": "Fri, 01 Mar 2024 00:00:00 GMT"}, 300),
        (429, {"Retry-After": "Fri, 01 Mar 2024 00:00:00 GMT", "Date": "Fri, 01 Mar 2024 00:05:00 GMT"}, 1),
    ],
)
def test_a_ban_stops_everybody_for_as_long_as_it_was_told(
    status: int, headers: dict[str, str], pause_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """429 and 418: whoever asks next, for whatever, waits until the end of the ban, which is said once."""
    caplog.set_level(logging.WARNING, "producer")
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers=headers) if len(asked) == 1 else web.json_response(len(asked))

    async def scenario() -> None:
        time = Time()
        async with asking(answer, time) as rest:
            assert rest.banned_for_s == 0
            with pytest.raises(RestError):
                await rest.get("/first")
            assert rest.banned_for_s == pytest.approx(pause_s)
            assert sorted(await asyncio.gather(rest.get("/second"), rest.get("/third"))) == [2, 3]
            assert time.slept[0] == pytest.approx(pause_s)
            assert rest.banned_for_s == 0
            assert (rest.requests, dict(rest.errors)) == (3, {"throttled": 1})

    asyncio.run(scenario())
    (told,) = caplog.messages
    assert re.sub("until .* UTC", "until TIME UTC", told) == (
        f"test: HTTP {status}, too many requests: no more requests for {pause_s} s, until TIME UTC"
    )


@pytest.mark.parametrize("status", [401, 403, 451])
def test_a_refusal_by_one_that_has_served_is_a_ban(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """An exchange that was read for days is not left for one answer: it is asked again two minutes later."""
    caplog.set_level(logging.WARNING, "producer")
    answers = [200, status, 200]

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(1, status=answers.pop(0))

    async def scenario() -> str:
        time = Time()
        async with asking(answer, time) as rest:
            await rest.get("/")
            with pytest.raises(RestError) as caught:
                await rest.get("/")
            assert rest.banned_for_s == pytest.approx(120)
            assert await rest.get("/") == 1
            assert time.slept[-1] == pytest.approx(120)
            assert dict(rest.errors) == {"refused": 1}
        return re.sub("http://127.0.0.1:[0-9]+", "BASE", str(caught.value))

    assert asyncio.run(scenario()) == f"test: BASE/ answered HTTP {status}: 1"
    (told,) = caplog.messages
    assert re.sub("until .* UTC", "until TIME UTC", told) == (
        f"test: HTTP {status}, which refuses us: no more requests for 120 s, until TIME UTC"
    )


def test_a_ban_told_by_many_answers_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Requests under way at the same time all learn of one ban."""
    caplog.set_level(logging.WARNING, "producer")

    async def ban(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "30"})

    async def scenario() -> int:
        async with asking(ban) as rest:
            await asyncio.gather(*(rest.get("/") for _ in range(5)), return_exceptions=True)
            return rest.errors["throttled"]

    assert asyncio.run(scenario()) == 5
    assert len(caplog.messages) == 1
