"""A proxy between a client and a server that sends back what it gets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from chaos.proxy import HOST, Proxy

WITHIN_S = 20.0
MIB = bytes(range(256)) * 4096


@dataclass
class Wire:
    """A proxy in front of a server that sends back what it gets, and what that server has got."""

    proxy: Proxy
    got: list[bytes] = field(default_factory=list)
    ends: list[type[BaseException] | None] = field(default_factory=list)
    """How each connection ended for the server: with None in order, else with an error."""

    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A client's connection."""
        reader, writer = await asyncio.open_connection(HOST, self.proxy.port)
        self.clients.append(writer)
        return reader, writer

    async def echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The server."""
        try:
            while data := await reader.read(65536):
                self.got.append(data)
                writer.write(data)
                await writer.drain()
            self.ends.append(None)
        except ConnectionError as error:
            self.ends.append(type(error))
        finally:
            writer.close()


def on(scenario: Callable[[Wire], Awaitable[None]], seed: int = 1) -> None:
    """Run a scenario on a wire, bounded in time."""

    async def main() -> None:
        wire = Wire(Proxy(HOST, 1))
        async with (
            asyncio.timeout(WITHIN_S),
            await asyncio.start_server(wire.echo, HOST, 0) as server,
            Proxy(HOST, server.sockets[0].getsockname()[1], seed=seed) as proxy,
        ):
            wire.proxy = proxy
            try:
                await scenario(wire)
            finally:
                server.close()
                for client in wire.clients:
                    client.close()
                    with suppress(OSError):
                        await client.wait_closed()

    asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until a condition holds; the scenario's time bounds it."""
    while not condition():
        await asyncio.sleep(0.005)


def now() -> float:
    """The loop's time in seconds."""
    return asyncio.get_running_loop().time()


async def sent_and_echoed(wire: Wire, data: bytes) -> float:
    """Send data over a connection of its own, get it back whole; the seconds that took."""
    reader, writer = await wire.connect()
    began = now()
    writer.write(data)
    assert await reader.readexactly(len(data)) == data
    writer.close()
    return now() - began
