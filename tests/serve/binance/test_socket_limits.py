"""What a client of the streams may: how much it asks for, how often, from where, and for how long."""

from __future__ import annotations

import base64
import json
import socket
from functools import partial
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from serve.binance.sockets import Limits
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trade
from tests.serve.binance.stand import Stand
from tests.serve.binance.talk import ask, in_thread, listening, run


def sleeper(stand: Stand) -> socket.socket:
    """A client of the trades of BTCUSDT that takes nothing."""
    asleep = socket.socket()
    asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    asleep.connect(("127.0.0.1", stand.port))
    key = base64.b64encode(bytes(16)).decode()
    asleep.sendall(
        f"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: localhost:{stand.port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return asleep


def test_more_than_five_messages_a_second_end_the_connection(stand: Stand) -> None:
    """1008, and why."""

    async def ask_too_often(socket: ClientConnection) -> None:
        for number in range(20):
            await socket.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
        while True:
            await socket.recv()

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await ask_too_often(socket)
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Too many requests")

    run(scenario)
    listening(stand, 0)


def test_more_than_1024_streams_are_refused(stand: Stand) -> None:
    """In the address: the connection ends; in a message: code 4."""

    async def scenario() -> None:
        names = [f"{number:x}" for number in range(1_025)]  # addresses have 8 kB at most
        async with connect(f"{stand.ws}/stream?streams={'/'.join(names)}") as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.reason == "Too many subscriptions"
        async with connect(f"{stand.ws}/ws") as socket:
            reply = await ask(socket, {"method": "SUBSCRIBE", "params": names, "id": 19})
            assert reply == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19}

    run(scenario)


def test_attempts_to_connect_and_the_life_of_a_connection_are_limited(tmp_path: Path, redis: OwnRedis) -> None:
    """Binance's are 300 in 5 minutes, and 24 hours: here less."""
    stand = Stand(tmp_path, redis)
    stand.limits = Limits(life_s=0.2, attempts=2)

    async def scenario() -> None:
        for _ in range(2):
            async with connect(f"{stand.ws}/ws") as socket:
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1001, "24 hours are over")
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{stand.ws}/ws")
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) > 200

    with stand.serving():
        run(scenario)


def test_other_sites_pages_may_not_connect(stand: Stand) -> None:
    """A browser says whose page it is."""

    async def scenario() -> None:
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"{stand.ws}/ws", additional_headers={"Origin": "https://example.com"})
        assert refused.value.response.status_code == 403

    run(scenario)


def test_a_client_that_left_is_forgotten(stand: Stand) -> None:
    """And so are the streams that nobody else wants."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws/btcusdt@kline_1s"):
            await in_thread(lambda: listening(stand))

    run(scenario)
    listening(stand, 0)
    assert stand.app.state.binance.push._feeds == {}


def test_a_client_that_takes_nothing_is_cut_off_and_others_go_on(stand: Stand) -> None:
    """What waits for it has a bound, whatever the kernel takes on top."""

    async def scenario() -> None:
        asleep = sleeper(stand)
        with asleep:
            async with connect(f"{stand.ws}/ws/btcusdt@trade") as awake:
                await in_thread(lambda: listening(stand, 2))
                first, at_once = 21, 2_000
                while not stand.app.state.binance.sockets.cut:
                    numbers = range(first, first + at_once)
                    trades = [trade(number, START_MS + 12_450) for number in numbers]
                    await in_thread(partial(stand.told, trades))
                    assert [json.loads(await awake.recv())["t"] for _ in numbers] == list(numbers)
                    first += at_once
                await in_thread(lambda: listening(stand, 1))

    run(scenario)
    assert "serve_sockets_cut_total 1.0" in stand.rows("/metrics")


def test_the_slowest_is_cut_off_where_all_clients_together_leave_too_much_unread(
    tmp_path: Path, redis: OwnRedis
) -> None:
    """Long before it would be by itself. It is told why, and nothing of it waits any more."""
    stand = Stand(tmp_path, redis)
    stand.limits = Limits(waiting=500_000)

    async def scenario() -> None:
        asleep = sleeper(stand)
        with asleep:
            async with connect(f"{stand.ws}/ws/btcusdt@trade") as awake:
                await in_thread(lambda: listening(stand, 2))
                first, at_once = 1, 1_000
                while not stand.app.state.binance.sockets.cut:
                    numbers = range(first, first + at_once)
                    await in_thread(partial(stand.told, [trade(number, START_MS) for number in numbers]))
                    assert [json.loads(await awake.recv())["t"] for _ in numbers] == list(numbers)
                    first += at_once
                told = await in_thread(lambda: b"".join(iter(lambda: asleep.recv(65_536), b"")))
                assert b"Too slow: " in told
                assert b"most of all where 500000 may be together" in told
                await in_thread(lambda: listening(stand, 1))

    with stand.serving():
        run(scenario)
        assert "serve_sockets_cut_total 1.0" in stand.rows("/metrics")
        assert "serve_sockets_waiting_characters 0.0" in stand.rows("/metrics")
