"""Small things that tests of several packages use."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, within_s: float = 30.0) -> T:
    """What `condition` returns as soon as that is true; fails when it is not within the time."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {within_s:g} s: {condition}"
        threading.Event().wait(0.05)
    return result


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, all different, and below those that the system gives to clients."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.randrange(15_000, 32_000)))
            except OSError:
                one.close()
            else:
                sockets.append(one)
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
