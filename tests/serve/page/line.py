"""The network between the browser and the service, which can be cut, or go silent."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from chaos.proxy import HOST, Proxy
from chaos.toxics import Down, Timeout


class Line:
    """A proxy in a thread of its own: the thread of the tests belongs to the browser's driver."""

    def __init__(self, proxy: Proxy, loop: asyncio.AbstractEventLoop) -> None:
        self._proxy, self._loop = proxy, loop

    @property
    def http(self) -> str:
        """Base of the routes, as they are reached through here."""
        return f"http://{HOST}:{self._proxy.port}"

    def cut(self) -> None:
        """Every connection is reset, and none can be made."""
        self._do(self._proxy.set(Down()))

    def silence(self) -> None:
        """Nothing passes, and nobody is told."""
        self._do(self._proxy.set(Timeout()))

    def mend(self) -> None:
        """As in the beginning."""
        self._do(self._proxy.clear())

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def line(port: int) -> Iterator[Line]:
    """A line to a service on this machine."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="line")
    thread.start()
    try:
        proxy = Proxy(HOST, port)
        asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result(10)
        try:
            yield Line(proxy, loop)
        finally:
            asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
