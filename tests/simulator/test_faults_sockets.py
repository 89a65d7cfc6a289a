from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from simulator.server import Simulator
from simulator.sockets import Limits

BINANCE, COINBASE, ADVANCED = "/ws/btcusdt@trade/ethusdt@trade", "/", "/advanced"
PRODUCTS = ["BTC-USD", "ETH-USD"]


def connect(simulator: Simulator, path: str = BINANCE, **options: Any) -> websockets_connect:
    return websockets_connect(simulator.ws + path, max_queue=None, compression=None, **options)


async def post(simulator: Simulator, *faults: dict[str, Any]) -> Any:
    """Post faults; the answer."""
    async with ClientSession(simulator.http) as session, session.post("/faults", json=faults) as response:
        assert response.status == 200
        return await response.json()


async def get(simulator: Simulator, path: str) -> Any:
    async with ClientSession(simulator.http) as session, session.get(path) as response:
        assert response.status == 200
        return await response.json()


async def subscribe(socket: ClientConnection, path: str) -> None:
    """Subscribe to trades and heartbeats, where the address does not do it."""
    if path == COINBASE:
        message = {"type": "subscribe", "product_ids": PRODUCTS, "channels": ["matches", "heartbeat"]}
        await socket.send(json.dumps(message))
    elif path == ADVANCED:
        await socket.send(json.dumps({"type": "subscribe", "product_ids": PRODUCTS, "channel": "market_trades"}))


def ids(text: str | bytes) -> list[tuple[str, int]]:
    """Symbol and id of the trades in a frame, in the order of the ids; none in what is no JSON."""
    try:
        row = json.loads(text)
    except ValueError:
        return []
    if row.get("e") == "trade":
        return [(row["s"], row["t"])]
    if row.get("type") in ("match", "last_match"):
        return [(row["product_id"], row["trade_id"])]
    trades = [trade for event in row.get("events", []) for trade in event.get("trades", [])]
    return sorted((trade["product_id"], int(trade["trade_id"])) for trade in trades)


async def until(socket: ClientConnection, condition: Callable[[list[str]], bool]) -> list[str]:
    """All frames until the condition holds of them."""
    frames: list[str] = []
    while not condition(frames):
        frames.append(str(await socket.recv()))
    return frames


async def last_id(socket: ClientConnection, symbol: str) -> int:
    """The id of the next trade of a symbol, the last one of its frame."""
    while True:
        numbers = [number for name, number in ids(await socket.recv()) if name == symbol]
        if numbers:
            return numbers[-1]


async def lost(socket: ClientConnection, symbol: str, last: int) -> list[int]:
    """The first ids of a symbol after `last` that do not come, as a later one shows."""
    while True:
        for name, number in ids(await socket.recv()):
            if name == symbol and number > last + 1:
                return list(range(last + 1, number))
            last = number if name == symbol else last


@pytest.mark.parametrize("path", [BINANCE, COINBASE, ADVANCED])
def test_a_cut_ends_every_open_connection_and_no_later_one(against: Any, path: str) -> None:
    """Without a goodbye (1006), on all three protocols; a new connection lives."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, path) as one, connect(simulator, path) as other:
            for socket in (one, other):
                await subscribe(socket, path)
                await until(socket, lambda frames: any(map(ids, frames)))
            await post(simulator, {"kind": "cut"})
            for socket in (one, other):
                with pytest.raises(ConnectionClosed) as closed:
                    await until(socket, lambda frames: False)
                assert closed.value.rcvd is None
        assert await get(simulator, "/faults/struck") == {"cut": 2}
        assert await get(simulator, "/faults") == []
        async with connect(simulator, path) as socket:
            await subscribe(socket, path)
            await until(socket, lambda frames: sum(map(len, map(ids, frames))) > 20)

    against(scenario)


def test_a_connection_is_cut_at_its_frame(against: Any) -> None:
    """The client gets exactly so many frames."""

    async def scenario(simulator: Simulator) -> None:
        await post(simulator, {"kind": "cut", "frame": 37, "for_s": 60})
        for _ in range(2):
            async with connect(simulator) as socket:
                await until(socket, lambda frames: len(frames) == 37)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is None

    against(scenario)


def test_handshakes_are_refused_with_the_status_and_the_pause(against: Any) -> None:
    """503 by default and once; the others as asked for, with Retry-After where it is given."""

    async def refusal(simulator: Simulator, fault: dict[str, Any]) -> tuple[int, str | None, Any]:
        await post(simulator, {"kind": "refuse", **fault})
        with pytest.raises(InvalidStatus) as refused:
            async with connect(simulator):
                pass
        response = refused.value.response
        return response.status_code, response.headers.get("Retry-After"), json.loads(response.body)

    async def scenario(simulator: Simulator) -> None:
        status, pause, _ = await refusal(simulator, {})
        assert (status, pause) == (503, None)
        async with connect(simulator) as socket:
            await socket.recv()
        status, pause, body = await refusal(simulator, {"status": 429, "retry_after": 7})
        assert (status, pause, body["code"]) == (429, "7", -1003)
        for code in (403, 418, 451):
            assert (await refusal(simulator, {"status": code}))[0] == code
        await post(simulator, {"kind": "refuse", "venue": "coinbase", "for_s": 60})
        async with connect(simulator) as socket:
            await socket.recv()
        for path in (COINBASE, ADVANCED):
            with pytest.raises(InvalidStatus):
                async with connect(simulator, path):
                    pass

    against(scenario)


def test_accepted_and_dropped(against: Any) -> None:
    """The handshake succeeds, and the connection is gone before its first frame; the next one is not."""

    async def scenario(simulator: Simulator) -> None:
        await post(simulator, {"kind": "accept_then_drop"})
        async with connect(simulator) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is None
        async with connect(simulator) as socket:
            await socket.recv()
        assert (await get(simulator, "/healthz"))["connections"] == 0

    against(scenario)


@pytest.mark.parametrize("path", [BINANCE, COINBASE, ADVANCED])
def test_a_silent_connection_stays_and_says_nothing(against: Any, path: str) -> None:
    """No frames, no pings, no pongs, no answer to a close; when the client has gone, the simulator forgets it."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, path, close_timeout=0.3, ping_interval=None) as socket:
            await subscribe(socket, path)
            await until(socket, lambda frames: any(map(ids, frames)))
            await post(simulator, {"kind": "silence"})
            while await get(simulator, "/faults"):
                pass
            pong = await socket.ping()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await until(socket, lambda frames: False)
            assert not pong.done()
            assert (await get(simulator, "/healthz"))["connections"] == 1
            async with connect(simulator) as fresh:
                await fresh.recv()
            await socket.close()
            assert socket.close_code == 1006
        while (await get(simulator, "/healthz"))["connections"]:
            pass

    against(scenario, limits=Limits(ping_interval_s=0.1))


@pytest.mark.parametrize("path", [BINANCE, COINBASE, ADVANCED])
def test_dropped_ids_are_missing_on_all_sockets_and_present_in_rest(against: Any, path: str) -> None:
    """Two clients miss exactly the same ids in a row; nothing else is missing; REST has them all."""
    symbol = "BTCUSDT" if path == BINANCE else "BTC-USD"

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, path) as one, connect(simulator, path) as other:
            await subscribe(one, path)
            await subscribe(other, path)
            last, last_too = await last_id(one, symbol), await last_id(other, symbol)
            await post(simulator, {"kind": "drop_ids", "symbol": symbol, "count": 3})
            gone, gone_too = await lost(one, symbol, last), await lost(other, symbol, last_too)
        assert gone == gone_too
        first = gone[0]
        assert gone == [first, first + 1, first + 2]
        if path == BINANCE:
            rows = await get(simulator, f"/api/v3/historicalTrades?symbol=BTCUSDT&fromId={first}&limit=3")
            assert [row["id"] for row in rows] == gone
        else:
            rows = await get(simulator, f"/products/BTC-USD/trades?after={first + 3}&limit=3")
            assert [row["trade_id"] for row in reversed(rows)] == gone

    against(scenario)


def test_frames_are_struck_on_the_live_wire(against: Any) -> None:
    """Each kind of frame fault reaches a real client; what is between them is unharmed."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, "/ws/btcusdt@trade", max_size=None) as socket:
            await post(simulator, {"kind": "duplicate_ids"})
            await until(socket, lambda got: len(got) > 1 and got[-1] == got[-2])
            await post(simulator, {"kind": "swap"})
            await until(socket, lambda got: len(got) > 1 and ids(got[-1]) < ids(got[-2]))
            await post(simulator, {"kind": "malformed"})
            await until(socket, lambda got: bool(got) and not ids(got[-1]))
            await post(simulator, {"kind": "truncated"})
            await until(socket, lambda got: bool(got) and not ids(got[-1]))
            await post(simulator, {"kind": "unknown_event"})
            await until(socket, lambda got: bool(got) and '"somethingNew"' in got[-1])
            await post(simulator, {"kind": "number"})
            await until(socket, lambda got: bool(got) and isinstance(json.loads(got[-1])["p"], float))
            await post(simulator, {"kind": "wrong_unit"})
            await until(socket, lambda got: bool(got) and json.loads(got[-1])["T"] > 10**15)
            await post(simulator, {"kind": "clock_offset", "ms": -60_000, "for_s": 60})
            await until(socket, lambda got: bool(got) and json.loads(got[-1])["E"] < json.loads(got[-1])["T"] - 50_000)
            await post(simulator, {"kind": "late", "delay_s": 0.5})
            await until(socket, lambda got: len(got) > 1 and ids(got[-1]) < ids(got[-2]))
            await post(simulator, {"kind": "oversized"})
            assert len((await until(socket, lambda got: bool(got) and len(got[-1]) > 10_000))[-1]) == 17 * 2**20
        struck = await get(simulator, "/faults/struck")
        assert struck.pop("clock_offset") > 0
        assert set(struck.values()) == {1}

    against(scenario)


def test_an_oversized_frame_is_refused_by_clients_with_a_limit(against: Any) -> None:
    """Both client libraries close with 1009 (message too big)."""

    async def scenario(simulator: Simulator) -> None:
        await post(simulator, {"kind": "oversized"})
        async with connect(simulator) as socket:
            with pytest.raises(ConnectionClosed) as closed:
                await until(socket, lambda frames: False)
            assert closed.value.sent is not None
            assert closed.value.sent.code == 1009
        await post(simulator, {"kind": "oversized"})
        async with ClientSession(simulator.http) as session, session.ws_connect(BINANCE) as other:
            message = await other.receive()
            while message.type is aiohttp.WSMsgType.TEXT:
                message = await other.receive()
            assert (message.type, other.close_code) == (aiohttp.WSMsgType.ERROR, 1009)

    against(scenario)
