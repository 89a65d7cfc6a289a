"""Talking to the service over WebSockets, in bounded time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.serve.binance.stand import Stand
from tests.support import eventually

WITHIN_S = 20.0


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """A scenario, within a time."""

    async def main() -> None:
        async with asyncio.timeout(3 * WITHIN_S):
            await scenario()

    asyncio.run(main())


async def ask(socket: ClientConnection, message: dict[str, Any]) -> Any:
    """The reply to a control message; events that come before it are passed by."""
    await socket.send(json.dumps(message))
    return await heard(socket, lambda frame: "id" in frame or "error" in frame)


async def heard(socket: ClientConnection, is_it: Callable[[Any], bool]) -> Any:
    """The first frame of a kind."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            frame = json.loads(await socket.recv())
            if is_it(frame):
                return frame


async def in_thread(work: Callable[[], Any]) -> Any:
    """What blocks, beside the sockets."""
    return await asyncio.to_thread(work)


def listening(stand: Stand, count: int = 1) -> None:
    """Until so many clients are known to the push."""
    eventually(lambda: stand.app.state.binance.push.clients == count)


def subscribed(stand: Stand, name: str) -> bool:
    """Whether somebody listens to a stream."""
    clients = list(stand.app.state.binance.push._clients)
    return any(name in client.listening for client in clients)
