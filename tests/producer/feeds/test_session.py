"""One connection: what it says, what it receives, and how it notices that nobody is there any more."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request
from websockets.server import ServerProtocol

from producer.exchanges.venues import Patience
from producer.feeds.feed import Feed
from producer.feeds.session import LARGEST_FRAME
from tests.producer.feeds.servers import QUICK, WITHIN_S, exchange, feed_of, running, until


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
            async with running(feed):
                await until(lambda: len(received) == 3)
                await feed.settle()
                return feed.session

    assert asyncio.run(scenario()) == 1


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
            async with running(feed):
                await until(lambda: bool(received))
                await feed.settle()
                return len(received)

    assert asyncio.run(scenario()) == 100


def test_settling_does_not_wait_for_what_is_sent_later() -> None:
    """An exchange that never stops talking, to a reader that is always at work, settles all the same."""

    async def talk(connection: ServerConnection) -> None:
        while True:
            await connection.send("tick")
            await asyncio.sleep(0.001)

    async def scenario() -> None:
        async def busy(frame: str | bytes) -> None:
            await asyncio.sleep(0.003)

        async with exchange(talk) as url:
            feed = Feed(
                "test", url, greetings=[], greeting_interval_s=0, receive=busy, patience=Patience(connect_s=WITHIN_S)
            )
            async with running(feed):
                await until(lambda: feed.frames > 10)
                await feed.settle()

    asyncio.run(scenario())


def test_without_a_connection_nothing_settles() -> None:
    """A feed that is down says so."""

    async def scenario() -> None:
        with pytest.raises(ConnectionError, match=r"^test is not connected$"):
            await feed_of("ws://127.0.0.1:9", []).settle()

    asyncio.run(scenario())


def test_nothing_settles_before_everything_is_subscribed() -> None:
    """While greetings are still to be said, trades may be missing: no heartbeat may build on that."""

    async def listen(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send("ack")

    async def scenario() -> None:
        received: list[str | bytes] = []
        async with exchange(listen) as url:
            feed = feed_of(url, received, ["a", "b", "c", "d", "e"])
            async with running(feed):
                await until(lambda: bool(received))
                with pytest.raises(ConnectionError, match=r"^test has not subscribed to everything yet$"):
                    await feed.settle()
                await until(lambda: len(received) == 5)
                await feed.settle()

    asyncio.run(scenario())


def test_a_connection_that_answers_no_ping_is_given_up() -> None:
    """A half-open connection brings neither pongs nor frames: another is made long before silence would tell."""

    async def scenario() -> tuple[int, dict[str, int]]:
        deaf: set[asyncio.StreamWriter] = set()

        async def half_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            protocol = ServerProtocol()
            protocol.receive_data(await reader.readuntil(b"\r\n\r\n"))
            (request,) = protocol.events_received()
            assert isinstance(request, Request)
            protocol.send_response(protocol.accept(request))
            writer.writelines(protocol.data_to_send())
            deaf.add(writer)  # and nothing more

        server = await asyncio.start_server(half_open, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        patience = Patience(silence_s=60, connect_s=5, first_delay_s=0.01, longest_delay_s=0.01)
        feed = feed_of(f"ws://127.0.0.1:{port}", [], patience=patience, ping_s=0.05)
        try:
            await until(lambda: feed.session >= 2, feed)
        finally:
            server.close()
            for writer in deaf:
                writer.close()
        return feed.session, dict(feed.errors)

    session, errors = asyncio.run(scenario())
    assert session >= 2
    assert set(errors) == {"unanswered"}


def test_pings_do_not_end_a_connection_that_we_do_not_read() -> None:
    """Back-pressure holds up pongs too: as long as `receive` waits, the connection is not taken for dead."""

    async def talk(connection: ServerConnection) -> None:
        for number in range(200):  # more than is read ahead
            await connection.send(str(number))
        await connection.wait_closed()

    async def scenario() -> tuple[int, int]:
        received: list[str | bytes] = []
        room = asyncio.Event()

        async def blocked(frame: str | bytes) -> None:
            await room.wait()
            received.append(frame)

        async with exchange(talk) as url:
            patience = Patience(silence_s=60, connect_s=5, first_delay_s=0.01, longest_delay_s=0.01)
            feed = Feed(
                "test", url, greetings=[], greeting_interval_s=0, receive=blocked, patience=patience, ping_s=0.02
            )
            async with running(feed):
                await until(lambda: feed.frames == 1)
                await asyncio.sleep(0.2)  # ten times what a ping may take
                room.set()
                await until(lambda: len(received) == 200)
        return feed.session, feed.frames

    assert asyncio.run(scenario()) == (1, 200)


def test_a_frame_beyond_the_limit_costs_a_connection_and_is_counted() -> None:
    """A large frame is received; a monstrous one ends the session, and the next one begins."""

    async def monster(connection: ServerConnection) -> None:
        await connection.send(b"x" * LARGEST_FRAME)
        await connection.send(b"x" * (LARGEST_FRAME + 1))
        await connection.wait_closed()

    async def scenario() -> tuple[set[int], set[str]]:
        received: list[str | bytes] = []
        async with exchange(monster) as url:
            feed = feed_of(url, received)
            await until(lambda: len(received) >= 2 and feed.errors["oversized"] > 0, feed)
        return {len(frame) for frame in received}, set(feed.errors)

    assert asyncio.run(scenario()) == ({LARGEST_FRAME}, {"oversized"})


def test_text_that_is_no_utf8_is_one_bad_frame_and_not_the_end() -> None:
    """What the frame holds is for the mapper to reject."""

    async def mumble(connection: ServerConnection) -> None:
        await connection.send(b"\xff\xfe{", text=True)
        await connection.send("clear")
        await connection.wait_closed()

    async def scenario() -> tuple[list[str | bytes], int]:
        received: list[str | bytes] = []
        async with exchange(mumble) as url:
            feed = feed_of(url, received)
            await until(lambda: len(received) == 2, feed)
            return received, feed.session

    assert asyncio.run(scenario()) == ([b"\xff\xfe{", b"clear"], 1)


def test_a_stopped_feed_says_goodbye() -> None:
    """The exchange sees a close with code 1001, not a cut."""
    codes: list[int] = []

    async def note_the_code(connection: ServerConnection) -> None:
        await connection.send("one")
        try:
            await connection.recv()
        except ConnectionClosed as closed:
            codes.append(closed.rcvd.code if closed.rcvd else 0)

    async def scenario() -> None:
        received: list[str | bytes] = []
        async with exchange(note_the_code) as url:
            await until(lambda: bool(received), feed_of(url, received))

    asyncio.run(scenario())
    assert codes == [1001]
