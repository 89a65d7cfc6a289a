"""Binance's WebSocket connections: accepting, listening, sending and ending them. What is said is elsewhere.

/ws, /ws/<streams> (raw) and /stream?streams= (combined), bare or under a venue. The server pings by itself
(`serve/server.py`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from serve.binance.outbox import MOST_TOGETHER, Budget, Outbox
from serve.binance.push import Client, Push
from serve.binance.streams import Session, is_allowed
from serve.hub import TooSlow
from serve.limits import ADDRESSES, ByAddress
from serve.tasks import end

log = logging.getLogger(__name__)

PING_INTERVAL_S, PONG_TIMEOUT_S = 20.0, 60.0
"""Binance's."""
MESSAGE_BYTES = 65_536
"""The longest control message: 1,024 streams fit."""
CLOSE_S = 5.0
"""How long a client may take to take the end of its connection, and its reason."""

_POLICY, _GOING_AWAY, _TOO_BIG = 1008, 1001, 1009


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one client may (binance-spot-api-docs, "Websocket Limits"). Its pings and pongs are not counted: the server
    answers them itself."""

    messages_per_s: int = 5
    life_s: float = 86_400.0
    attempts: int = 300
    attempts_s: float = 300.0
    connections: int = 1_000
    """Of all clients together."""
    waiting: int = MOST_TOGETHER
    """Characters that all clients together may leave unread."""


class Attempts:
    """How often each address has connected lately. Pure, with the clock as an argument."""

    def __init__(self, most: int, within_s: float, addresses: int = ADDRESSES) -> None:
        self._most, self._within_s = most, within_s
        self._times: ByAddress[deque[float]] = ByAddress(addresses)

    def wait_s(self, address: str, now_s: float) -> float:
        """0 for an attempt that is allowed, and counted; else how long until one is."""
        times = self._times.get(address, deque())
        while times and times[0] <= now_s - self._within_s:
            times.popleft()
        wait_s = times[0] + self._within_s - now_s if len(times) >= self._most else 0.0
        if not wait_s:
            times.append(now_s)
        self._times.put(address, times)
        return wait_s


class Sockets:
    """The connections of one service."""

    def __init__(self, push: Push, limits: Limits | None = None) -> None:
        self._push = push
        self._limits = limits or Limits()
        self._attempts = Attempts(self._limits.attempts, self._limits.attempts_s)
        self.budget = Budget(self._limits.waiting)
        self.cut = 0
        """Clients that were cut off because they did not keep up, ever."""

    async def serve(self, websocket: WebSocket, venue: str, *, combined: bool) -> None:
        """One connection, from its handshake to its end."""
        refusal = self._refusal(websocket)
        if refusal:
            if "websocket.http.response" in websocket.scope.get("extensions", {}):
                await websocket.send_denial_response(refusal)
            else:
                await websocket.close(_POLICY)  # the server makes it a 403
            return
        named = websocket.query_params.get("streams", "") if combined else websocket.path_params.get("streams", "")
        names = [name.replace(" ", "+") for name in named.split("/") if name]  # a plus in a query is a blank
        await websocket.accept()
        if not is_allowed(set(names)):
            await websocket.close(_POLICY, "Too many subscriptions")
            return
        is_micro = websocket.query_params.get("timeUnit", "").upper() == "MICROSECOND"
        client = Client(venue, Session(names, combined=combined), 1 if is_micro else 1_000, Outbox(self.budget))
        try:
            self._push.follow(client)
            await self._converse(websocket, client)
        finally:
            self._push.leave(client)
            client.outbox.close()

    def _refusal(self, websocket: WebSocket) -> Response | None:
        address = websocket.client.host if websocket.client else ""
        wait_s = self._attempts.wait_s(address, asyncio.get_running_loop().time())
        if wait_s or self._push.clients >= self._limits.connections:
            return Response("too many connections", 429, {"Retry-After": str(int(wait_s) + 1)})
        return None

    async def _converse(self, websocket: WebSocket, client: Client) -> None:
        works = (self._hear(websocket, client), _send(websocket, client.outbox), _overflow(client.outbox))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self._limits.life_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut += client.outbox.is_cut
            await end(tasks)
        code, reason = next((left for task in done if (left := task.result())), (None, ""))
        if not done:
            code, reason = _GOING_AWAY, "24 hours are over"
        if code and websocket.application_state is not WebSocketState.DISCONNECTED:
            log.info("%s closed: %s", websocket.client, reason)
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):  # it has gone, or takes nothing any more
                async with asyncio.timeout(CLOSE_S):
                    await websocket.close(code, reason)

    async def _hear(self, websocket: WebSocket, client: Client) -> tuple[int, str] | None:
        """Until the connection ends (None), or shall be ended: how, and why."""
        arrivals: deque[float] = deque(maxlen=self._limits.messages_per_s + 1)
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            arrivals.append(asyncio.get_running_loop().time())
            if len(arrivals) > self._limits.messages_per_s and arrivals[-1] - arrivals[0] < 1.0:
                return _POLICY, "Too many requests"
            text = message.get("text")
            if text is None:
                text = (message.get("bytes") or b"").decode(errors="replace")
            if len(text) > MESSAGE_BYTES:
                return _TOO_BIG, f"a message of more than {MESSAGE_BYTES} characters"
            client.outbox.put(client.session.answer(text))
            self._push.follow(client)


async def _send(websocket: WebSocket, outbox: Outbox) -> tuple[int, str] | None:
    """Until the connection ends (None), or the client is too slow."""
    while True:
        try:
            await websocket.send_text(await outbox.take())
        except TooSlow as error:
            return _end_of(error)
        except (WebSocketDisconnect, RuntimeError):
            return None  # it has gone


async def _overflow(outbox: Outbox) -> tuple[int, str]:
    return _end_of(await outbox.overflow())


def _end_of(error: TooSlow) -> tuple[int, str]:
    return _POLICY, f"Too slow: {error}"
