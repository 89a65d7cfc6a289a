"""A proxy in a thread, for tests and programs that are not asynchronous."""

from __future__ import annotations

import socket
import threading

import pytest

from chaos.background import proxied
from chaos.toxics import Down, Latency, ResetPeer


def test_a_proxy_in_a_thread_does_what_a_proxy_does() -> None:
    """It passes on, delays, resets, refuses and recovers; afterwards its port is free and its thread gone."""
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as server, proxied(*server.getsockname(), seed=1) as wire:

        def connect() -> tuple[socket.socket, socket.socket]:
            client = socket.create_connection(("127.0.0.1", wire.port), timeout=10)
            served, _ = server.accept()
            served.settimeout(10)
            return client, served

        client, served = connect()
        with client, served:
            wire.set(Latency(0.05), towards="server")
            client.sendall(b"there")
            assert served.recv(10) == b"there"
            assert wire.struck["Latency"] >= 1
            wire.set(ResetPeer())
            with pytest.raises(ConnectionResetError):
                client.recv(10)
        wire.set(Down())
        with pytest.raises(ConnectionRefusedError):
            connect()
        wire.clear()
        client, served = connect()
        with client, served:
            served.sendall(b"back")
            assert client.recv(10) == b"back"
        assert wire.accepted == 2
        port = wire.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)
    assert threading.active_count() == before
