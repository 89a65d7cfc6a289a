"""How much a client may ask for on one connection, and what a mistake does to what it has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from simulator.clock import Clock
from simulator.server import Simulator
from simulator.sockets import Limits
from tests.simulator.clients import START_US, ask, connect, hear, say, tape_of

STILL = Clock(start_us=START_US, speed=0.001)


def test_streams_are_subscribed_in_chunks_up_to_1024(against: Any) -> None:
    """Chunks within the messages of a second add up; what would go beyond 1024 is refused as a whole; none is lost."""
    names = [f"s{number}@trade" for number in range(1024)]

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/stream") as socket:
            for number in range(3):
                params = names[number * 400 : (number + 1) * 400]
                subscribe = {"method": "SUBSCRIBE", "params": params, "id": number}
                assert await ask(socket, subscribe) == {"result": None, "id": number}
            refused = {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 8}
            assert await ask(socket, {"method": "SUBSCRIBE", "params": ["new@trade"], "id": 8}) == refused
            listing = await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 9})
            assert listing == {"result": names, "id": 9}

    against(scenario, clock=STILL)


def test_pings_count_as_messages(against: Any) -> None:
    """Five messages a second are fine; a sixth closes the connection, also where some of them are pings."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            for number in range(5):
                if number % 2:
                    await (await socket.ping())
                else:
                    await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": number})
            await say(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 5})
            with pytest.raises(ConnectionClosed) as closed:
                await hear(socket)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Too many requests")

    against(scenario, clock=STILL)


def test_messages_may_come_again_when_the_second_is_over(against: Any) -> None:
    """The limit is one of a running second, not of the connection."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            for number in range(10):
                if number == 5:
                    await asyncio.sleep(1.1)
                assert await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": number}) == {"result": [], "id": number}

    against(scenario, clock=STILL, limits=Limits(messages_per_s=5))


@pytest.mark.parametrize("unit", ["MICROSECOND", "microsecond"])
def test_the_unit_holds_for_streams_subscribed_later_too(against: Any, unit: str) -> None:
    """A raw connection without streams takes the unit from its address; every time is the tape's in it."""

    async def scenario(simulator: Simulator) -> None:
        _, tape = tape_of(simulator, "BTCUSDT")
        async with connect(f"{simulator.ws}/ws?timeUnit={unit}") as socket:
            await ask(socket, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1})
            frames = [await hear(socket) for _ in range(50)]
        times_us = tape.numbered(frames[0]["t"], frames[-1]["t"] + 1).times_us.tolist()
        assert [frame["T"] for frame in frames] == times_us
        assert all(0 <= frame["E"] - frame["T"] <= 217_000 for frame in frames)

    against(scenario)


@pytest.mark.parametrize("number", [None, 0, -5, 2**63 - 1, "a", "A-b_9" * 7])
def test_an_id_comes_back_as_it_was_sent(against: Any, number: Any) -> None:
    """Whole numbers of 64 bits, up to 36 letters and digits, and null."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            assert await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": number}) == {"result": [], "id": number}

    against(scenario, clock=STILL)


def test_a_bad_product_voids_its_message_and_nothing_else(against: Any) -> None:
    """What was subscribed before goes on, of the new message nothing is, not even its good products."""
    good = {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["heartbeat"]}

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as socket:
            await ask(socket, good)
            await say(socket, good | {"product_ids": ["ETH-USD", "XXX-USD", "SOL-USD"], "channels": ["matches"]})
            error = {"type": "error", "message": "Failed to subscribe", "reason": "XXX-USD is not a valid product"}
            frames = [await hear(socket)]
            while frames[-1] != error:
                frames.append(await hear(socket))
            after = [await hear(socket) for _ in range(2)]
            assert {(frame["type"], frame["product_id"]) for frame in after} == {("heartbeat", "BTC-USD")}

    against(scenario)
