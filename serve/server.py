"""The server: how uvicorn serves the application, and how it ends."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from market.settings import Settings
from serve.access import bracketed
from serve.app import app
from serve.binance.sockets import MESSAGE_BYTES, PING_INTERVAL_S, PONG_TIMEOUT_S
from serve.protocols import Requests

BACKLOG = 1_024
CONNECTIONS = 2_000
"""At once, WebSockets among them; more are answered with 503."""
IDLE_S = 30
GRACE_S = 5
STALLED_MS = 30_000
"""How long a client may take nothing of what is sent to it; then the kernel ends the connection, on Linux."""


class Server(uvicorn.Server):
    """uvicorn's, which ends in peace: a signal that was obeyed is not raised once more."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and Ctrl-C end it while this lasts; a second Ctrl-C does not wait for anybody."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The streams of pages end first: they last for as long as somebody looks, and the end waits for them."""
        state = getattr(self.config.app, "state", None)
        if pages := getattr(state, "page", None):
            pages.end()
        await super().shutdown(sockets)


def config_of(settings: Settings) -> uvicorn.Config:
    """How it serves."""
    return uvicorn.Config(
        app(settings),
        http=Requests,
        ws="websockets-sansio",
        ws_max_size=MESSAGE_BYTES,
        ws_ping_interval=PING_INTERVAL_S,
        ws_ping_timeout=PONG_TIMEOUT_S,
        ws_per_message_deflate=False,  # it would be done for each client by itself
        limit_concurrency=CONNECTIONS,
        backlog=BACKLOG,
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=GRACE_S,
        access_log=False,  # serve_requests_total counts
        server_header=False,
        proxy_headers=False,
        log_config=None,
        log_level=logging.WARNING,
    )


def listen(settings: Settings) -> socket.socket:
    """The socket, listening. Raises `OSError`."""
    found = socket.getaddrinfo(settings.serve_host, settings.serve_port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    listening = socket.create_server((str(address[0]), int(address[1])), family=family, backlog=BACKLOG)
    if option := getattr(socket, "TCP_USER_TIMEOUT", None):
        listening.setsockopt(socket.IPPROTO_TCP, option, STALLED_MS)  # connections have it from here
    return listening


def address_of(settings: Settings) -> str:
    """Where a person finds it."""
    return f"http://{bracketed(settings.serve_host)}:{settings.serve_port}"
