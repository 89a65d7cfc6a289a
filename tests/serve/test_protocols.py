"""What a client may send, and what is kept for one that does not read: bounded, with real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from websockets.sync.client import connect

from market.settings import load
from serve import protocols
from serve import server as module
from serve.protocols import REQUEST_BYTES, Requests
from tests.serve.served import running
from tests.support import eventually, free_ports

TEXT = "x" * 100_000
MESSAGES = 1_000


class App:
    """Answers every request, and sends a lot to every socket."""

    def __init__(self) -> None:
        self.sent = self.ended = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            try:
                for _ in range(MESSAGES):
                    await send({"type": "websocket.send", "text": TEXT})
                    self.sent += 1
            finally:
                self.ended += 1


@contextmanager
def answering(app: App) -> Iterator[int]:
    (port,) = free_ports(1)
    config = uvicorn.Config(app, http=Requests, ws="websockets-sansio", lifespan="off", log_config=None)
    with running(config, load({"SERVE_PORT": str(port)}, dotenv=None), by_force=True):
        yield port


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as opened:
        yield opened


def answer(opened: socket.socket) -> bytes:
    """Everything until the server hangs up, or until an answer is whole."""
    found = b""
    while not found.endswith(b"ok"):
        part = opened.recv(65_536)
        if not part:
            break
        found += part
    return found


def test_a_request_of_ordinary_size_is_answered_again_and_again() -> None:
    """On one connection; what is bounded is each request."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"y" * 20_000 + b"\r\n\r\n"
    with answering(App()) as port, connected(port) as opened:
        for _ in range(10):
            opened.sendall(request)
            assert answer(opened).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("part", [b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "])
def test_a_request_without_end_is_refused(part: bytes) -> None:
    """Its line or its headers: 400, and the connection is closed."""
    with answering(App()) as port, connected(port) as opened:
        opened.sendall(part + b"y" * (REQUEST_BYTES + 1))
        found = answer(opened)
        assert found.startswith(b"HTTP/1.1 400")
        assert b"65536 bytes" in found


def test_a_request_that_is_not_said_to_its_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the first one of a connection nor a further one."""
    monkeypatch.setattr(protocols, "REQUEST_S", 0.2)
    with answering(App()) as port:
        with connected(port) as opened:
            assert answer(opened) == b""
        with connected(port) as opened:
            opened.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer(opened).endswith(b"ok")
            opened.sendall(b"GET / HT")
            assert answer(opened) == b""


def test_who_sends_to_a_slow_client_waits_for_it() -> None:
    """A few megabytes are under way, not all there is; when the client reads, all comes."""
    app = App()
    with (
        answering(app) as port,
        connect(f"ws://127.0.0.1:{port}", max_queue=1, max_size=None, compression=None) as client,
    ):
        seen: list[int] = []

        def stands_still() -> bool:
            seen.append(app.sent)
            return len(seen) > 2 and 0 < seen[-3] == seen[-2] == seen[-1]

        eventually(stands_still, every_s=0.2)
        assert app.sent < MESSAGES // 2
        for _ in range(MESSAGES):
            assert len(client.recv(timeout=20)) == len(TEXT)
        eventually(lambda: app.sent == MESSAGES)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the kernel cannot be told how long to wait")
def test_who_takes_nothing_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection ends, though the client is there, and nothing of it is kept."""
    monkeypatch.setattr(module, "STALLED_MS", 1_000)
    app = App()
    with (
        answering(app) as port,
        connect(f"ws://127.0.0.1:{port}", max_queue=1, max_size=None, compression=None, close_timeout=1),
    ):
        eventually(lambda: app.ended == 1)
