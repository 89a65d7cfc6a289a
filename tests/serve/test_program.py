"""`python -m serve`, as a person or a supervisor starts and ends it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from market.settings import ROOT
from tests.serve.tables import START_MS, Table, every_second, walk
from tests.support import eventually, free_ports


def environment(table: Table, **changed: str) -> dict[str, str]:
    settings = table.settings
    own = {
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "REDIS_URL": settings.redis_url,
        "OUTPUT_DIR": settings.output_dir,
        "ROLLUP_DIR": settings.rollup_dir,
        "SERVE_API_KEY": "",
        "SERVE_HOST": "127.0.0.1",
    }
    return os.environ | own | changed


@contextmanager
def program(table: Table, *words: str, **changed: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "serve", *words]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(table, **changed), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def table(tmp_path: Path) -> Table:
    table = Table(tmp_path).create()
    table.traded(walk(every_second(START_MS, 3)))
    return table


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(table: Table, number: int) -> None:
    """It says where; SIGTERM and Ctrl-C end it with 0, without a stack trace."""
    (port,) = free_ports(1)
    with program(table, "--port", str(port)) as process:
        eventually(lambda: answers(port, "/bars/BTCUSDT?interval=1s") or process.poll() is not None)
        assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert f"serving at http://127.0.0.1:{port}" in errors
    assert "Traceback" not in errors


def test_it_refuses_to_be_found_by_everybody(table: Table) -> None:
    """Another address than loopback, without a key: exit code 2, with the ways out."""
    with program(table, "--host", "0.0.0.0") as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith("SERVE_HOST=0.0.0.0 can be reached from other machines, and SERVE_API_KEY is not set")


@pytest.mark.parametrize("changed", [{"SERVE_API_KEY": "a-key-of-16-signs"}, {"SERVE_OPEN": "yes"}])
def test_with_a_key_or_a_word_it_listens_everywhere(table: Table, changed: dict[str, str]) -> None:
    """As was asked for."""
    (port,) = free_ports(1)
    with program(table, "--host", "0.0.0.0", "--port", str(port), **changed) as process:
        eventually(lambda: answers(port, "/healthz") or process.poll() is not None)
        assert process.poll() is None


def test_a_port_that_is_taken_is_told(table: Table) -> None:
    """Exit code 1, with the setting that names another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with program(table, "--port", str(port)) as process:
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert errors == (
        f"http://127.0.0.1:{port} cannot be listened at: Address already in use. SERVE_PORT names another port\n"
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"STALE_AFTER": "soon"},
            "STALE_AFTER=soon (from the environment) is not allowed: it must be a number and a unit",
        ),
        (
            {"REDIS_URL": "redis://me:secret@localhost:1/0?socket_timeout=soon"},
            "REDIS_URL=redis://localhost:1/0 is not allowed: ",
        ),
    ],
)
def test_a_wrong_setting_is_told(table: Table, changed: dict[str, str], said: str) -> None:
    """Exit code 2, with its name, the value and what is allowed, and no password."""
    with program(table, **changed) as process:
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert errors.startswith(said)
    assert "secret" not in errors
