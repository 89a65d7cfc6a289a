"""The toxics, each on a real connection between a client and an echo server."""

from __future__ import annotations

import asyncio
from itertools import accumulate, pairwise

import pytest

from chaos.proxy import HOST, Proxy
from chaos.toxics import Bandwidth, Down, Latency, LimitData, ResetPeer, Slicer, SlowClose, Timeout
from tests.chaos.wires import MIB, WITHIN_S, Wire, now, on, sent_and_echoed, until


def test_without_toxics_everything_passes_both_ways_and_ends_in_order() -> None:
    """A mebibyte there and back unchanged, a half-closed connection still answers, and both see a regular end."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(MIB)
        writer.write_eof()
        assert await reader.read(-1) == MIB
        assert b"".join(wire.got) == MIB
        writer.close()
        await until(lambda: wire.ends == [None])
        assert wire.proxy.struck == {}
        assert wire.proxy.accepted == 1

    on(scenario)


def test_latency_delays_every_chunk_and_keeps_the_order() -> None:
    """With 50 ms ± 40 ms each way nothing is back sooner than 20 ms, and pieces with unequal delays stay in order."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(Latency(0.05, jitter_s=0.04))
        assert await sent_and_echoed(wire, b"once") >= 0.02
        reader, writer = await wire.connect()
        lines = [b"%d\n" % number for number in range(40)]
        for line in lines:
            writer.write(line)
            await asyncio.sleep(0.001)
        assert [await reader.readline() for _ in lines] == lines
        assert wire.proxy.struck["Latency"] > 40
        writer.close()

    on(scenario)


def test_latency_does_not_limit_the_throughput() -> None:
    """Chunks are on their way together: a mebibyte with 100 ms each way takes less than its 33 chunks one by one."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(Latency(0.1))
        assert 0.2 <= await sent_and_echoed(wire, MIB) < 33 * 0.1

    on(scenario)


def test_bandwidth_bounds_the_rate_of_the_direction_it_is_set_on() -> None:
    """60,000 bytes at 100,000 a second to the server take at least half a second; the way back is free."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(Bandwidth(100_000), towards="server")
        assert await sent_and_echoed(wire, MIB[:60_000]) >= 0.5
        await wire.proxy.clear()
        await wire.proxy.set(Bandwidth(100_000), towards="client")
        reader, writer = await wire.connect()
        began = now()
        writer.write(MIB[:60_000])
        await until(lambda: sum(map(len, wire.got)) == 120_000)
        arrived = now() - began
        await reader.readexactly(60_000)
        assert arrived < now() - began >= 0.5
        writer.close()

    on(scenario)


def test_the_slicer_cuts_to_single_bytes() -> None:
    """With slices of one byte and a pause, the server reads byte by byte, and gets all of them."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(Slicer(1, pause_s=0.002), towards="server")
        await sent_and_echoed(wire, MIB[:200])
        assert b"".join(wire.got) == MIB[:200]
        assert len(wire.got) > 100  # nearly each byte by itself; on a busy machine two may be read at once

    on(scenario)


def test_the_same_seed_cuts_at_the_same_places() -> None:
    """Cuts are drawn from the seed, the connection's number and the direction, and from nothing else.

    A busy server may read two pieces as one, so that a cut is not seen; but pieces have at least 500 bytes, so the
    cuts of two equal runs, taken together, are never nearer than that, and those of unequal ones are.
    """

    def cuts(seed: int) -> set[int]:
        async def scenario(wire: Wire) -> None:
            await wire.proxy.set(Slicer(1000, pause_s=0.005), towards="server")
            reader, writer = await wire.connect()
            writer.write(MIB[:20_000])
            await reader.readexactly(20_000)
            writer.close()
            found.update(accumulate(map(len, wire.got)))

        found: set[int] = set()
        on(scenario, seed)
        return found

    def nearest(places: set[int]) -> int:
        return min(after - before for before, after in pairwise(sorted(places - {20_000})))

    first = cuts(1)
    assert nearest(first | cuts(1)) >= 500
    assert nearest(first | cuts(2)) < 500


def test_a_timeout_holds_everything_back_until_it_is_gone() -> None:
    """Nothing passes and the connection stays; what was sent meanwhile follows whole when the toxic is taken away."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(b"before\n")
        assert await reader.readline() == b"before\n"
        await wire.proxy.set(Timeout())
        writer.write(b"during\n")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readline(), 0.3)
        assert (wire.got, wire.ends) == ([b"before\n"], [])
        await wire.proxy.clear()
        assert await reader.readline() == b"during\n"
        writer.close()

    on(scenario)


def test_a_sender_is_stopped_when_the_receiver_gets_nothing() -> None:
    """The proxy holds a bounded part of what comes in: 64 MiB cannot be sent into a connection that passes nothing."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(Timeout(), towards="server")
        _, writer = await wire.connect()
        accepted = 0
        while accepted < 64:
            writer.write(MIB)
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except TimeoutError:
                break
            accepted += 1
        assert accepted < 32
        writer.transport.abort()

    on(scenario)


def test_reset_peer_gives_both_ends_a_rst_old_and_new_connections_alike() -> None:
    """An open connection is reset when the toxic comes, and each new one after its time; not those it is not for."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        spared, other = await wire.connect()
        writer.write(b"GET /api/v3/time\n")
        other.write(b"GET /stream\n")
        await reader.readline()
        await spared.readline()
        await wire.proxy.set(ResetPeer(), only=b"^GET /api/")
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        await until(lambda: wire.ends == [ConnectionResetError])
        other.write(b"still\n")
        assert await spared.readline() == b"still\n"
        await wire.proxy.clear()
        await wire.proxy.set(ResetPeer(after_s=1.5))
        began = now()
        reader, writer = await wire.connect()
        writer.write(b"new\n")
        assert await reader.readline() == b"new\n"
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        assert now() - began >= 1.5
        await until(lambda: wire.proxy.struck["ResetPeer"] == 3)
        other.close()

    on(scenario)


def test_slow_close_passes_the_end_on_later() -> None:
    """The client's end reaches the server a quarter of a second after it was sent."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(SlowClose(0.25), towards="server")
        reader, writer = await wire.connect()
        writer.write(b"all\n")
        await reader.readline()
        began = now()
        writer.write_eof()
        await until(lambda: wire.ends == [None])
        assert now() - began >= 0.25
        writer.close()

    on(scenario)


def test_limit_data_closes_after_so_many_bytes() -> None:
    """Exactly the first thousand bytes reach the server, and the client sees the end of the connection."""

    async def scenario(wire: Wire) -> None:
        await wire.proxy.set(LimitData(1000), towards="server")
        reader, writer = await wire.connect()
        writer.write(MIB[:5000])
        received = await reader.read(-1)
        assert MIB.startswith(received)
        await until(lambda: len(wire.ends) == 1)
        assert b"".join(wire.got) == MIB[:1000]
        assert wire.proxy.struck == {"LimitData": 1}
        writer.close()

    on(scenario)


def test_down_refuses_and_cuts_off_until_it_is_taken_away() -> None:
    """An open connection ends, a new one is refused, and afterwards the same port serves again."""

    async def scenario(wire: Wire) -> None:
        reader, writer = await wire.connect()
        writer.write(b"before\n")
        await reader.readline()
        await wire.proxy.set(Down())
        with pytest.raises(ConnectionResetError):
            await reader.readline()
        with pytest.raises(ConnectionRefusedError):
            await wire.connect()
        await wire.proxy.clear()
        await sent_and_echoed(wire, b"again")
        writer.close()

    on(scenario)


def test_a_server_that_is_not_there_is_a_reset() -> None:
    """The proxy outlives its target: the client is cut off, and told so at once."""

    async def main() -> None:
        async with asyncio.timeout(WITHIN_S), Proxy(HOST, 1) as proxy:
            reader, writer = await asyncio.open_connection(HOST, proxy.port)
            with pytest.raises(ConnectionResetError):
                await reader.readline()
            writer.close()

    asyncio.run(main())


def test_a_direction_that_is_none_is_refused() -> None:
    """The message names what was seen and what is allowed."""

    async def scenario(wire: Wire) -> None:
        with pytest.raises(ValueError, match=r"^towards='up' must be client, server or empty$"):
            await wire.proxy.set(Timeout(), towards="up")

    on(scenario)
