"""A proxy for code that is not asynchronous: it runs in a thread of its own.

with proxied("127.0.0.1", 9092) as wire:       # clients connect to wire.port
    wire.set(Latency(0.1))
    …
    wire.clear()
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from chaos.proxy import Proxy
from chaos.toxics import Toxic

_WITHIN_S = 10.0


class Wire:
    """A running proxy."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy, self._loop = proxy, loop

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._proxy.port

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return self._proxy.accepted

    @property
    def struck(self) -> Counter[str]:
        """How many chunks or connections each kind of toxic has harmed so far."""
        return Counter(self._proxy.struck)

    def set(self, *toxics: Toxic, towards: str = "", only: bytes = b"") -> None:
        """As `Proxy.set`."""
        self._do(self._proxy.set(*toxics, towards=towards, only=only))

    def clear(self) -> None:
        """As `Proxy.clear`."""
        self._do(self._proxy.clear())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN_S)


@contextmanager
def proxied(host: str, port: int, *, seed: int = 0) -> Iterator[Wire]:
    """A proxy to an address, until the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name=f"proxy to {host}:{port}", daemon=True)
    thread.start()
    proxy = Proxy(host, port, seed=seed)
    try:
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(_WITHIN_S)
        try:
            yield Wire(proxy, loop)
        finally:
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(_WITHIN_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WITHIN_S)
        loop.close()
