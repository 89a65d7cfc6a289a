"""The parts of the local stack: where each is found."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from local.parts import parts_of
from market import settings as market_settings
from tests.serve.served import served
from tests.serve.tables import Table


def has(family: socket.AddressFamily, address: str) -> bool:
    """Whether this machine has an address."""
    try:
        with socket.socket(family) as one:
            one.bind((address, 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:3000"),
        ("0.0.0.0", "http://127.0.0.1:3000"),
        ("::", "http://[::1]:3000"),
        ("0:0:0:0:0:0:0:0", "http://[::1]:3000"),
        ("::1", "http://[::1]:3000"),
        ("10.1.2.3", "http://10.1.2.3:3000"),
        ("bars.example.com", "http://bars.example.com:3000"),
    ],
)
def test_the_service_is_found_where_it_listens(host: str, address: str, tmp_path: Path) -> None:
    """Where that is everywhere, on the loopback of the same kind."""
    settings = market_settings.load({}, None, {"serve_host": host})
    (part,) = parts_of(settings, tmp_path, ["serve"])
    assert part.address == address


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::", "::1"])
def test_a_service_that_answers_is_ready(host: str, tmp_path: Path) -> None:
    """However it listens."""
    if ":" in host and not has(socket.AF_INET6, "::1"):
        pytest.skip("this machine has no IPv6")
    settings = Table(tmp_path, source="simulator").settings
    with served(settings, serve_host=host) as running:
        (part,) = parts_of(running.settings, tmp_path, ["serve"])
        assert part.is_ready(0.0)
    (part,) = parts_of(replace(running.settings, serve_host="127.0.0.1"), tmp_path, ["serve"])
    assert not part.is_ready(0.0)
