"""The connections of one exchange, against a server that refuses whole subscriptions, as Coinbase does."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection

from producer.exchanges.venues import Venue, venues_of
from producer.feeds.frames import Frames
from producer.streams import Streams
from tests.producer.feeds.servers import WITHIN_S, exchange, until


class Coinbase:
    """Takes subscriptions to known products; others void the whole message, with a text that names none."""

    def __init__(self, *products: str) -> None:
        self.taken: list[set[str]] = []
        """What each connection has subscribed to."""
        self.refusals = 0
        self._products = set(products)

    async def attend(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        taken: set[str] = set()
        self.taken.append(taken)
        async for message in connection:
            asked = set(json.loads(message).get("product_ids", ()))
            if asked <= self._products:
                taken |= asked
                await connection.send('{"type":"subscriptions","channels":[]}')
            else:
                self.refusals += 1
                await connection.send('{"type":"error","message":"Invalid product ID provided"}')


def venue_of(source: str, url: str) -> Venue:
    """A venue of that exchange at our server, which allows more messages a second."""
    (venue,) = venues_of(source, simulator="")
    return replace(venue, stream_base=url, protocol=replace(venue.protocol, greeting_interval_s=0.01))


@pytest.mark.parametrize("source", ["coinbase", "coinbase-advanced"])
def test_a_bad_product_that_is_not_named_is_refused_alone(source: str, caplog: pytest.LogCaptureFixture) -> None:
    """After one refusal each product has its own message: the others are brought, and nothing is asked in a circle."""
    caplog.set_level(logging.ERROR, "producer.streams")
    server = Coinbase("BTC-USD", "ETH-USD", "SOL-USD")
    products = {"BTCUSD": "BTC-USD", "BADUSD": "BAD-USD", "ETHUSD": "ETH-USD", "SOLUSD": "SOL-USD"}

    async def scenario() -> None:
        async with exchange(server.attend) as url:
            streams = Streams([venue_of(source, url)], products, Frames(100))
            task = asyncio.create_task(streams.run())
            try:
                async with asyncio.timeout(WITHIN_S):
                    await until(lambda: server.refusals == 1)
                    await streams.bisect(0)
                    await until(lambda: server.taken == [{"BTC-USD", "ETH-USD", "SOL-USD"}])
                    await until(lambda: server.refusals == 2)
                    await streams.bisect(0)  # it is told of the refusal of that one too
                    await streams.do_without(0, "SOL-USD")
                    await until(lambda: server.refusals == 3)
                    assert len(server.taken) == 1
            finally:
                task.cancel()
                await asyncio.wait([task])

    asyncio.run(scenario())
    assert caplog.messages == [
        "coinbase refuses a product and does not name it: each of 4 is subscribed to on its own",
        "coinbase does not know SOL-USD any more: it is left out, the others are read on",
    ]


def test_a_lone_product_that_is_refused_is_the_bad_one(caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, as one that is named."""
    caplog.set_level(logging.ERROR, "producer.streams")

    async def scenario() -> list[str]:
        streams = Streams([venue_of("coinbase", "ws://127.0.0.1:9")], {"BADUSD": "BAD-USD"}, Frames(100))
        await streams.bisect(0)
        return streams.symbols(0)

    assert asyncio.run(scenario()) == []
    assert caplog.messages == ["coinbase does not know BAD-USD any more: it is left out, the others are read on"]
