"""A TCP proxy on loopback that harms what passes.

    async with Proxy("127.0.0.1", 9092, seed=1) as proxy:      # clients connect to proxy.port
        await proxy.set(Latency(0.1, jitter_s=0.05), Slicer(1))     # on all connections, both ways, from now on
        await proxy.set(ResetPeer(), only=b"^GET /api/")
        await proxy.clear()

It knows no protocol, so it serves WebSocket, REST and Kafka alike; `only` tells connections apart by the first bytes
that their client sends. What a connection holds is bounded: a receiver who does not read stops the sender, as without
a proxy.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Self, TypeVar

from chaos.toxics import Bandwidth, Down, Latency, LimitData, ResetPeer, Slicer, SlowClose, Timeout, Toxic

HOST = "127.0.0.1"

_CHUNK_BYTES = 32 * 2**10
_CHUNKS = 32
"""Chunks on their way in one direction of one connection: with `_CHUNK_BYTES`, at most 1 MiB."""
_BANDWIDTH_STEP_S = 0.02
_LOOK_S = 0.02
"""How often a connection looks whether it is to be reset."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class _Placed:
    """A toxic with the place where it works. Two alike are two."""

    toxic: Toxic
    towards: str
    only: re.Pattern[bytes] | None
    since_s: float


class Proxy:
    """Listens on a free port of loopback until the block is left, which cuts every connection off."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        """`host` and `port`: where connections are passed on to. The same seed draws the same jitter and slices."""
        self.target = host, port
        self.seed = seed
        self.port = 0
        self.accepted = 0
        """Connections so far."""
        self.struck: Counter[str] = Counter()
        """How many chunks or connections each kind of toxic has harmed."""
        self.placed: list[_Placed] = []
        self.changed = asyncio.Event()
        """Is set, and replaced, when the toxics change."""
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(_LOOK_S)  # the event loop takes a turn to close what was cut off

    async def set(self, *toxics: Toxic, towards: str = "", only: bytes = b"") -> None:
        """Add toxics, on what goes `towards` the "client" or the "server" (empty: both)."""
        if towards not in ("", "client", "server"):
            raise ValueError(f"towards={towards!r} must be client, server or empty")
        now_s = asyncio.get_running_loop().time()
        pattern = re.compile(only) if only else None
        self.placed += [_Placed(toxic, towards, pattern, now_s) for toxic in toxics]
        await self._apply()

    async def clear(self) -> None:
        """Take all toxics away: what they held back goes on, and who was refused is heard again."""
        self.placed = []
        await self._apply()

    async def _apply(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()
        down = any(isinstance(placed.toxic, Down) for placed in self.placed)
        if down and self._server:
            self.struck[Down.__name__] += 1
            await self._leave()
        elif not down and not self._server:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, HOST, self.port, limit=_CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _leave(self) -> None:
        if self._server:
            self._server.close()
            self._server = None
        for link in self._links:
            link.cut()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            upstream = await asyncio.open_connection(*self.target, limit=_CHUNK_BYTES)
        except OSError:  # nobody there: what the client would have met without a proxy, nearly
            _reset(writer)
            return
        link = _Link(self, self.accepted, (reader, writer), upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One connection: two directions, one end."""

    def __init__(self, proxy: Proxy, number: int, client: Stream, server: Stream) -> None:
        self.proxy = proxy
        self.number = number
        self.opening = b""
        """The first bytes from the client."""
        self._began_s = asyncio.get_running_loop().time()
        self._is_cut = False
        self._client, self._server = client, server

    async def run(self) -> None:
        """Until both directions have ended, or something has cut the connection off."""
        upwards = _Direction(self, "server", self._client[0], self._server[1])
        downwards = _Direction(self, "client", self._server[0], self._client[1])
        works = (upwards.read(), upwards.write(), downwards.read(), downwards.write())
        tasks = [asyncio.create_task(work) for work in works]
        passing, cut = asyncio.gather(*tasks), asyncio.create_task(self._cut_when_due())
        try:
            await asyncio.wait((passing, cut), return_when=asyncio.FIRST_COMPLETED)
            error = passing.exception() if passing.done() else None
            if cut.done() or isinstance(error, OSError):
                for _, writer in (self._client, self._server):
                    _reset(writer)
            elif error is not None and not isinstance(error, _LimitError):
                raise error
        finally:
            for task in (*tasks, cut):
                task.cancel()
            for _, writer in (self._client, self._server):
                writer.close()
            await asyncio.gather(passing, cut, return_exceptions=True)
            await asyncio.gather(*(_closed(writer) for _, writer in (self._client, self._server)))

    def cut(self) -> None:
        """Send a RST to both ends."""
        self._is_cut = True

    def toxics(self, towards: str) -> list[_Placed]:
        """What harms this connection in a direction now."""
        return [
            placed
            for placed in self.proxy.placed
            if placed.towards in ("", towards) and (placed.only is None or placed.only.search(self.opening))
        ]

    async def _cut_when_due(self) -> None:
        """Until somebody cuts the connection off, or a toxic does."""
        loop = asyncio.get_running_loop()
        while not self._is_cut:
            for placed in self.toxics("client") + self.toxics("server"):
                since_s = max(placed.since_s, self._began_s)
                if isinstance(placed.toxic, ResetPeer) and loop.time() >= since_s + placed.toxic.after_s:
                    self.proxy.struck[ResetPeer.__name__] += 1
                    return
            await asyncio.sleep(_LOOK_S)


class _LimitError(Exception):
    """The connection has passed on all that it may."""


class _Direction:
    """What goes from one end to the other: read, held for its time, and written, whole or in pieces."""

    def __init__(self, link: _Link, towards: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._link, self._towards = link, towards
        self._reader, self._writer = reader, writer
        self._random = random.Random(f"{link.proxy.seed}/{link.number}/{towards}")
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS)
        """With the time at which each may go on; an empty one is the end."""
        self._passed: Counter[_Placed] = Counter()
        """Bytes since a limit was set."""

    async def read(self) -> None:
        """Take in what comes, as long as there is room."""
        due_s = 0.0
        while True:
            chunk = await self._reader.read(_CHUNK_BYTES)
            if self._towards == "server" and not self._link.opening:
                self._link.opening = chunk
            delay_s = sum(
                max(0.0, latency.delay_s + self._random.uniform(-latency.jitter_s, latency.jitter_s))
                for latency in self._active(Latency)
            )
            due_s = max(due_s, self._loop.time() + delay_s)
            await self._chunks.put((due_s, chunk))
            if not chunk:
                return

    async def write(self) -> None:
        """Pass it on as the toxics allow."""
        while True:
            due_s, chunk = await self._chunks.get()
            await asyncio.sleep(due_s - self._loop.time())
            if not chunk:
                await asyncio.sleep(sum(slow.delay_s for slow in self._active(SlowClose)))
                if not self._writer.is_closing():
                    self._writer.write_eof()
                return
            while chunk:
                await self._released()
                size, pause_s = self._piece(len(chunk))
                self._writer.write(chunk[:size])
                chunk = chunk[size:]
                await self._writer.drain()
                await asyncio.sleep(pause_s)

    async def _released(self) -> None:
        while True:
            changed = self._link.proxy.changed
            if not self._active(Timeout):
                return
            await changed.wait()

    def _piece(self, size: int) -> tuple[int, float]:
        """How many bytes may go at once, and how long to rest after them. Raises `_LimitError`."""
        pause_s = 0.0
        for slicer in self._active(Slicer):
            size = min(size, self._random.randint(max(1, slicer.size // 2), slicer.size + slicer.size // 2))
            pause_s += slicer.pause_s
        for bandwidth in self._active(Bandwidth):
            size = min(size, max(1, int(bandwidth.bytes_per_s * _BANDWIDTH_STEP_S)))
            pause_s += size / bandwidth.bytes_per_s
        for placed in self._link.toxics(self._towards):
            if isinstance(placed.toxic, LimitData):
                size = min(size, placed.toxic.limit - self._passed[placed])
                if size <= 0:
                    self._link.proxy.struck[LimitData.__name__] += 1
                    raise _LimitError
        for placed in self._link.toxics(self._towards):
            if isinstance(placed.toxic, LimitData):
                self._passed[placed] += size
        return size, pause_s

    def _active(self, kind: type[T]) -> list[T]:
        """The toxics of a kind that work here now; each is noted as having struck."""
        found: list[T] = [placed.toxic for placed in self._link.toxics(self._towards) if isinstance(placed.toxic, kind)]
        if found:
            self._link.proxy.struck[kind.__name__] += 1
        return found


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Wait until what was written has gone out; when cancelled, no longer."""
    try:
        await writer.wait_closed()
    except OSError:
        pass
    except asyncio.CancelledError:
        writer.transport.abort()
        raise


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a RST: what is unsent is thrown away (SO_LINGER of no time, socket(7))."""
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
