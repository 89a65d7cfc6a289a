"""Clients that stay connected while something is measured, as users' do: Binance's streams, and the page's own.

Each runs in a thread of its own, and only counts what it is told: what that is worth, tests hold.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

LOOK_S = 0.2
"""How often a client that is told nothing sees whether it is to end."""
PATIENCE_S = 5.0
"""The page's stream says every second how the parts are: one that is silent for longer is cut."""
SILENT_S = 10.0
"""All are told something every other second at least: one that was not for so long is no longer served."""


@dataclass
class Listener:
    """One client, what it was told, and how it ended."""

    name: str
    frames: int = 0
    last_s: float = 0.0
    """When it was told something last, by the monotonic clock."""
    cut: str = ""
    """Why it ended before it was to; empty where it did not."""

    def heard(self) -> None:
        self.frames += 1
        self.last_s = time.monotonic()

    def problem(self, now_s: float) -> str:
        """What is wrong with how it was served; empty where nothing is."""
        if self.cut or not self.frames:
            return self.cut or "it was told nothing"
        silent_s = now_s - self.last_s
        return f"it was told nothing for the last {silent_s:.0f} s" if silent_s > SILENT_S else ""


@dataclass
class Listeners:
    """All clients, until they are to end."""

    port: int
    all: list[Listener] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def told(self) -> dict[str, dict[str, Any]]:
        """Frames of each, and how long ago the last one came. Ends the measurement where one is no longer served."""
        now_s = time.monotonic()
        bad = [f"{one.name}: {problem}" for one in self.all if (problem := one.problem(now_s))]
        if bad:
            raise SystemExit(f"{len(bad)} of {len(self.all)} clients were not served to the end: {'; '.join(bad)}")
        return {one.name: {"frames": one.frames, "last_s_ago": round(now_s - one.last_s, 1)} for one in self.all}

    def socket(self, one: Listener) -> None:
        """A stream of Binance's."""
        address = f"ws://127.0.0.1:{self.port}/ws/{one.name}"
        with connect(address, compression=None) as connection:
            while not self.over.is_set():
                try:
                    connection.recv(timeout=LOOK_S)
                except TimeoutError:
                    continue
                one.heard()

    def page(self, one: Listener) -> None:
        """The stream of a page (serve/page/stream.py): an event is one frame."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request("GET", one.name)
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"it was answered {answer.status}")
            while not self.over.is_set():
                line = answer.readline()
                if not line:
                    raise OSError("the stream has ended")
                if line.startswith(b"event:"):
                    one.heard()
        finally:
            connection.close()


@contextmanager
def listening(port: int, streams: Sequence[str], pages: Sequence[str]) -> Iterator[Listeners]:
    """Clients of these streams and of these addresses of pages, as long as this lasts."""
    listeners = Listeners(port)
    kinds: Mapping[Callable[[Listener], None], Sequence[str]] = {listeners.socket: streams, listeners.page: pages}
    threads = []
    for follow, names in kinds.items():
        for name in names:
            one = Listener(name)
            listeners.all.append(one)
            threads.append(threading.Thread(target=_until_cut, args=(follow, one), name=name))
    for thread in threads:
        thread.start()
    try:
        yield listeners
    finally:
        listeners.over.set()
        for thread in threads:
            thread.join()


def _until_cut(follow: Callable[[Listener], None], one: Listener) -> None:
    try:
        follow(one)
    except (OSError, ConnectionClosed, http.client.HTTPException) as error:
        one.cut = f"{type(error).__name__}: {error}"
