"""The connection loop, against a WebSocket server on this machine that cuts, refuses and stays silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from itertools import islice, pairwise

import pytest
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve

from producer.feeds.feed import Feed, FeedRefusedError, Patience, delays

QUICK = Patience(silence_s=0.2, connect_s=5, first_delay_s=0.01, longest_delay_s=0.02, session_s=30)
WITHIN_S = 10.0
Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def exchange(
    handler: Handler, answer: Callable[[ServerConnection, Request], Response | None] | None = None
) -> AsyncIterator[str]:
    """A server that treats each connection with `handler`, and each handshake with `answer`; its URL."""
    server: Server
    async with serve(handler, "127.0.0.1", 0, process_request=answer) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def feed_of(
    url: str, received: list[str | bytes], greetings: list[str] | None = None, patience: Patience = QUICK
) -> Feed:
    """A feed that notes what it receives."""

    async def receive(frame: str | bytes) -> None:
        received.append(frame)

    return Feed("test", url, greetings=greetings or [], greeting_interval_s=0.05, receive=receive, patience=patience)


async def until(condition: Callable[[], bool], feed: Feed) -> None:
    """Run a feed until a condition holds."""
    running = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                if running.done():
                    await running
                await asyncio.sleep(0.005)
    finally:
        running.cancel()
        await asyncio.wait([running])


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
            await until(lambda: feed.session == 3 and len(received) == 6, feed)
        return received

    assert asyncio.run(scenario()) == ["one", "two"] * 3
    assert greeted == ["hello", "again"] * 3


def test_greetings_keep_their_distance() -> None:
    """Control messages are sent no faster than the exchange allows, and frames are received meanwhile."""
    times: list[float] = []

    async def note_times(connection: ServerConnection) -> None:
        async for _ in connection:
            times.append(asyncio.get_running_loop().time())
            await connection.send("ack")

    async def scenario() -> None:
        received: list[str | bytes] = []
        async with exchange(note_times) as url:
            await until(lambda: len(received) == 3, feed_of(url, received, ["a", "b", "c"]))

    asyncio.run(scenario())
    assert min(later - earlier for earlier, later in pairwise(times)) > 0.03


def test_an_open_connection_that_is_silent_is_given_up() -> None:
    """Silence is noticed though the server answers pings, and another session begins."""

    async def silent(connection: ServerConnection) -> None:
        await connection.send("one")
        await connection.wait_closed()

    async def scenario() -> int:
        received: list[str | bytes] = []
        async with exchange(silent) as url:
            feed = feed_of(url, received)
            await until(lambda: len(received) == 2, feed)
            return feed.session

    assert asyncio.run(scenario()) == 2


def test_waiting_for_kafka_is_not_silence() -> None:
    """While `receive` waits, no silence is counted: back-pressure must not cost the connection."""

    async def talk(connection: ServerConnection) -> None:
        for number in range(3):
            await connection.send(str(number))
        await connection.wait_closed()

    async def scenario() -> int:
        received: list[str | bytes] = []

        async def slow(frame: str | bytes) -> None:
            await asyncio.sleep(QUICK.silence_s * 1.5)
            received.append(frame)

        async with exchange(talk) as url:
            feed = Feed("test", url, greetings=[], greeting_interval_s=0, receive=slow, patience=QUICK)
            await until(lambda: len(received) == 3, feed)
            return feed.session

    assert asyncio.run(scenario()) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (HTTPStatus.FORBIDDEN, "the endpoint forbids this address; wait, or connect from elsewhere"),
        (
            HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
            "the exchange does not serve this address (Binance refuses some countries and many cloud providers); "
            "connect from elsewhere, or choose another SOURCE",
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


def test_a_throttled_handshake_waits_as_long_as_it_was_told() -> None:
    """After 429 with Retry-After: 1, the next attempt comes a second later, not at once."""
    times: list[float] = []

    def throttle(connection: ServerConnection, _: Request) -> Response | None:
        times.append(asyncio.get_running_loop().time())
        if len(times) > 1:
            return None
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slow down")
        response.headers["Retry-After"] = "1"
        return response

    async def greet(connection: ServerConnection) -> None:
        await connection.send("welcome")
        await connection.wait_closed()

    async def scenario() -> None:
        received: list[str | bytes] = []
        async with exchange(greet, throttle) as url:
            await until(lambda: received == ["welcome"], feed_of(url, received))

    asyncio.run(scenario())
    assert times[1] - times[0] >= 1.0


def test_a_server_that_accepts_and_hangs_up_is_dialled_ever_more_slowly() -> None:
    """A short session does not reset the delay: 5 sessions take at least 4 growing pauses."""
    patience = Patience(silence_s=1, connect_s=5, first_delay_s=0.02, longest_delay_s=10, session_s=30)
    times: list[float] = []

    async def hang_up(connection: ServerConnection) -> None:
        times.append(asyncio.get_running_loop().time())
        await connection.close()

    async def scenario() -> None:
        async with exchange(hang_up) as url:
            await until(lambda: len(times) == 5, feed_of(url, [], patience=patience))

    asyncio.run(scenario())
    assert times[-1] - times[0] >= 0.5 * (0.02 + 0.04 + 0.08 + 0.16)


def test_delays_double_up_to_the_cap_and_spread_by_chance() -> None:
    """Chance takes off up to half of each delay."""
    patience = Patience(first_delay_s=1, longest_delay_s=5)
    assert list(islice(delays(patience, lambda: 0.0), 5)) == [1, 2, 4, 5, 5]
    assert list(islice(delays(patience, lambda: 1.0), 5)) == [0.5, 1, 2, 2.5, 2.5]


def test_settled_means_everything_sent_before_has_been_received() -> None:
    """`settle` returns after the frames that the exchange sent before it, even where each takes its time."""

    async def burst(connection: ServerConnection) -> None:
        for number in range(100):
            await connection.send(str(number))
        await connection.wait_closed()

    async def scenario() -> int:
        received: list[str | bytes] = []

        async def slow(frame: str | bytes) -> None:
            await asyncio.sleep(0.001)
            received.append(frame)

        patience = Patience(connect_s=10)
        async with exchange(burst) as url:
            feed = Feed("test", url, greetings=[], greeting_interval_s=0, receive=slow, patience=patience)
            running = asyncio.create_task(feed.run())
            while not received:
                await asyncio.sleep(0)
            await feed.settle()
            count = len(received)
            running.cancel()
            await asyncio.wait([running])
            return count

    assert asyncio.run(scenario()) == 100


def test_without_a_connection_nothing_settles() -> None:
    """A feed that is down says so."""

    async def scenario() -> None:
        with pytest.raises(ConnectionError, match="test is not connected"):
            await feed_of("ws://127.0.0.1:9", []).settle()

    asyncio.run(scenario())
