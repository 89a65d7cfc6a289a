"""The WebSocket connections: accepting, listening, keeping alive and ending them. The protocols are elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from aiohttp import WSMsgType, web

from simulator import binance as binance_protocol
from simulator import coinbase as coinbase_protocol
from simulator.connection import Connection
from simulator.push import Push, Wanted


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the exchanges allow their clients, in seconds of the wall clock."""

    ping_interval_s: float = 20.0
    """Binance pings this often …"""
    pong_timeout_s: float = 60.0
    """… and closes when no pong has come for so long."""
    messages_per_s: int = 5
    """Binance closes beyond this; pings and pongs count."""
    subscribe_deadline_s: float = 5.0
    """Coinbase closes when nothing is subscribed by then."""
    backlog_bytes: int = 16 * 2**20
    """What a client may leave unread before it is cut off."""


async def binance(request: web.Request, push: Push, limits: Limits) -> web.StreamResponse:
    """/ws, /ws/<streams> (raw) and /stream?streams= (combined)."""
    combined = request.path == "/stream"
    named = request.query.get("streams", "") if combined else request.match_info.get("streams", "")
    microseconds = request.query.get("timeUnit", "").upper() == "MICROSECOND"
    streams = [name for name in named.split("/") if name]
    session = binance_protocol.Session(streams, combined=combined, microseconds=microseconds)
    async with _accepted(request, push, limits) as (socket, connection):
        if len(session.streams) > binance_protocol.MAX_STREAMS:
            await connection.close(1008, "Too many subscriptions")
            return socket
        push.follow(connection, session.wanted)
        unanswered: dict[bytes, float] = {}
        arrivals: deque[float] = deque(maxlen=limits.messages_per_s + 1)

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(limits.ping_interval_s)
                now_s = time.monotonic()
                if any(now_s - sent_s >= limits.pong_timeout_s for sent_s in unanswered.values()):
                    await connection.close(1008, "Pong timeout")
                    return
                payload = str(push.clock.now_us() // 1000).encode()
                unanswered[payload] = now_s
                await connection.ping(payload)

        async with _beside(keep_alive()):
            async for message in socket:
                now_s = time.monotonic()
                arrivals.append(now_s)
                if len(arrivals) > limits.messages_per_s and now_s - arrivals[0] < 1.0:
                    await connection.close(1008, "Too many requests")
                elif message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.PONG:
                    if unanswered.pop(bytes(message.data), None) is not None:  # unsolicited ones keep nothing alive
                        unanswered.clear()
                elif message.type is WSMsgType.TEXT:
                    reply = session.answer(message.data)
                    connection.send([reply])
                    push.follow(connection, session.wanted)
    return socket


async def coinbase(request: web.Request, push: Push, limits: Limits) -> web.StreamResponse:
    """The feed, which is at the root."""
    session = coinbase_protocol.Session()
    async with _accepted(request, push, limits) as (socket, connection):

        async def enforce_deadline() -> None:
            await asyncio.sleep(limits.subscribe_deadline_s)
            if not session.subscriptions:
                await connection.close(1008, f"no subscribe within {limits.subscribe_deadline_s:g} seconds")

        async with _beside(enforce_deadline()):
            async for message in socket:
                if message.type is WSMsgType.PING:
                    await socket.pong(message.data)
                elif message.type is WSMsgType.TEXT:
                    reply, subscribed = session.answer(message.data)
                    connection.send([reply])
                    for market in subscribed:
                        connection.send(coinbase_protocol.last_match(push.tickers[market], push.horizon_us))
                    push.follow(connection, session.wanted)
    return socket


@asynccontextmanager
async def _accepted(
    request: web.Request, push: Push, limits: Limits
) -> AsyncIterator[tuple[web.WebSocketResponse, Connection]]:
    """The connection, registered with the push from its first breath, so that a shutdown finds it."""
    socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
    await socket.prepare(request)
    connection = Connection(request, socket, backlog_bytes=limits.backlog_bytes)
    push.follow(connection, Wanted())
    try:
        with suppress(ConnectionResetError):  # the client left while it was written to: the end, like any other
            yield socket, connection
    finally:
        push.leave(connection)
        connection.closed()


@asynccontextmanager
async def _beside(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Do some work while the block runs, and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, ConnectionResetError):
            await task
