"""Make before break: a connection is replaced while it lives, and nothing that was sent is lost."""

from __future__ import annotations

import asyncio
import json
import logging
from http import HTTPStatus
from itertools import count

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection

from producer.exchanges.venues import Patience
from producer.feeds.feed import Feed
from simulator.server import serve
from tests.producer.feeds.servers import Ticker, exchange, feed_of, numbers, running, until, whole

PATIENT = Patience(silence_s=30, connect_s=0.3, first_delay_s=0.01, longest_delay_s=0.05, session_s=30)
NEVER_AGAIN = Patience(silence_s=30, connect_s=5, first_delay_s=1000, longest_delay_s=1000)


def test_an_old_connection_is_replaced_and_no_frame_is_lost() -> None:
    """At `life_s` a second connection takes over from the first, never more than two at once, and nothing is missed."""

    async def scenario() -> tuple[list[int], Ticker, Feed]:
        received: list[str | bytes] = []
        ticker = Ticker()
        async with exchange(ticker.attend) as url:
            ticking = asyncio.create_task(ticker.tick())
            feed = feed_of(url, received, ["subscribe"], PATIENT, life_s=0.1)
            await until(lambda: feed.renewals >= 4 and feed.session >= 5, feed)
            ticking.cancel()
        return numbers(received), ticker, feed

    found, ticker, feed = asyncio.run(scenario())
    assert whole(found)
    assert len(found) > 20
    assert ticker.most == 2
    assert (feed.session, feed.errors) == (feed.renewals + 1, {})


def test_the_simulators_trades_come_whole_through_renewals() -> None:
    """Of every symbol that the simulated Binance trades, no id is missing, though the connection was replaced twice."""

    async def scenario() -> dict[str, set[int]]:
        received: list[str | bytes] = []
        ids: dict[str, set[int]] = {}
        async with serve(rate=2000) as simulator:
            symbols = [market.symbol.lower() for market in simulator.tapes if market.venue == "binance"][:5]
            subscribe = json.dumps({"method": "SUBSCRIBE", "params": [f"{name}@trade" for name in symbols], "id": 1})
            feed = feed_of(f"{simulator.ws}/stream", received, [subscribe], PATIENT, life_s=0.3)

            def heard() -> int:
                while received:
                    data = json.loads(received.pop()).get("data") or {}
                    if data.get("e") == "trade":
                        ids.setdefault(data["s"], set()).add(data["t"])
                return len(ids)

            await until(lambda: heard() == 5 and feed.renewals >= 2, feed)
        heard()
        return ids

    ids = asyncio.run(scenario())
    assert len(ids) == 5
    assert all(whole(sorted(found)) for found in ids.values())


def test_what_the_old_connection_brought_before_is_received_before_it_is_left() -> None:
    """Frames that wait in line on the old connection are read, though the new one is ready long before."""
    opened = count(1)

    async def burst(connection: ServerConnection) -> None:
        await connection.recv()
        series = range(1000) if next(opened) == 1 else range(1000, 1002)
        for number in series:
            await connection.send(str(number))
        await connection.wait_closed()

    async def scenario() -> list[int]:
        received: list[str | bytes] = []

        async def slow(frame: str | bytes) -> None:
            await asyncio.sleep(0.002)  # in all, longer than a goodbye may take
            received.append(frame)

        async with exchange(burst) as url:
            feed = Feed("test", url, greetings=["go"], greeting_interval_s=0, receive=slow, patience=NEVER_AGAIN)
            async with running(feed):
                await until(lambda: len(received) >= 1)
                assert feed.renew("the test says so")
                await until(lambda: feed.renewals == 1 and len(received) == 1002)
        return numbers(received)

    assert asyncio.run(scenario()) == list(range(1002))


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("refuse", "ended: handshake answered with HTTP 503"),
        ("hang up", "ended: received 1013 (try again later) busy; then sent 1013 (try again later) busy"),
        ("say nothing", "does not tell anything"),
    ],
)
def test_a_renewal_that_fails_leaves_the_old_connection(
    fault: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong with the second connection, the first one goes on, and the failure is said and counted."""
    caplog.set_level(logging.WARNING)
    ticker = Ticker()
    attempts = count(1)
    numbers_of: dict[ServerConnection, int] = {}

    def answer(connection: ServerConnection, _: Request) -> Response | None:
        numbers_of[connection] = next(attempts)
        if fault == "refuse" and numbers_of[connection] > 1:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "busy")
        return None

    async def attend(connection: ServerConnection) -> None:
        if numbers_of[connection] == 1:
            await ticker.attend(connection)
        elif fault == "hang up":
            await connection.close(1013, "busy")
        await connection.wait_closed()

    async def scenario() -> tuple[int, int, dict[str, int], list[int]]:
        received: list[str | bytes] = []
        async with exchange(attend, answer) as url:
            ticking = asyncio.create_task(ticker.tick())
            feed = feed_of(url, received, ["subscribe"], PATIENT)
            async with running(feed):
                await until(lambda: len(received) > 1)
                assert feed.renew("the server says that it goes away")
                await until(lambda: feed.errors["renewal"] == 1)
                so_far = len(received)
                await until(lambda: len(received) > so_far + 10)
                state = feed.session, feed.renewals, dict(feed.errors), numbers(received)
            ticking.cancel()
        return state

    session, renewals, errors, found = asyncio.run(scenario())
    assert (session, renewals) == (1, 0)
    assert errors["renewal"] == 1
    assert whole(found)
    assert caplog.messages[0] == f"test: the old connection stays, for the new one {told}"


def test_a_market_that_rests_does_not_hold_up_a_renewal() -> None:
    """Where nobody trades, the new connection counts when it has answered every greeting."""

    async def rest(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send("ack")

    async def scenario() -> int:
        received: list[str | bytes] = []
        async with exchange(rest) as url:
            feed = feed_of(url, received, ["a", "b"], PATIENT)
            async with running(feed):
                await until(lambda: len(received) == 2)
                assert feed.renew("it is time")
                await until(lambda: feed.renewals == 1)
                await feed.settle()
        return feed.session

    assert asyncio.run(scenario()) == 2


def test_only_one_renewal_goes_on_at_a_time() -> None:
    """Who asks while a second connection is being opened is told that it is on its way."""
    ticker = Ticker()

    async def scenario() -> int:
        received: list[str | bytes] = []
        async with exchange(ticker.attend) as url:
            ticking = asyncio.create_task(ticker.tick())
            feed = feed_of(url, received, ["subscribe"], PATIENT)
            assert not feed.renew("nothing is connected")
            async with running(feed):
                await until(lambda: len(received) > 1)
                assert feed.renew("first")
                assert not feed.renew("second")
                await until(lambda: ticker.accepted == 2)
                assert feed.renewals or not feed.renew("third")
                await until(lambda: feed.renewals == 1)
            ticking.cancel()
        return ticker.accepted

    assert asyncio.run(scenario()) == 2


def test_where_the_old_connection_ends_meanwhile_the_new_one_takes_over_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A server that goes away sooner than it said costs no pause: the next connection is there already."""
    first: list[ServerConnection] = []

    async def go_away(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("ack")
        if not first:
            first.append(connection)
            await connection.wait_closed()
        else:
            first[0].transport.abort()
            await asyncio.sleep(0.05)
            await connection.send("trade")
            await connection.wait_closed()

    async def scenario() -> tuple[int, list[str | bytes]]:
        received: list[str | bytes] = []
        async with exchange(go_away) as url:
            feed = feed_of(url, received, ["subscribe"], NEVER_AGAIN)
            async with running(feed):
                await until(lambda: len(received) == 1)
                assert feed.renew("the server says that it goes away")
                await until(lambda: len(received) == 3 and feed.session == 2)
                await feed.settle()
        return feed.renewals, received

    assert asyncio.run(scenario()) == (1, [b"ack", b"ack", b"trade"])
    assert caplog.messages == []  # nothing to warn of


def test_what_is_said_later_is_said_on_both_connections() -> None:
    """A product that goes bad before a renewal voids the new subscription: it is mended there too."""
    heard: dict[int, list[str | bytes]] = {}
    opened = count(1)

    async def coinbase(connection: ServerConnection) -> None:
        mine = heard.setdefault(next(opened), [])
        async for message in connection:
            mine.append(message)
            await connection.send("subscriptions" if message == "good" or len(heard) == 1 else "error")
            if message == "good" or len(heard) == 1:
                await connection.send("last_match")

    async def scenario() -> int:
        received: list[str | bytes] = []
        async with exchange(coinbase) as url:
            feed = feed_of(url, received, ["good and bad"], Patience(connect_s=5))
            async with running(feed):
                await until(lambda: len(received) == 2)
                assert feed.renew("it is time")
                await until(lambda: b"error" in received)
                await feed.greet(["good"])
                await until(lambda: feed.renewals == 1)
        return feed.session

    assert asyncio.run(scenario()) == 2
    assert heard == {1: ["good and bad", "good"], 2: ["good and bad", "good"]}


def test_a_throttled_renewal_waits_as_long_as_it_was_told() -> None:
    """A second connection answered with 429 and Retry-After: 1 is not tried again before that."""
    times: list[float] = []
    ticker = Ticker()

    def answer(connection: ServerConnection, _: Request) -> Response | None:
        times.append(asyncio.get_running_loop().time())
        if len(times) != 2:
            return None
        response = connection.respond(HTTPStatus.TOO_MANY_REQUESTS, "slow down")
        response.headers["Retry-After"] = "1"
        return response

    async def scenario() -> dict[str, int]:
        received: list[str | bytes] = []
        async with exchange(ticker.attend, answer) as url:
            ticking = asyncio.create_task(ticker.tick())
            feed = feed_of(url, received, ["subscribe"], PATIENT, life_s=0.05)
            async with running(feed):
                await until(lambda: feed.renewals == 1)
                errors = dict(feed.errors)
            ticking.cancel()
        return errors

    assert asyncio.run(scenario()) == {"renewal": 1, "throttled": 1}
    assert times[2] - times[1] >= 1.0
