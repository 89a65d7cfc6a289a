"""One client's connection. Every frame to a client passes here: it is the place for faults on command."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from itertools import count

from aiohttp import web

log = logging.getLogger(__name__)

_numbers = count(1)


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
        self.frames = 0
        self.name = f"connection {next(_numbers)} ({request.path_qs[:80]})"
        log.info("%s opened from %s", self.name, request.remote)

    def send(self, texts: Iterable[str]) -> None:
        """Send one text frame for each text, in order. To a client that is gone or taking leave, nothing."""
        if self._transport.is_closing() or self._socket.closed:
            return
        frames = [text_frame(text) for text in texts]
        self.frames += len(frames)
        self._transport.write(b"".join(frames))
        backlog = self._transport.get_write_buffer_size()
        if backlog > self._backlog_bytes:
            log.warning("%s cut off: %d bytes unread, at most %d are kept", self.name, backlog, self._backlog_bytes)
            self.abort()

    async def ping(self, payload: bytes) -> None:
        """Send a ping, which the client has to answer with the same payload."""
        if not self._transport.is_closing():
            await self._socket.ping(payload)

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye with a reason, and close."""
        log.info("%s closing: %d %s", self.name, code, reason)
        await self._socket.close(code=code, message=reason.encode())

    def abort(self) -> None:
        """Cut the connection off, without a goodbye."""
        self._transport.abort()

    def closed(self) -> None:
        """Note that it has ended."""
        log.info("%s closed after %.1f s and %d frames", self.name, time.monotonic() - self._opened_s, self.frames)


def text_frame(text: str) -> bytes:
    """A server's text frame (RFC 6455, section 5.2): final, unmasked, uncompressed."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload
