from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parents[2]
END_S = 30.0
"""For a program to end: half of what aiohttp's server, left to itself, waits for its clients."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def program(*options: str) -> Iterator[subprocess.Popen[str]]:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("SIMULATOR_")}
    command = [sys.executable, "-m", "simulator", *options]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def started(process: subprocess.Popen[str]) -> str:
    """The line it prints when it serves."""
    assert process.stderr is not None
    return process.stderr.readline()


def connected(process: subprocess.Popen[str], url: str) -> ClientConnection:
    """A client of the program, once it serves (its start line and the first client's say so)."""
    started(process)
    return connect(url, max_queue=None, compression=None)  # reads on, so that it sees the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_asked_to_end_and_ends_at_once(number: int) -> None:
    """SIGTERM and Ctrl-C end it with exit code 0, without a word and without a deadline's help."""
    port = free_port()
    with program("--port", str(port), "--speed", "10") as process:
        line = started(process)
        assert f"http://127.0.0.1:{port}" in line
        assert "exchange time 2024-01-01T00:00:0" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as response:
            assert response.status == 200
        process.send_signal(number)
        assert process.wait(END_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_it_ends_at_once_with_clients_connected() -> None:
    """Clients with live streams, of both exchanges, do not hold it up, and find their connections closed."""
    port = free_port()
    with (
        program("--port", str(port), "--rate", "5000") as process,
        connected(process, f"ws://127.0.0.1:{port}/ws/btcusdt@trade") as trades,
        connected(process, f"ws://127.0.0.1:{port}/") as idle,
    ):
        trades.recv(timeout=10)
        process.terminate()
        assert process.wait(END_S) == 0
        with pytest.raises(ConnectionClosed):
            idle.recv(timeout=10)


def test_a_restarted_exchange_has_the_same_trades() -> None:
    """Two runs with the same seed give the same ids the same content."""
    pages = []
    for _ in range(2):
        port = free_port()
        with program("--port", str(port), "--start", "2024-05-05T05:05:05Z") as process:
            started(process)
            url = f"http://127.0.0.1:{port}/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1000000000&limit=1000"
            with urllib.request.urlopen(url, timeout=10) as response:
                pages.append(json.load(response))
    assert pages[0] == pages[1]
    assert len(pages[0]) == 1000


def test_a_taken_port_is_named_with_the_way_out() -> None:
    """One message with the port and the setting, and exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with program("--port", str(port)) as process:
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors == (
        f"simulator: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "end what uses the port, or choose another one with --port or SIMULATOR_PORT\n"
    )


def test_a_wrong_setting_ends_the_program() -> None:
    """The message names the setting, the value and what is allowed; exit code 2."""
    with program("--rate", "many") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "SIMULATOR_RATE=many" in errors
