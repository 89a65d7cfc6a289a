"""One client's connection. Every frame to a client passes here, and so do the faults of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from itertools import count

from aiohttp import web

from simulator.clock import Clock
from simulator.markets import BINANCE, COINBASE
from simulator.schedule import Schedule
from simulator.wire import CUT, SILENCE, Fate, Wire

log = logging.getLogger(__name__)

SCHEDULE = web.AppKey("SCHEDULE", Schedule)
"""The application's faults."""
DROPPED = web.RequestKey("DROPPED", bool)
"""Whether the connection of a request is cut off as soon as it is accepted."""

GOODBYE_S = 1.0
"""How long a client that was closed by a fault has to take leave."""

_numbers = count(1)


def venue_of(path: str) -> str:
    """The exchange that a path belongs to."""
    return BINANCE if path.startswith(("/ws", "/stream", "/api/")) else COINBASE


class Connection:
    """Writes text frames, many at a time, and never waits: a client that reads too slowly is cut off.

    Frames go straight into the transport's buffer: one write per tick and client, where a coroutine per frame would
    cost more than making the trades. Whole frames only, so the library's own pings and closes may come in between.
    """

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, *, backlog_bytes: int) -> None:
        """Of an accepted WebSocket; `backlog_bytes`: how much a client may have left unread."""
        if request.transport is None:
            raise ConnectionResetError("the client was gone before its connection was accepted")
        self._transport = request.transport
        self._socket = socket
        self._backlog_bytes = backlog_bytes
        self._opened_s = time.monotonic()
        self._schedule = request.app[SCHEDULE]
        self._wire = Wire(venue_of(request.path), self._opened_s, combined=request.path == "/stream")
        self._ended = False
        """By a fault: nothing more is sent, though the connection may last a while."""
        self._gone_s: float | None = None
        self.frames = 0
        self.name = f"connection {next(_numbers)} ({request.path_qs[:80]})"
        log.info("%s opened from %s", self.name, request.remote)
        if request.get(DROPPED):
            self._meet(Fate(CUT), self._opened_s)

    def send(self, texts: Iterable[str]) -> None:
        """Send one text frame for each text, in order. To a client that is gone or taking leave, nothing."""
        if self._ended or self._transport.is_closing() or self._socket.closed:
            return
        texts, fate = list(texts), None
        self._wire.takes_form(texts)
        now_s = time.monotonic()
        faults = self._schedule.active(now_s)
        if faults or self._wire.holds:
            texts, fate = self._wire.outgoing(texts, faults, now_s)
        self._write(texts)
        self._meet(fate, now_s)

    def sweep(self, clock: Clock) -> None:
        """Send what was held back until now, and let the faults of whole connections strike."""
        now_s = time.monotonic()
        faults = self._schedule.active(now_s)
        if self._gone_s is not None and now_s >= self._gone_s:
            self.abort()
        if self._ended or self._transport.is_closing() or self._socket.closed:
            return
        if self._wire.holds:
            texts, fate = self._wire.due(faults, now_s)
            self._write(texts)
            self._meet(fate, now_s)
        unread_bytes = self._transport.get_write_buffer_size()
        words, fate = self._wire.swept(faults, now_s, unread_bytes=unread_bytes, exchange_ms=clock.now_us() // 1000)
        if words and not self._ended:
            self._write(words)
        self._meet(fate, now_s)

    def _write(self, texts: Iterable[str]) -> None:
        frames = [text_frame(text) for text in texts]
        self.frames += len(frames)
        self._transport.write(b"".join(frames))
        backlog = self._transport.get_write_buffer_size() - self._wire.extra_bytes
        if backlog > self._backlog_bytes:
            log.warning("%s cut off: %d bytes unread, at most %d are kept", self.name, backlog, self._backlog_bytes)
            self.abort()

    def _meet(self, fate: Fate | None, now_s: float) -> None:
        if fate is None or self._ended:
            return
        log.info("%s meets its fate: %s", self.name, " ".join(map(str, fate)).strip())
        self._ended = True
        if fate.how == CUT:
            self.abort()
        elif fate.how == SILENCE:
            self._transport.set_protocol(_Deaf(self._transport.get_protocol()))
        else:
            self._transport.write(_close_frame(fate.code, fate.reason))
            self._gone_s = now_s + GOODBYE_S

    async def ping(self, payload: bytes) -> None:
        """Send a ping, which the client has to answer with the same payload."""
        if not self._ended and not self._transport.is_closing():
            await self._socket.ping(payload)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye with a reason, and close."""
        if not self._ended:
            log.info("%s closing: %d %s", self.name, code, reason)
            await self._socket.close(code=code, message=reason.encode())

    def abort(self) -> None:
        """Cut the connection off, without a goodbye."""
        self._transport.abort()

    def closed(self) -> None:
        """Note that it has ended."""
        log.info("%s closed after %.1f s and %d frames", self.name, time.monotonic() - self._opened_s, self.frames)


class _Deaf(asyncio.Protocol):
    """In the place of a connection's protocol: it hears nothing but the end, so nothing is ever answered."""

    def __init__(self, hearing: asyncio.BaseProtocol) -> None:
        self._hearing = hearing

    def pause_writing(self) -> None:
        self._hearing.pause_writing()

    def resume_writing(self) -> None:
        self._hearing.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._hearing.connection_lost(exc)


def text_frame(text: str) -> bytes:
    """A server's text frame (RFC 6455, section 5.2): final, unmasked, uncompressed."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def _close_frame(code: int, reason: str) -> bytes:
    payload = code.to_bytes(2, "big") + reason.encode()
    return bytes((0x88, len(payload))) + payload
