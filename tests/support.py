"""Small things that tests of several packages use."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from chaos.programs import free_ports

__all__ = ["eventually", "free_ports"]

T = TypeVar("T")


def eventually(condition: Callable[[], T], *, within_s: float = 30.0, every_s: float = 0.05) -> T:
    """What `condition` returns as soon as that is true; fails when it is not within the time."""
    deadline = time.monotonic() + within_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {within_s:g} s: {condition}"
        threading.Event().wait(every_s)
    return result
