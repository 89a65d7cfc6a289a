"""The real service on a port of its own, and questions to it, as plain as they can be put."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import uvicorn

from market.settings import Settings
from serve.server import Server, config_of, listen
from tests.support import eventually, free_ports


@dataclass(frozen=True)
class Answer:
    """What was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, response: http.client.HTTPResponse) -> Answer:
        """The whole of it."""
        headers = {name.lower(): value for name, value in response.getheaders()}
        return cls(response.status, headers, response.read())

    @property
    def json(self) -> Any:
        """The content."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running service."""

    settings: Settings
    server: Server

    @property
    def state(self) -> Any:
        """Its parts."""
        return self.server.config.app.state  # type: ignore[union-attr]

    def ask(self, path: str, *, method: str = "GET", headers: Mapping[str, str | None] | None = None) -> Answer:
        """An answer. A header that is None is left out, also where clients always send one."""
        sent = {"Host": f"localhost:{self.settings.serve_port}"} | dict(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.settings.serve_port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders()
            return Answer.of(connection.getresponse())
        finally:
            connection.close()

    def caught_up(self, version: int) -> None:
        """Until this version of the table is served, and its past was looked through."""
        follower = self.state.bars.follower
        eventually(
            lambda: follower.state is not None and follower.state.version >= version and follower.state.knows_all
        )


@contextmanager
def served(settings: Settings, **changed: Any) -> Iterator[Served]:
    """The service on a free port."""
    (port,) = free_ports(1)
    own = replace(settings, serve_port=port, **changed)
    with running(config_of(own), own) as server:
        yield Served(own, server)


@contextmanager
def running(config: uvicorn.Config, settings: Settings, *, by_force: bool = False) -> Iterator[Server]:
    """A server in a thread of this process, with its own event loop. By force, it ends without waiting for clients."""
    server = Server(config)
    with listen(settings) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="served")
        thread.start()
        try:
            eventually(lambda: server.started or not thread.is_alive())
            assert server.started, "the service did not start"
            yield server
        finally:
            server.should_exit, server.force_exit = True, by_force
            thread.join(30)
            assert not thread.is_alive()
