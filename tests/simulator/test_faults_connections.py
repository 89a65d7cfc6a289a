from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from simulator.chaos import chaos
from simulator.clock import Clock, parse_us
from simulator.faults import SOCKET_KINDS
from simulator.schedule import Schedule
from simulator.server import Simulator, serve
from tests.simulator.test_faults_sockets import ADVANCED, BINANCE, COINBASE, connect, get, ids, post, subscribe, until


async def to_the_end(socket: ClientConnection) -> AsyncIterator[str]:
    """All frames, until the connection is closed, however that is."""
    with suppress(ConnectionClosed):
        while True:
            yield str(await socket.recv())


@pytest.mark.parametrize(
    ("path", "combined"), [(BINANCE, False), ("/stream?streams=btcusdt@trade", True), ("/stream", True), ("/ws", False)]
)
def test_binance_says_goodbye_before_it_shuts_down(against: Any, path: str, combined: bool) -> None:
    """serverShutdown in the connection's own form, trades until the end, a close with 1001; Coinbase goes on."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, COINBASE) as other, connect(simulator, path) as socket:
            await subscribe(other, COINBASE)
            await post(simulator, {"kind": "server_shutdown", "delay_s": 0.3})
            farewell = json.loads((await until(socket, lambda got: bool(got) and "serverShutdown" in got[-1]))[-1])
            event = farewell["data"] if combined else farewell
            assert farewell == ({"stream": "!serverShutdown", "data": event} if combined else event)
            assert (set(event), event["e"]) == ({"e", "E"}, "serverShutdown")
            assert abs(event["E"] - simulator.clock.now_us() // 1000) < 5000
            with pytest.raises(ConnectionClosed) as closed:
                await until(socket, lambda got: bool(got) and "serverShutdown" in got[-1])
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
            await other.recv()
        assert await get(simulator, "/faults/struck") == {"server_shutdown": 1}

    against(scenario)


def test_the_form_of_the_farewell_follows_the_client(against: Any) -> None:
    """A raw connection that was set to combined streams gets the farewell of combined streams."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator) as socket:
            await socket.send(json.dumps({"method": "SET_PROPERTY", "params": ["combined", True], "id": 2}))
            await until(socket, lambda got: bool(got) and got[-1].startswith('{"stream"'))
            await post(simulator, {"kind": "server_shutdown"})
            await until(socket, lambda got: bool(got) and got[-1].startswith('{"stream":"!serverShutdown","data":{"e"'))

    against(scenario)


@pytest.mark.parametrize("path", [BINANCE, COINBASE, ADVANCED])
def test_a_short_life_ends_each_connection_in_its_time(against: Any, path: str) -> None:
    """One after the other is closed with 1001, the first not before its time; deleted, it strikes no more."""

    async def scenario(simulator: Simulator) -> None:
        await post(simulator, {"kind": "short_life", "life_s": 0.2})
        loop = asyncio.get_running_loop()
        for _ in range(3):
            async with connect(simulator, path) as socket:
                opened_s = loop.time()
                await subscribe(socket, path)
                with pytest.raises(ConnectionClosed) as closed:
                    await until(socket, lambda got: False)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
                assert loop.time() - opened_s > 0.1
        async with ClientSession(simulator.http) as session, session.delete("/faults") as response:
            assert (response.status, await response.json()) == (200, [])
        assert await get(simulator, "/faults") == []

    against(scenario)


@pytest.mark.parametrize("path", [BINANCE, COINBASE])
def test_a_slow_reader_is_kicked(against: Any, path: str) -> None:
    """Who reads on stays; who does not is told ErrSlowConsume, behind what it has left unread, and closed."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, path, max_size=None, ping_interval=None) as slow:
            await subscribe(slow, path)
            await slow.recv()
            slow.transport.pause_reading()
            await post(simulator, {"kind": "oversized", "bytes": 2**24})  # more than the system buffers
            while await get(simulator, "/faults"):
                pass
            async with connect(simulator, path) as quick:
                await subscribe(quick, path)
                await post(simulator, {"kind": "slow_reader", "bytes": 2**20})
                while "slow_reader" not in await get(simulator, "/faults/struck"):
                    await quick.recv()
                slow.transport.resume_reading()
                frames = [text async for text in to_the_end(slow)]
                await quick.recv()
            assert slow.protocol.close_rcvd is not None
            assert (slow.protocol.close_rcvd.code, slow.protocol.close_rcvd.reason) == (1008, "ErrSlowConsume")
            if path == COINBASE:
                assert frames[-1] == '{"type":"error","message":"ErrSlowConsume"}'

    against(scenario)


def test_a_silent_symbol_is_silent_on_the_live_wire(against: Any) -> None:
    """Others go on meanwhile; when it is over it is heard again."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator) as socket:
            await until(socket, lambda got: bool(got) and ids(got[-1])[0][0] == "BTCUSDT")
            await post(simulator, {"kind": "silent_symbol", "symbol": "BTCUSDT", "for_s": 0.5})
            await get(simulator, "/healthz")
            silent: list[str] = []
            while await get(simulator, "/faults"):
                silent.append(str(await socket.recv()))
            assert {"ETHUSDT"} <= {symbol for text in silent for symbol, _ in ids(text)}
            await until(socket, lambda got: bool(got) and ids(got[-1])[0][0] == "BTCUSDT")
        assert (await get(simulator, "/faults/struck"))["silent_symbol"] > 0

    against(scenario)


def test_heartbeats_without_a_last_trade(against: Any) -> None:
    """Coinbase's heartbeats say 0 while it lasts, and the truth again when it is deleted."""

    async def scenario(simulator: Simulator) -> None:
        async with connect(simulator, COINBASE) as socket:
            await subscribe(socket, COINBASE)
            await post(simulator, {"kind": "zero_last_trade_id"})
            await until(socket, lambda got: bool(got) and json.loads(got[-1]).get("last_trade_id") == 0)
            async with ClientSession(simulator.http) as session, session.delete("/faults"):
                pass
            await until(socket, lambda got: bool(got) and json.loads(got[-1]).get("last_trade_id", 0) > 0)

    against(scenario)


def test_a_script_strikes_by_itself_and_can_be_seen_and_ended() -> None:
    """Faults given before the start are shown, coming and active; DELETE ends them and the endless ones."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        schedule = Schedule()
        schedule.follow(chaos(11), loop.time())
        async with asyncio.timeout(30), serve(clock=Clock(start_us=parse_us("2024-01-01")), schedule=schedule) as one:
            (shown,) = await get(one, "/faults")
            (first,) = islice(chaos(11), 1)
            assert {name: shown[name] for name in first.spec} == first.spec
            async with ClientSession(one.http) as session, session.delete("/faults"):
                pass
            assert await get(one, "/faults") == []

    asyncio.run(main())


def test_the_exchange_survives_all_faults_at_once(against: Any) -> None:
    """Clients that come and go under every fault never bring it down; afterwards it serves as ever."""

    async def scenario(simulator: Simulator) -> None:
        lasting = [{"kind": kind, "for_s": 1.5} for kind in SOCKET_KINDS if kind not in ("clock_offset", "refuse")]
        await post(simulator, *lasting, {"kind": "clock_offset", "ms": 7, "for_s": 1.5})
        while await get(simulator, "/faults"):
            for path in (BINANCE, COINBASE, ADVANCED):
                try:
                    async with connect(simulator, path, close_timeout=0.1) as socket, asyncio.timeout(0.1):
                        await subscribe(socket, path)
                        await until(socket, lambda got: False)
                except (ConnectionClosed, TimeoutError):
                    pass
        assert not simulator.pushing.done()
        for path in (BINANCE, COINBASE, ADVANCED):
            async with connect(simulator, path) as socket:
                await subscribe(socket, path)
                await until(socket, lambda got: bool(got) and bool(ids(got[-1])))

    against(scenario)
