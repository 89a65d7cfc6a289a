"""Clients of the simulator, as the tests use them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect

from simulator.clock import parse_us
from simulator.markets import Market
from simulator.server import Simulator
from simulator.tape import Tape

START_US = parse_us("2024-01-01T12:34:30Z")
"""The exchange's time in the tests that use `get`."""

Answer = tuple[int, Any, Any]


def connect(url: str) -> websockets_connect:
    """Without a limit to its queue: a client that stopped reading at one would not see the answer to its close."""
    return websockets_connect(url, max_queue=None, compression=None)


async def say(socket: ClientConnection, message: Any) -> None:
    """Send a message as JSON, a text as it is."""
    await socket.send(message if isinstance(message, str) else json.dumps(message))


async def hear(socket: ClientConnection) -> Any:
    """The next frame."""
    return json.loads(await socket.recv())


async def ask(socket: ClientConnection, message: Any) -> Any:
    """The reply to a message, on a socket without live streams."""
    await say(socket, message)
    return await hear(socket)


async def answer_to(session: ClientSession, path: str) -> Answer:
    """The answer to a request: its status, headers, and JSON with exact decimals."""
    async with session.get(path) as response:
        return response.status, response.headers, json.loads(await response.text(), parse_float=Decimal)


def tape_of(simulator: Simulator, symbol: str) -> tuple[Market, Tape]:
    """A market and its truth."""
    return next((market, tape) for market, tape in simulator.tapes.items() if market.symbol == symbol)
