"""A real Redis for tests: started, killed and started again, empty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis

from local import processes
from local.redis_server import RedisServer
from tests.support import eventually, free_ports


class OwnRedis:
    """One server, in a folder and on a port of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.port,) = free_ports(1)
        self.server = RedisServer(folder=folder, port=self.port)
        self.url = self.server.url
        self.client: Any = Redis.from_url(self.url, decode_responses=True)
        self._process: Any = None

    def start(self) -> None:
        """Until it serves."""
        self.server.prepare()
        with (self.folder / "redis.log").open("ab") as output:
            self._process = processes.start(self.server.command(), environment=os.environ, output=output)
        eventually(self.server.is_ready)

    def emptied(self) -> OwnRedis:
        """Running, and empty: it knows no key and no script."""
        if not self.is_alive:
            self.start()
        self.client.flushall()
        self.client.script_flush()
        return self

    @property
    def is_alive(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL; nothing of it is left, not on disk either."""
        self._process.kill()
        self._process.wait()

    def signal(self, number: int) -> None:
        """Stop it or let it go on."""
        self._process.send_signal(number)

    def close(self) -> None:
        """The end."""
        self.client.close()
        if self.is_alive:
            self.kill()


@contextmanager
def configured(redis: OwnRedis, **settings: str) -> Iterator[None]:
    """Other settings of its own, for a while."""
    before = {name: redis.client.config_get(name)[name] for name in settings}
    try:
        for name, value in settings.items():
            redis.client.config_set(name, value)
        yield
    finally:
        for name, value in before.items():
            redis.client.config_set(name, value)
