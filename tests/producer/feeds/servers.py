"""Servers on this machine that do as they are told, and the feed and the `Rest` that are tested against them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count, pairwise
from typing import Any

import aiohttp
from aiohttp import web
from websockets.asyncio.server import Request, Response, Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from producer.exchanges.venues import Patience
from producer.feeds.feed import Feed
from producer.feeds.rest import Rest

QUICK = Patience(silence_s=0.2, connect_s=5, first_delay_s=0.01, longest_delay_s=0.02, session_s=30)
WITHIN_S = 10.0
Handler = Callable[[ServerConnection], Awaitable[None]]
HttpHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Answer = Callable[[ServerConnection, Request], Response | None]


@asynccontextmanager
async def exchange(handler: Handler, answer: Answer | None = None) -> AsyncIterator[str]:
    """A server that treats each connection with `handler`, and each handshake with `answer`; its URL."""

    async def handled(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await handler(connection)

    server: Server
    async with serve(handled, "127.0.0.1", 0, process_request=answer) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def feed_of(
    url: str,
    received: list[str | bytes],
    greetings: Sequence[str] = (),
    patience: Patience = QUICK,
    *,
    life_s: float | None = None,
    ping_s: float = 20,
) -> Feed:
    """A feed that notes what it receives."""

    async def receive(frame: str | bytes) -> None:
        received.append(frame)

    return Feed(
        "test",
        url,
        greetings=greetings,
        greeting_interval_s=0.05,
        receive=receive,
        patience=patience,
        life_s=life_s,
        ping_s=ping_s,
    )


@asynccontextmanager
async def running(feed: Feed) -> AsyncIterator[asyncio.Task[None]]:
    """Run a feed while the block runs."""
    task: asyncio.Task[None] = asyncio.create_task(feed.run())
    try:
        async with asyncio.timeout(WITHIN_S):
            yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition: Callable[[], bool], feed: Feed | None = None) -> None:
    """Wait until a condition holds; run a feed meanwhile, where one is given."""
    if feed is not None:
        async with running(feed) as task:
            while not condition():
                if task.done():
                    await task
                await asyncio.sleep(0.005)
        return
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.005)


class Ticker:
    """Sends one series of numbers to all who subscribed, each number once to each, and notes who was there."""

    def __init__(self) -> None:
        self.present: list[ServerConnection] = []
        self.most = self.accepted = 0
        self.numbers = count(1)

    async def attend(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        self.accepted += 1
        await connection.recv()
        await connection.send("ack")
        self.present.append(connection)
        self.most = max(self.most, len(self.present))
        try:
            await connection.wait_closed()
        finally:
            self.present.remove(connection)

    async def tick(self) -> None:
        """Send numbers for ever."""
        while True:
            number = str(next(self.numbers))
            for connection in [*self.present]:
                await connection.send(number)
            await asyncio.sleep(0.001)


def numbers(received: list[str | bytes]) -> list[int]:
    """The numbers in what was received, each once."""
    return sorted({int(frame) for frame in received if frame != b"ack"})


def whole(found: list[int]) -> bool:
    """Whether a series has no hole."""
    return all(later == earlier + 1 for earlier, later in pairwise(found))


class Time:
    """A clock that stands still but for those who sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def now_s(self) -> float:
        """The time."""
        return self.now

    async def sleep(self, pause_s: float) -> None:
        """Pass so much time."""
        self.slept.append(pause_s)
        self.now += pause_s
        await asyncio.sleep(0)


@asynccontextmanager
async def asking(handler: Handler, time: Time | None = None, **options: Any) -> AsyncIterator[Rest]:
    """A `Rest` whose server answers everything with `handler`."""
    time = time or Time()
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            options = {"weight_per_minute": 4800, "now_s": time.now_s, "sleep": time.sleep, **options}
            yield Rest(session, base, name="test", **options)
    finally:
        await runner.cleanup()
