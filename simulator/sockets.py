"""The WebSocket connections: accepting, listening, keeping alive and ending them. The protocols are elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import WSMsgType, web

from simulator import advanced as advanced_protocol
from simulator import binance as binance_protocol
from simulator import coinbase as coinbase_protocol
from simulator.connection import Connection
from simulator.push import TICK_S, Push, Wanted


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the exchanges allow their clients, in seconds of the wall clock. All clients count as one address."""

    ping_interval_s: float = 20.0
    """Binance pings this often …"""
    pong_timeout_s: float = 60.0
    """… and closes when no pong has come for so long."""
    messages_per_s: int = 5
    """Binance closes beyond this; pings and pongs count."""
    subscribe_deadline_s: float = 5.0
    """Coinbase closes when nothing is subscribed by then."""
    idle_s: float = 75.0
    """Coinbase Advanced closes, "within 60-90 seconds", when it had nothing to send for so long."""
    backlog_bytes: int = 16 * 2**20
    """What a client may leave unread before it is cut off."""
    weight_per_minute: int = 6000
    """Binance answers REST requests that weigh more than this together with 429 …"""
    weight_minute_s: float = 60.0
    """… until this is over …"""
    tries_after_429: int = 10
    """… and bans (418) who asks more often than this meanwhile. The exchange does not tell its number."""
    ban_s: float = 120.0
    """The first ban; each further one lasts twice as long."""
    connections_per_5_min: int | None = None
    """Binance refuses further connections; the exchange's is 300, and how it refuses is not told: here as REST does.
    None: no limit."""
    requests_per_s: float | None = None
    """Coinbase answers REST requests beyond this with 429; the exchange's is 10. None: no limit."""


AnyConnection = TypeVar("AnyConnection", bound=Connection)


class Batched(Connection):
    """A connection whose trades are gathered: `send` keeps them for the next batch, `tell` sends frames."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, *, backlog_bytes: int) -> None:
        super().__init__(request, socket, backlog_bytes=backlog_bytes)
        self._kept: list[str] = []

    def send(self, texts: Iterable[str]) -> None:
        """Keep some items."""
        self._kept += texts

    def kept(self) -> list[str]:
        """What was kept since this was asked last."""
        kept, self._kept = self._kept, []
        return kept

    def tell(self, texts: Iterable[str]) -> None:
        """Send one text frame for each text, in order."""
        super().send(texts)


async def binance(request: web.Request, push: Push, limits: Limits) -> web.StreamResponse:
    """/ws, /ws/<streams> (raw) and /stream?streams= (combined)."""
    combined = request.path == "/stream"
    named = request.query.get("streams", "") if combined else request.match_info.get("streams", "")
    microseconds = request.query.get("timeUnit", "").upper() == "MICROSECOND"
    streams = [name for name in named.split("/") if name]
    session = binance_protocol.Session(streams, combined=combined, microseconds=microseconds)
    async with _accepted(Connection, request, push, limits) as (socket, connection):
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
    """Coinbase Exchange's feed, which is at the root."""
    session = coinbase_protocol.Session()
    async with (
        _accepted(Connection, request, push, limits) as (socket, connection),
        _beside(_subscribed_in_time(connection, lambda: bool(session.subscriptions), limits)),
    ):
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


async def advanced(request: web.Request, push: Push, limits: Limits) -> web.StreamResponse:
    """Coinbase Advanced Trade's feed. The exchange has it at the root of a host of its own."""
    session = advanced_protocol.Session()
    clock = push.clock

    async def send_batches() -> None:
        told_us, told_s = clock.now_us(), time.monotonic()
        while True:
            await asyncio.sleep(max(advanced_protocol.BATCH_US / 1e6 / clock.speed, TICK_S))
            now_us, now_s = clock.now_us(), time.monotonic()
            frames = session.batches(connection.kept(), now_us) + session.beats(told_us, now_us)
            connection.tell(frames)
            told_us = now_us
            if frames or not session.subscriptions:
                told_s = now_s
            elif now_s - told_s >= limits.idle_s:
                await connection.close(1000, f"nothing to send for {limits.idle_s:g} seconds")
                return

    async with (
        _accepted(Batched, request, push, limits) as (socket, connection),
        _beside(_subscribed_in_time(connection, lambda: bool(session.subscriptions), limits)),
        _beside(send_batches()),
    ):
        async for message in socket:
            if message.type is WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                added, now_us = session.take(message.data), clock.now_us()
                if added is None:
                    connection.tell([advanced_protocol.REFUSAL])
                    continue
                told = [session.snapshot(push.tickers[market], push.horizon_us, now_us) for market in added]
                connection.tell([*told, session.acknowledgement(now_us)])
                push.follow(connection, session.wanted)
    return socket


async def _subscribed_in_time(connection: Connection, subscribed: Callable[[], bool], limits: Limits) -> None:
    await asyncio.sleep(limits.subscribe_deadline_s)
    if not subscribed():
        await connection.close(1008, f"no subscribe within {limits.subscribe_deadline_s:g} seconds")


@asynccontextmanager
async def _accepted(
    kind: Callable[..., AnyConnection], request: web.Request, push: Push, limits: Limits
) -> AsyncIterator[tuple[web.WebSocketResponse, AnyConnection]]:
    """The connection, registered with the push from its first breath, so that a shutdown finds it."""
    socket = web.WebSocketResponse(autoping=False, compress=False, timeout=1.0)
    await socket.prepare(request)
    connection = kind(request, socket, backlog_bytes=limits.backlog_bytes)
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
