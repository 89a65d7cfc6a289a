from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed

from simulator.clock import Clock, parse_us
from simulator.server import Simulator
from simulator.sockets import Limits

START_US = parse_us("2024-01-01T00:00:00Z")


def connect(url: str) -> websockets_connect:
    """Without a limit to its queue: a client that stopped reading at one would not see the answer to its close."""
    return websockets_connect(url, max_queue=None, compression=None)


async def ask(socket: ClientConnection, message: Any) -> Any:
    """The reply to a control message, on a socket without live streams."""
    await socket.send(message if isinstance(message, str) else json.dumps(message))
    return json.loads(await socket.recv())


async def connections(session: ClientSession) -> Any:
    """How many connections the simulator has."""
    async with session.get("/healthz") as response:
        return (await response.json())["connections"]


@asynccontextmanager
async def raw_client(
    simulator: Simulator, path: str
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A WebSocket client that has shaken hands and does nothing by itself: no pongs, no reading."""
    reader, writer = await asyncio.open_connection(simulator.host, simulator.port)
    try:
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {simulator.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        writer.write(request.encode())
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def collect(socket: ClientConnection, count: int) -> list[Any]:
    return [json.loads(await socket.recv()) for _ in range(count)]


def test_a_raw_stream_sends_trades_as_binance_prints_them(against: Any) -> None:
    """The fields of a recorded frame, in their order; ids follow one another; each trade is the tape's."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws/btcusdt@trade") as socket:
            frames = await collect(socket, 300)
        assert {tuple(frame) for frame in frames} == {("e", "E", "s", "t", "p", "q", "T", "m", "M")}
        numbers = [frame["t"] for frame in frames]
        assert numbers == list(range(numbers[0], numbers[0] + 300))
        market, tape = next((key, value) for key, value in simulator.tapes.items() if key.symbol == "BTCUSDT")
        rows = tape.numbered(numbers[0], numbers[0] + 300).rows()
        for frame, (_, time_us, price, quantity, buyer_maker) in zip(frames, rows, strict=True):
            assert (frame["e"], frame["s"], frame["m"], frame["M"]) == ("trade", "BTCUSDT", buyer_maker, True)
            assert frame["T"] == time_us // 1000
            assert 0 <= frame["E"] - frame["T"] <= 217
            assert frame["p"] == f"{price / 10**market.price_decimals:.8f}"
            assert frame["q"] == f"{quantity / 10**market.quantity_decimals:.8f}"

    against(scenario)


def test_combined_streams_are_wrapped_and_in_the_order_of_their_times(against: Any) -> None:
    """/stream wraps each frame with its stream's name and mixes the streams by event time."""

    async def scenario(simulator: Simulator) -> None:
        url = f"{simulator.ws}/stream?streams=btcusdt@trade/ethusdt@trade/solusdt@trade"
        async with connect(url) as socket:
            frames = await collect(socket, 300)
        assert {tuple(frame) for frame in frames} == {("stream", "data")}
        assert all(frame["stream"] == frame["data"]["s"].lower() + "@trade" for frame in frames)
        assert {frame["stream"] for frame in frames} == {"btcusdt@trade", "ethusdt@trade", "solusdt@trade"}
        events = [frame["data"]["E"] for frame in frames]
        assert events == sorted(events)

    against(scenario)


def test_microseconds_are_sent_where_asked_for(against: Any) -> None:
    """`timeUnit=MICROSECOND` switches every time; the upper and the lower case will do."""

    async def scenario(simulator: Simulator) -> None:
        for unit in ("MICROSECOND", "microsecond"):
            async with connect(f"{simulator.ws}/stream?streams=btcusdt@trade&timeUnit={unit}") as socket:
                frame = (await collect(socket, 1))[0]["data"]
            assert abs(frame["T"] - simulator.clock.now_us()) < 10_000_000
            assert 0 <= frame["E"] - frame["T"] <= 217_000

    against(scenario)


def test_streams_are_subscribed_listed_and_left(against: Any) -> None:
    """SUBSCRIBE, LIST_SUBSCRIPTIONS and UNSUBSCRIBE are acknowledged with the id they bear, and take effect."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            listing = {"method": "LIST_SUBSCRIPTIONS", "id": "some-id"}
            assert await ask(socket, listing) == {"result": [], "id": "some-id"}
            subscribe = {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}
            assert await ask(socket, subscribe) == {"result": None, "id": 1}
            assert (await collect(socket, 1))[0]["s"] == "BTCUSDT"
            await socket.send(json.dumps({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 2}))
            while json.loads(await socket.recv()) != {"result": None, "id": 2}:
                pass
            assert await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": None}) == {"result": [], "id": None}

    against(scenario)


def test_unknown_and_upper_case_streams_are_acknowledged_and_silent(against: Any) -> None:
    """A wrong name is no error: it is taken, listed, and nothing ever comes."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws/NOPE@trade") as socket:
            params = ["BTCUSDT@trade", "xxxusdt@trade", "btcusdt@nothing"]
            assert await ask(socket, {"method": "SUBSCRIBE", "params": params, "id": 7}) == {"result": None, "id": 7}
            listing = await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 8})
            assert listing == {"result": ["NOPE@trade", *params], "id": 8}
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 0.5)

    against(scenario)


@pytest.mark.parametrize(
    ("message", "code", "text"),
    [
        ("{", 3, "Invalid JSON: expected value at line 1 column 2"),
        ("[" * 100_000, 3, "Invalid JSON: expected value at line 1 column 1"),
        ('{"params":[],"id":1}', 2, "Invalid request: missing field `method` at line 1 column 20"),
        (
            '{"method":"JUMP","id":1}',
            2,
            "Invalid request: unknown variant `JUMP`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "
            "`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line 1 column 24",
        ),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "Invalid request: property name must be a string"),
        ({"method": "SUBSCRIBE", "id": -1.5}, 2, "Invalid request: request ID must be an unsigned integer"),
        ({"method": "GET_PROPERTY", "params": ["x", 1], "id": 1}, 2, "Invalid request: too many parameters"),
        ({"method": "GET_PROPERTY", "params": ["x"], "id": 1}, 0, "Unknown property"),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "Invalid value type: expected Boolean"),
        ({"method": "SUBSCRIBE", "params": [f"s{n}@trade" for n in range(1025)], "id": 1}, 4, "Too many subscriptions"),
    ],
)
def test_mistakes_are_answered_as_documented(against: Any, message: Any, code: int, text: str) -> None:
    """Each documented error has its code and message, and leaves the connection open."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            error = (await ask(socket, message))["error"]
            assert error == {"code": code, "msg": text}
            assert await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 2}) == {"result": [], "id": 2}

    against(scenario)


def test_the_form_can_be_changed_in_the_connection(against: Any) -> None:
    """SET_PROPERTY combined wraps the streams of a raw connection from then on."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            assert await ask(socket, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1}) == {
                "result": False,
                "id": 1,
            }
            setting = {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2}
            assert await ask(socket, setting) == {"result": None, "id": 2}
            await ask(socket, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 3})
            assert set((await collect(socket, 1))[0]) == {"stream", "data"}

    against(scenario)


def test_every_full_second_has_a_kline_also_a_quiet_one(against: Any) -> None:
    """kline_1s: one finished kline per second, contiguous; a second without trades has ids -1 and volume 0."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws/zilbtc@kline_1s/btcusdt@kline_1s") as socket:
            frames = await collect(socket, 40)
        quiet = [frame["k"] for frame in frames if frame["s"] == "ZILBTC"]
        assert [kline["t"] for kline in quiet] == [quiet[0]["t"] + 1000 * index for index in range(len(quiet))]
        empty = next(kline for kline in quiet if kline["n"] == 0)
        assert (empty["f"], empty["L"], empty["v"], empty["x"]) == (-1, -1, "0.00000000", True)
        assert empty["o"] == empty["h"] == empty["l"] == empty["c"]
        busy = [frame["k"] for frame in frames if frame["s"] == "BTCUSDT" and frame["k"]["n"]]
        assert all(kline["n"] == kline["L"] - kline["f"] + 1 for kline in busy)
        assert all(1 <= frame["E"] - frame["k"]["T"] - 1 <= 6 for frame in frames)

    against(scenario, clock=Clock(start_us=START_US, speed=20.0))


def test_too_many_messages_close_the_connection(against: Any) -> None:
    """The sixth message within a second ends it: 1008, Too many requests."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            for number in range(6):
                await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
            with pytest.raises(ConnectionClosed) as closed:
                await collect(socket, 7)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Too many requests")

    against(scenario)


def test_a_client_that_answers_pings_stays_and_one_that_does_not_is_closed(against: Any) -> None:
    """Pings carry the time in ms; without a pong bearing the same payload the connection ends."""
    limits = Limits(ping_interval_s=0.3, pong_timeout_s=0.6)

    async def scenario(simulator: Simulator) -> None:
        async with connect(f"{simulator.ws}/ws") as socket:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(socket.recv(), 2.0)
        async with raw_client(simulator, "/ws") as (reader, _):
            header = await reader.readexactly(2)
            assert header[0] == 0x89  # a ping
            payload = await reader.readexactly(header[1])
            assert abs(int(payload) - simulator.clock.now_us() // 1000) < 5000
            rest = await reader.read()
            assert rest.endswith(b"\x88\x0e\x03\xf0Pong timeout")  # a close, 1008

    against(scenario, limits=limits)


def test_a_slow_reader_is_cut_off(against: Any) -> None:
    """What a client leaves unread is bounded: beyond it the connection is gone, and others go on."""

    async def scenario(simulator: Simulator) -> None:
        streams = "/".join(market.symbol.lower() + "@trade" for market in simulator.tapes if "-" not in market.symbol)
        async with (
            connect(f"{simulator.ws}/ws/btcusdt@kline_1s") as other,
            raw_client(simulator, f"/stream?streams={streams}") as (reader, _),
            ClientSession(simulator.http) as session,
        ):
            assert await connections(session) == 2
            while await connections(session) == 2:
                await other.recv()
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await reader.readexactly(2**30)
            await other.recv()

    clock = Clock(start_us=START_US, speed=5.0)
    against(scenario, rate=20_000.0, clock=clock, limits=Limits(backlog_bytes=2**18))
