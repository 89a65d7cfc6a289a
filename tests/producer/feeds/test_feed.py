"""The connection loop, against a WebSocket server on this machine that cuts, refuses and stays silent."""

from __future__ import annotations

import asyncio
import logging
import re
from http import HTTPStatus
from itertools import islice

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection

from producer.exchanges.venues import Patience
from producer.feeds import feed as feed_module
from producer.feeds.feed import Feed, FeedRefusedError, delays
from tests.producer.feeds.servers import QUICK, WITHIN_S, exchange, feed_of, running, until
from tests.support import free_ports


def test_a_cut_connection_is_made_and_greeted_again() -> None:
    """Each session sends all greetings and receives from the start; frames arrive in order."""
    greeted: list[str | bytes] = []

    async def cut_after_two_frames(connection: ServerConnection) -> None:
        greeted.extend([await connection.recv(), await connection.recv()])
        await connection.send("one")
        await connection.send("two")
        connection.transport.close()  # no closing handshake

    async def scenario() -> list[str | bytes]:
        received: list[str | bytes] = []
        async with exchange(cut_after_two_frames) as url:
            feed = feed_of(url, received, ["hello", "again"])
            await until(lambda: len(received) >= 6, feed)
        return received[:6]

    assert asyncio.run(scenario()) == [b"one", b"two"] * 3
    assert greeted[:6] == ["hello", "again"] * 3


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (HTTPStatus.FORBIDDEN, "the endpoint forbids this address; wait, or connect from elsewhere"),
        (
            HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
            "the exchange does not serve this address (Binance refuses some countries and many cloud providers); "
            "connect from elsewhere, or choose another SOURCE, such as coinbase or simulator",
        ),
    ],
)
def test_a_refusal_that_no_retry_mends_ends_the_feed(status: HTTPStatus, message: str) -> None:
    """The error names the endpoint, what it answered and what helps."""

    async def nobody(connection: ServerConnection) -> None:
        raise AssertionError("refused in the handshake")

    async def scenario() -> str:
        async with exchange(nobody, lambda connection, _: connection.respond(status, "no")) as url:
            with pytest.raises(FeedRefusedError) as caught:
                await asyncio.wait_for(feed_of(url, []).run(), WITHIN_S)
            return str(caught.value).replace(url, "URL")

    assert asyncio.run(scenario()) == f"test: URL answered HTTP {status.value}: {message}"


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND])
def test_a_refusal_after_a_session_that_lasted_is_tried_again(
    status: HTTPStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge that answers wrongly for a while does not cost an exchange; the pauses are those after a refusal."""
    monkeypatch.setattr(feed_module, "AFTER_REFUSAL", Patience(first_delay_s=0.02, longest_delay_s=0.04))
    answers = [None, status, status, status, None]

    def judge(connection: ServerConnection, _: Request) -> Response | None:
        answer = answers.pop(0)
        return connection.respond(answer, "no") if answer else None

    async def leave(connection: ServerConnection) -> None:
        await connection.send("welcome")
        if answers:
            await asyncio.sleep(0.1)  # longer than `session_s`
        else:
            await connection.wait_closed()

    async def scenario() -> dict[str, int]:
        received: list[str | bytes] = []
        patience = Patience(connect_s=5, first_delay_s=0.01, session_s=0.05)
        async with exchange(leave, judge) as url:
            feed = feed_of(url, received, patience=patience)
            async with running(feed):
                await until(lambda: received == [b"welcome"] * 2)
                return dict(feed.errors)

    assert asyncio.run(scenario()) == {"closed": 1, "refused": 3}


@pytest.mark.parametrize("status", [HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.IM_A_TEAPOT])
def test_a_throttled_handshake_waits_as_long_as_it_was_told(status: HTTPStatus) -> None:
    """After 429 or 418 with Retry-After: 1, the next attempt comes a second later, not at once."""
    times: list[float] = []

    def throttle(connection: ServerConnection, _: Request) -> Response | None:
        times.append(asyncio.get_running_loop().time())
        if len(times) > 1:
            return None
        response = connection.respond(status, "slow down")
        response.headers["Retry-After"] = "1"
        return response

    async def greet(connection: ServerConnection) -> None:
        await connection.send("welcome")
        await connection.wait_closed()

    async def scenario() -> None:
        received: list[str | bytes] = []
        async with exchange(greet, throttle) as url:
            await until(lambda: received == [b"welcome"], feed_of(url, received))

    asyncio.run(scenario())
    assert times[1] - times[0] >= 1.0


@pytest.mark.parametrize("status", [HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT])
def test_every_other_answer_to_a_handshake_is_tried_again(status: HTTPStatus) -> None:
    """Where the answer is neither a refusal nor a ban, the next attempt comes after the usual delay."""
    answers = [status, status]

    def fail(connection: ServerConnection, _: Request) -> Response | None:
        return connection.respond(answers.pop(), "no") if answers else None

    async def greet(connection: ServerConnection) -> None:
        await connection.send("welcome")
        await connection.wait_closed()

    async def scenario() -> dict[str, int]:
        received: list[str | bytes] = []
        async with exchange(greet, fail) as url:
            feed = feed_of(url, received)
            async with running(feed):
                await until(lambda: received == [b"welcome"])
                return dict(feed.errors)

    assert asyncio.run(scenario()) == {"unreachable": 2}


def test_a_server_that_accepts_and_hangs_up_is_dialled_ever_more_slowly() -> None:
    """A short session does not reset the delay: 5 sessions take at least 4 growing pauses."""
    patience = Patience(silence_s=1, connect_s=5, first_delay_s=0.02, longest_delay_s=10, session_s=30)
    times: list[float] = []

    async def hang_up(connection: ServerConnection) -> None:
        times.append(asyncio.get_running_loop().time())
        await connection.close()

    async def scenario() -> None:
        async with exchange(hang_up) as url:
            await until(lambda: len(times) >= 5, feed_of(url, [], patience=patience))

    asyncio.run(scenario())
    assert times[-1] - times[0] >= 0.5 * (0.02 + 0.04 + 0.08 + 0.16)


def test_delays_double_up_to_the_cap_and_spread_by_chance() -> None:
    """Chance takes off up to half of each delay."""
    patience = Patience(first_delay_s=1, longest_delay_s=5)
    assert list(islice(delays(patience, lambda: 0.0), 5)) == [1, 2, 4, 5, 5]
    assert list(islice(delays(patience, lambda: 1.0), 5)) == [0.5, 1, 2, 2.5, 2.5]


def test_how_connections_ended_is_counted_and_said(caplog: pytest.LogCaptureFixture) -> None:
    """A goodbye with a reason, a cut and a closed port are told apart, with the exchange's own words."""
    caplog.set_level(logging.WARNING)
    goodbyes = iter([(1008, "Too many requests"), None])

    async def leave(connection: ServerConnection) -> None:
        await connection.send("hello")
        if goodbye := next(goodbyes, None):
            await connection.close(*goodbye)
        else:
            connection.transport.abort()

    async def scenario() -> tuple[dict[str, int], int, int]:
        received: list[str | bytes] = []
        async with exchange(leave) as url:
            feed = feed_of(url, received)
            async with running(feed):
                await until(lambda: feed.errors.total() >= 2)
            first = dict(feed.errors)
        closed = feed_of(f"ws://127.0.0.1:{free_ports(1)[0]}", received)
        await until(lambda: closed.errors["unreachable"] == 1, closed)
        return first, feed.frames, feed.size

    errors, frames, size = asyncio.run(scenario())
    assert (errors["closed"], errors["cut"]) == (1, errors.get("cut", 0))
    assert errors["cut"] >= 1
    assert size == 5 * frames
    first = re.sub(r"[0-9]+\.[0-9] s", "N s", caplog.messages[0])
    assert first == (
        "test: received 1008 (policy violation) Too many requests; then sent 1008 (policy violation) "
        "Too many requests after N s; connecting again in N s"
    )


def test_what_is_said_later_is_said_now_and_at_every_new_connection() -> None:
    """One bad product voids a subscription: the right one is sent at once, and is the greeting from then on."""
    heard: list[list[str | bytes]] = []

    async def coinbase(connection: ServerConnection) -> None:
        heard.append([])
        while len(heard[-1]) < 2 or len(heard) > 1:
            heard[-1].append(await connection.recv())
            await connection.send("answer")
        connection.transport.abort()

    async def scenario() -> None:
        received: list[str | bytes] = []
        async with exchange(coinbase) as url:
            feed = feed_of(url, received, ["good and bad"], Patience(first_delay_s=0.01))
            async with running(feed):
                await until(lambda: len(received) == 1)
                await feed.greet(["good"])
                await until(lambda: len(heard) == 2 and len(heard[1]) == 1)
                await feed.settle()

    asyncio.run(scenario())
    assert heard == [["good and bad", "good"], ["good"]]


def test_an_address_that_is_none_is_refused() -> None:
    """A wrong URL is not retried."""
    with pytest.raises(FeedRefusedError) as caught:
        asyncio.run(feed_of("http://127.0.0.1/", []).run())
    assert str(caught.value) == (
        "test: http://127.0.0.1/ isn't a valid URI: scheme isn't ws or wss; expected is ws://host or wss://host"
    )


def test_what_receive_raises_ends_the_feed() -> None:
    """An error behind the feed is no reason to connect again."""

    async def talk(connection: ServerConnection) -> None:
        await connection.send("one")
        await connection.wait_closed()

    async def scenario() -> None:
        async def broken(frame: str | bytes) -> None:
            raise LookupError("lost records")

        async with exchange(talk) as url:
            feed = Feed("test", url, greetings=[], greeting_interval_s=0, receive=broken, patience=QUICK)
            with pytest.raises(LookupError, match="lost records"):
                await asyncio.wait_for(feed.run(), WITHIN_S)
            assert not feed.connected

    asyncio.run(scenario())
