from __future__ import annotations

import re
from collections import defaultdict
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from simulator.clock import Clock, parse_us
from simulator.markets import plain
from simulator.server import Simulator
from simulator.sockets import Limits
from tests.simulator.clients import ask, connect, hear, say, tape_of

PRODUCTS = ["BTC-USD", "USDT-USD", "BAND-GBP"]
TRADES = {"type": "subscribe", "product_ids": PRODUCTS, "channel": "market_trades"}
BEATS = {"type": "subscribe", "channel": "heartbeats"}
REFUSAL = {"type": "error", "message": "failure to subscribe"}
NANOSECONDS = "[-0-9]{10}T[:0-9]{8}([.][0-9]{1,9})?Z"


def trades_of(frame: Any) -> list[Any]:
    """The trades of a frame of market_trades, as they come."""
    (event,) = frame["events"]
    return list(event["trades"])


def subscriptions(frame: Any) -> Any:
    """What a frame says is subscribed."""
    assert frame["channel"] == "subscriptions"
    return frame["events"][0]["subscriptions"]


async def updates(socket: ClientConnection, count: int) -> list[Any]:
    """The next frames with at least so many trades together, of any product."""
    frames: list[Any] = []
    while sum(len(trades_of(frame)) for frame in frames) < count:
        frames.append(await hear(socket))
    return frames


async def farewell(socket: ClientConnection) -> tuple[int, str]:
    """The code and the reason with which the exchange closes a connection, whatever it still says before."""
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


async def says_something_new(socket: ClientConnection, simulator: Simulator) -> None:
    """Wait for a frame made from now on."""
    now_us = simulator.clock.now_us()
    while parse_us((await hear(socket))["timestamp"]) < now_us:
        pass


def test_a_subscription_finds_the_last_trades_and_then_every_one_that_follows(against: Any) -> None:
    """A snapshot for each product, the acknowledgement, then updates: newest first within a frame, no id missing."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced") as socket:
            await say(socket, TRADES)
            snapshots = [await hear(socket) for _ in PRODUCTS]
            assert subscriptions(await hear(socket)) == {"market_trades": PRODUCTS}
            batches = await updates(socket, 700)
        assert [(frame["events"][0]["type"], trades_of(frame)[0]["product_id"]) for frame in snapshots] == [
            ("snapshot", product) for product in PRODUCTS
        ]
        assert {frame["events"][0]["type"] for frame in batches} == {"update"}
        numbers = defaultdict(list)
        for frame in snapshots + batches:
            (product,) = {trade["product_id"] for trade in trades_of(frame)}
            ids = [int(trade["trade_id"]) for trade in trades_of(frame)]
            assert ids == sorted(ids, reverse=True)
            numbers[product] += reversed(ids)
        for ids in numbers.values():
            assert ids == list(range(ids[0], ids[0] + len(ids)))
        assert max(len(trades_of(frame)) for frame in batches) > 50

    against(scenario)


def test_a_trade_is_printed_as_recorded(against: Any) -> None:
    """The envelope and the fields of a recorded frame, in their order; the maker's side; each trade is the tape's."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced/") as socket:
            await say(socket, TRADES | {"product_ids": ["BTC-USD"]})
            snapshot, _ = await hear(socket), await hear(socket)
            frames = [snapshot, *await updates(socket, 300)]
        market, tape = tape_of(simulator, "BTC-USD")
        for frame in frames:
            assert list(frame) == ["channel", "client_id", "timestamp", "sequence_num", "events"]
            assert (frame["channel"], frame["client_id"]) == ("market_trades", "")
            assert re.fullmatch(NANOSECONDS, frame["timestamp"])
            trades = trades_of(frame)
            rows = tape.numbered(int(trades[-1]["trade_id"]), int(trades[0]["trade_id"]) + 1).rows()
            for trade, (number, time_us, price, quantity, buyer_maker) in zip(reversed(trades), rows, strict=True):
                assert list(trade) == ["product_id", "trade_id", "price", "size", "time", "side"]
                assert parse_us(trade.pop("time")) == time_us
                assert trade == {
                    "product_id": "BTC-USD",
                    "trade_id": str(number),
                    "price": plain(price, market.price_decimals),
                    "size": plain(quantity, market.quantity_decimals),
                    "side": "BUY" if buyer_maker else "SELL",
                }

    against(scenario)


def test_all_frames_are_numbered_and_heartbeats_counted(against: Any) -> None:
    """sequence_num goes up by one over all channels of a connection, from 0; heartbeats come with every second."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced") as socket:
            await say(socket, BEATS)
            await say(socket, {"type": "nonsense"})  # errors have no number
            await say(socket, TRADES)
            frames: list[Any] = []
            while sum(frame.get("channel") == "heartbeats" for frame in frames) < 5:
                frames.append(await hear(socket))
        assert frames.count(REFUSAL) == 1
        numbered = [frame for frame in frames if frame != REFUSAL]
        assert [frame["sequence_num"] for frame in numbered] == list(range(len(numbered)))
        assert {frame["channel"] for frame in numbered} == {"market_trades", "heartbeats", "subscriptions"}
        beats = [frame["events"][0] for frame in numbered if frame["channel"] == "heartbeats"]
        counters = [beat["heartbeat_counter"] for beat in beats]
        assert counters == list(range(counters[0], counters[0] + 5))
        go_time = r"2024-01-01 00:00:[0-9.]{12} [+]0000 UTC m=[+][0-9]+[.][0-9]{9}"
        assert all(re.fullmatch(go_time, beat["current_time"]) for beat in beats)

    against(scenario, clock=Clock(start_us=parse_us("2024-01-01T00:00:00Z"), speed=3.0))


def test_every_reply_tells_all_that_is_subscribed(against: Any) -> None:
    """Subscriptions add up and are left; what is left says nothing more; a product is found anew when it comes back."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced") as socket:
            quiet = TRADES | {"product_ids": ["BAND-GBP"]}
            assert (await ask(socket, quiet))["events"][0]["type"] == "snapshot"
            assert subscriptions(await hear(socket)) == {"market_trades": ["BAND-GBP"]}
            both = {"market_trades": ["BAND-GBP"], "heartbeats": ["heartbeats"]}
            assert subscriptions(await ask(socket, BEATS)) == both
            assert subscriptions(await ask(socket, quiet)) == both  # known: no snapshot
            left = await ask(socket, quiet | {"type": "unsubscribe"})
            assert subscriptions(left) == {"heartbeats": ["heartbeats"]}
            assert subscriptions(await ask(socket, BEATS | {"type": "unsubscribe"})) == {}
            assert (await ask(socket, quiet))["events"][0]["type"] == "snapshot"

    against(scenario, rate=1.0, clock=Clock(start_us=parse_us("2024-01-01T00:00:00Z"), speed=0.001))


def test_usdc_products_are_streamed_as_usd(against: Any) -> None:
    """Who asks for BTC-USDC gets BTC-USD, in the acknowledgement and in the trades."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced") as socket:
            snapshot = await ask(socket, TRADES | {"product_ids": ["BTC-USDC"]})
            assert {trade["product_id"] for trade in trades_of(snapshot)} == {"BTC-USD"}
            assert subscriptions(await hear(socket)) == {"market_trades": ["BTC-USD"]}

    against(scenario)


@pytest.mark.parametrize(
    "message",
    [
        TRADES | {"product_ids": ["BTC-USD", "XXX-USD"]},
        TRADES | {"product_ids": []},
        TRADES | {"product_ids": "BTC-USD"},
        TRADES | {"channel": "nonsense"},
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["market_trades"]},
        {"type": "jump", "product_ids": ["BTC-USD"], "channel": "market_trades"},
        "{",
        "[]",
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_message_with_a_mistake_is_refused_as_a_whole(against: Any, message: Any) -> None:
    """The error does not say what was wrong, and nothing of the message is subscribed."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced") as socket:
            assert await ask(socket, message) == REFUSAL
            assert subscriptions(await ask(socket, BEATS)) == {"heartbeats": ["heartbeats"]}

    against(scenario)


def test_who_does_not_subscribe_in_time_is_disconnected(against: Any) -> None:
    """A refused subscribe does not count, a good one does."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/advanced") as idle, connect(f"{simulator.ws}/advanced") as busy:
            await say(idle, TRADES | {"product_ids": ["XXX-USD"]})
            await say(busy, BEATS)
            assert await hear(idle) == REFUSAL
            assert await farewell(idle) == (1008, "no subscribe within 0.5 seconds")
            await says_something_new(busy, simulator)

    against(scenario, limits=Limits(subscribe_deadline_s=0.5))


def test_a_connection_with_nothing_to_say_is_closed_and_heartbeats_keep_it_open(against: Any) -> None:
    """A quiet product alone is silent for too long; with heartbeats the same product stays."""

    async def scenario(simulator: Simulator) -> None:
        quiet = TRADES | {"product_ids": ["BAND-GBP"]}
        async with connect(f"{simulator.ws}/advanced") as silent, connect(f"{simulator.ws}/advanced") as beating:
            await say(silent, quiet)
            await say(beating, BEATS)
            await say(beating, quiet)
            assert await farewell(silent) == (1000, "nothing to send for 1.5 seconds")
            await says_something_new(beating, simulator)

    against(scenario, rate=1.0, limits=Limits(idle_s=1.5))
