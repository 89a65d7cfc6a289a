"""The stream of a page, read as a browser reads it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

WITHIN_S = 20.0


class Event(NamedTuple):
    """One event."""

    name: str
    data: Any
    position: str


class Events:
    """The events of one connection, in their order."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self._events = self._read()

    def first(self, name: str, is_it: Callable[[Any], bool] = lambda data: True) -> Event:
        """The next event of a name whose content is right; others are passed by."""
        deadline = time.monotonic() + WITHIN_S
        seen = 0
        for event in self._events:
            if event.name == name and is_it(event.data):
                return event
            seen += 1
            assert time.monotonic() < deadline, f"no such {name} among {seen} events"
        raise AssertionError(f"the stream has ended after {seen} events without such {name}")

    def ended(self) -> bool:
        """Whether the service ends the stream, in time."""
        deadline = time.monotonic() + WITHIN_S
        return all(time.monotonic() < deadline for _ in self._events)

    def _read(self) -> Iterator[Event]:
        fields: dict[str, str] = {}
        while line := self.response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                yield Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
                fields = {}


@contextmanager
def listening(port: int, asked: str = "", *, last_id: str = "") -> Iterator[Events]:
    """The stream for what is asked, until the block is left. `last_id` is what a browser tells that comes back."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    headers = {"Last-Event-ID": last_id} if last_id else {}
    connection.request("GET", f"/page/stream?{asked}" if asked else "/page/stream", headers=headers)
    response = connection.getresponse()
    try:
        assert response.status == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield Events(response)
    finally:
        response.close()
        connection.close()
