from __future__ import annotations

import asyncio
import json
import re
from collections import defaultdict
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed

from simulator.clock import Clock, parse_us
from simulator.coinbase import trade_time
from simulator.server import Simulator
from simulator.sockets import Limits

PRODUCTS = ["BTC-USD", "USDT-USD", "BAND-GBP"]
BOTH = {"type": "subscribe", "product_ids": PRODUCTS, "channels": ["matches", "heartbeat"]}


def connect(url: str) -> websockets_connect:
    """Without a limit to its queue: a client that stopped reading at one would not see the answer to its close."""
    return websockets_connect(url, max_queue=None, compression=None)


async def say(socket: ClientConnection, message: Any) -> None:
    await socket.send(json.dumps(message))


async def hear(socket: ClientConnection) -> Any:
    return json.loads(await socket.recv())


async def until(socket: ClientConnection, kind: str) -> Any:
    while (message := await hear(socket))["type"] != kind:
        pass
    return message


def test_matches_follow_the_last_match_without_a_gap(against: Any) -> None:
    """First the subscriptions, then one last_match per product, then matches whose ids follow it one by one."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as socket:
            await say(socket, {"type": "subscribe", "product_ids": PRODUCTS, "channels": ["matches"]})
            assert await hear(socket) == {
                "type": "subscriptions",
                "channels": [{"name": "matches", "product_ids": PRODUCTS}],
            }
            last = [await hear(socket) for _ in PRODUCTS]
            assert [(frame["type"], frame["product_id"]) for frame in last] == [
                ("last_match", product) for product in PRODUCTS
            ]
            matches = [await hear(socket) for _ in range(300)]
        assert {frame["type"] for frame in matches} == {"match"}
        numbers, sequences = defaultdict(list), defaultdict(list)
        for frame in last + matches:
            numbers[frame["product_id"]].append(frame["trade_id"])
            sequences[frame["product_id"]].append(frame["sequence"])
        for product, ids in numbers.items():
            assert ids == list(range(ids[0], ids[0] + len(ids)))
            steps = zip(sequences[product], sequences[product][1:], strict=False)
            assert all(later - earlier >= 2 for earlier, later in steps)

    against(scenario)


def test_a_match_is_printed_as_recorded(against: Any) -> None:
    """The fields of a recorded frame in their order, the maker's side, and times of a varying number of digits."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as socket:
            await say(socket, {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]})
            await until(socket, "last_match")
            frames = [await hear(socket) for _ in range(300)]
        names = "type trade_id maker_order_id taker_order_id side size price product_id sequence time"
        assert {tuple(frame) for frame in frames} == {tuple(names.split())}
        market, tape = next((key, value) for key, value in simulator.tapes.items() if key.symbol == "BTC-USD")
        rows = tape.numbered(frames[0]["trade_id"], frames[-1]["trade_id"] + 1).rows()
        for frame, (_, time_us, price, quantity, buyer_maker) in zip(frames, rows, strict=True):
            assert frame["side"] == ("buy" if buyer_maker else "sell")
            assert float(frame["price"]) == price / 10**market.price_decimals
            assert float(frame["size"]) == quantity / 10**market.quantity_decimals
            assert re.fullmatch(r"[-0-9]{10}T[:0-9]{8}([.][0-9]{1,6})?Z", frame["time"])
            assert parse_us(frame["time"]) == time_us

    against(scenario)


def test_times_have_a_varying_number_of_digits() -> None:
    """Zeros at the end are there or not, as on the real feed; the moment is the same."""
    time_us = 1_618_677_817_124_070
    assert {trade_time(number, time_us) for number in range(10)} == {
        "2021-04-17T16:43:37.124070Z",
        "2021-04-17T16:43:37.12407Z",
    }
    assert {trade_time(number, 1_618_677_817_000_000) for number in range(10)} == {
        "2021-04-17T16:43:37.000000Z",
        "2021-04-17T16:43:37Z",
    }


def test_heartbeats_tell_the_last_trade_of_each_product(against: Any) -> None:
    """Once a second and product, also a quiet one; the last trade id is that of the last match before it."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as socket:
            await say(socket, BOTH)
            await hear(socket)
            known: dict[str, int] = {}
            times = defaultdict(list)
            while min(map(len, times.values()), default=0) < 3 or len(times) < len(PRODUCTS):
                frame = await hear(socket)
                if frame["type"] == "heartbeat":
                    assert frame["last_trade_id"] == known[frame["product_id"]]
                    times[frame["product_id"]].append(parse_us(frame["time"]) // 1_000_000)
                else:
                    known[frame["product_id"]] = frame["trade_id"]
        for seconds in times.values():
            assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))

    against(scenario, clock=Clock(start_us=parse_us("2024-01-01T00:00:00Z"), speed=3.0))


def test_subscriptions_add_up_and_are_left(against: Any) -> None:
    """Every reply lists all that is subscribed; channels may name their own products."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as socket:
            own = {"name": "heartbeat", "product_ids": ["BAND-GBP"]}
            await say(socket, {"type": "subscribe", "channels": [own]})
            assert (await hear(socket))["channels"] == [own]
            await say(socket, {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches", own]})
            both = [own, {"name": "matches", "product_ids": ["BTC-USD"]}]
            assert (await until(socket, "subscriptions"))["channels"] == both
            await say(socket, {"type": "unsubscribe", "channels": ["heartbeat"]})
            assert (await until(socket, "subscriptions"))["channels"] == both[1:]

    against(scenario)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (BOTH | {"product_ids": ["BTC-USD", "XXX-USD"]}, "XXX-USD is not a valid product"),
        (BOTH | {"channels": ["matches", "nonsense"]}, "nonsense is not a valid channel"),
        (BOTH | {"channels": []}, "No channels provided"),
        ({"type": "jump"}, "Type has to be either subscribe or unsubscribe"),
    ],
)
def test_a_subscribe_with_a_mistake_is_ignored_as_a_whole(against: Any, message: Any, error: str) -> None:
    """The reply is an error, and nothing of the message is subscribed."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as socket:
            await say(socket, message)
            assert await hear(socket) == {"type": "error", "message": "Failed to subscribe", "reason": error}
            await say(socket, {"type": "subscribe", "product_ids": ["BAND-GBP"], "channels": ["heartbeat"]})
            only = {"name": "heartbeat", "product_ids": ["BAND-GBP"]}
            assert await hear(socket) == {"type": "subscriptions", "channels": [only]}

    against(scenario)


def test_who_does_not_subscribe_in_time_is_disconnected(against: Any) -> None:
    """A mistaken subscribe does not count, a good one does."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator.ws + "/") as idle, connect(simulator.ws + "/") as busy:
            await say(idle, BOTH | {"product_ids": ["XXX-USD"]})
            await say(busy, {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["heartbeat"]})
            with pytest.raises(ConnectionClosed):
                await until(idle, "a close")
            async with asyncio.timeout(5):
                for _ in range(3):
                    await until(busy, "heartbeat")

    against(scenario, limits=Limits(subscribe_deadline_s=0.5))
