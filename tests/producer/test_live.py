"""Live sources, against small exchanges on this machine that speak as much of the protocols as is needed."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from producer import live
from producer.exchanges.venues import BINANCE, COINBASE, Venue
from producer.feeds.feed import FeedRefusedError
from producer.ledger import Ledger
from tests.producer.doubles import ScriptedKafka, publisher, until

WITHIN_S = 10.0


@pytest.fixture(autouse=True)
def _quick_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats come fifty times as often as in earnest."""
    monkeypatch.setattr(live, "BEAT_S", 0.02)


def now_ms() -> int:
    """Our clock."""
    return time.time_ns() // 1_000_000


def binance_trade(trade_id: int, **changes: Any) -> str:
    """A trade of this moment, as the combined stream sends it."""
    data = {"e": "trade", "E": 1, "s": "BTCUSDT", "t": trade_id, "p": "1.50", "q": "2", "T": now_ms(), "m": True}
    return json.dumps({"stream": "btcusdt@trade", "data": data | changes})


class Exchange:
    """Answers fixed REST bodies, notes what WebSocket clients send, and sends them what a test says."""

    def __init__(self, bodies: dict[str, Any]) -> None:
        self.bodies = bodies
        self.heard: list[Any] = []
        self.client: web.WebSocketResponse | None = None

    @property
    def connected(self) -> bool:
        """Whether a client has subscribed."""
        return self.client is not None

    async def say(self, frame: str) -> None:
        """Send a frame to the client."""
        assert self.client is not None
        await self.client.send_str(frame)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """A WebSocket, or the body of the path."""
        if request.headers.get("Upgrade") != "websocket":
            body = self.bodies.get(request.path)
            return web.Response(status=body) if isinstance(body, int) else web.json_response(body)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self.heard.append(json.loads(message.data))
                self.client = socket
        self.client = None
        return socket


@asynccontextmanager
async def serving(exchange: Exchange) -> AsyncIterator[str]:
    """The host and port at which an exchange answers."""
    application = web.Application()
    application.router.add_route("GET", "/{path:.*}", exchange.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def reading(
    venues: list[Venue], symbols: list[str], kafka: ScriptedKafka, ledger: Ledger
) -> AsyncIterator[asyncio.Task[None]]:
    """Live sources at work."""
    work = live.run(venues, symbols=symbols, publisher=publisher(kafka), ledger=ledger, tolerance_ms=2_000)
    task: asyncio.Task[None] = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


def binance_at(address: str) -> Venue:
    """Binance at a test's address."""
    return Venue(
        source="binance",
        exchange="binance",
        protocol=BINANCE,
        stream_base=f"ws://{address}",
        rest_base=f"http://{address}",
    )


def coinbase_at(address: str) -> Venue:
    """Coinbase at a test's address."""
    return replace(binance_at(address), source="coinbase", exchange="coinbase", protocol=COINBASE)


BINANCE_BODIES = {
    "/api/v3/exchangeInfo": {"symbols": [{"symbol": "BTCUSDT", "status": "TRADING"}]},
    "/api/v3/time": {"serverTime": 1_723_161_255_000},
}


def test_binance_trades_are_published_once_and_bad_ones_counted() -> None:
    """Subscribed as documented; a trade that comes twice, one from the future and one damaged do not get through."""

    async def scenario() -> None:
        exchange, kafka, ledger = Exchange(BINANCE_BODIES), ScriptedKafka(), Ledger()
        async with serving(exchange) as address, reading([binance_at(address)], ["btc-usdt", "XXX"], kafka, ledger):
            await until(lambda: exchange.connected)
            for frame in (
                '{"result":null,"id":1}',
                binance_trade(7),
                binance_trade(7),
                binance_trade(8, T=now_ms() + 60_000),
                binance_trade(9, p="-1"),
                binance_trade(10)[:-5],
                binance_trade(11),
            ):
                await exchange.say(frame)
            await until(lambda: ledger.received == 7)
            trades = [content for content, _, _ in kafka.sent if "trade_id" in content]
            assert exchange.heard == [{"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}]
            assert [(one["exchange"], one["trade_id"]) for one in trades] == [("binance", 7), ("binance", 11)]
            assert (ledger.duplicates, ledger.rejected.total(), ledger.passed_over) == (1, 3, {"reply": 1})

    asyncio.run(scenario())


def test_binance_heartbeats_are_the_exchanges_time_less_a_second_and_end_with_the_connection() -> None:
    """However far our clock is from the exchange's, heartbeats follow the exchange's, and stop when it is gone."""

    async def scenario() -> list[int]:
        exchange, kafka = Exchange(BINANCE_BODIES), ScriptedKafka()
        async with serving(exchange) as address, reading([binance_at(address)], ["BTCUSDT"], kafka, Ledger()):
            began = time.monotonic()
            await until(lambda: len(kafka.sent) >= 4)
            passed_ms = (time.monotonic() - began) * 1000
            beats = [content["heartbeat"] for content, _, _ in kafka.sent]
            assert [partition for _, _, partition in kafka.sent[:4]] == [0, 1, 0, 1]
            start_ms = 1_723_161_255_000 - 1_000
            assert all(start_ms <= beat <= start_ms + passed_ms for beat in beats)
        return beats

    beats = asyncio.run(scenario())
    assert beats == sorted(beats)
    assert beats[0] == beats[1] < beats[2] == beats[3]


def coinbase_match(trade_id: int, kind: str = "match") -> str:
    """A Coinbase trade of an earlier minute."""
    data = {"type": kind, "trade_id": trade_id, "side": "sell", "size": "1", "price": "2", "product_id": "BTC-USD"}
    return json.dumps(data | {"time": "2024-08-08T23:54:15.5Z"})


def test_coinbases_last_match_counts_only_where_it_follows() -> None:
    """The trade before the first one read stays out, for its second cannot be whole; after a cut it may be the next."""

    async def scenario() -> None:
        exchange, kafka, ledger = Exchange({"/products": [{"id": "BTC-USD"}]}), ScriptedKafka(), Ledger()
        async with serving(exchange) as address, reading([coinbase_at(address)], ["BTC-USD"], kafka, ledger):
            await until(lambda: exchange.connected)
            for frame in (
                coinbase_match(10, "last_match"),
                coinbase_match(11),
                coinbase_match(11, "last_match"),
                coinbase_match(12, "last_match"),
                coinbase_match(20, "last_match"),
            ):
                await exchange.say(frame)
            await until(lambda: ledger.received == 5)
            assert [content["trade_id"] for content, _, _ in kafka.sent if "trade_id" in content] == [11, 12]
            assert ledger.passed_over == {"trade whose forerunner is not known": 3}

    asyncio.run(scenario())


def test_a_heartbeat_waits_for_the_trades_before_it() -> None:
    """While Kafka has not acknowledged a trade, no heartbeat overtakes it."""

    async def scenario() -> None:
        exchange, kafka = Exchange(BINANCE_BODIES), ScriptedKafka(held=True)
        async with serving(exchange) as address, reading([binance_at(address)], ["BTCUSDT"], kafka, Ledger()):
            await until(lambda: exchange.connected)
            await exchange.say(binance_trade(1))
            await asyncio.sleep(10 * live.BEAT_S)  # that nothing comes takes time to see
            assert [content.get("trade_id") for content, _, _ in kafka.sent] == [1]
            kafka.acknowledge(1)
            await until(lambda: len(kafka.sent) > 1)
            assert "heartbeat" in kafka.sent[1][0]

    asyncio.run(scenario())


def test_coinbase_heartbeats_are_those_of_its_frames() -> None:
    """Each heartbeat bears the time of the latest heartbeat frame; when none comes, none is sent."""

    async def scenario() -> None:
        bodies = {"/products": [{"id": "BTC-USD", "status": "online"}]}
        exchange, kafka, ledger = Exchange(bodies), ScriptedKafka(), Ledger()
        async with serving(exchange) as address, reading([coinbase_at(address)], ["BTC-USD"], kafka, ledger):
            await until(lambda: exchange.connected)
            beat = {"type": "heartbeat", "product_id": "BTC-USD", "last_trade_id": 1, "sequence": 1}
            await exchange.say(json.dumps(beat | {"time": "2014-11-07T08:19:28.464459Z"}))
            await until(lambda: len(kafka.sent) == 2)
            await asyncio.sleep(10 * live.BEAT_S)  # the exchange is silent
            assert kafka.sent == [({"exchange": "coinbase", "heartbeat": 1415348367464}, None, n) for n in (0, 1)]
            assert exchange.heard[0]["channels"] == ["matches", "heartbeat"]

    asyncio.run(scenario())


def test_symbols_that_nobody_trades_end_the_program() -> None:
    """The error says what was asked for, where, and how to say it."""

    async def scenario() -> None:
        async with serving(Exchange(BINANCE_BODIES)) as address:
            with pytest.raises(live.NothingToReadError) as caught:
                async with reading([binance_at(address)], ["XXX-USD"], ScriptedKafka(), Ledger()) as task:
                    await asyncio.wait_for(task, WITHIN_S)
            assert str(caught.value) == (
                "none of SYMBOLS=XXX-USD is traded at binance; "
                "name symbols as the exchange lists them, such as binance:BTCUSDT or coinbase:BTC-USD"
            )

    asyncio.run(scenario())


def test_an_exchange_that_does_not_serve_us_ends_the_program() -> None:
    """HTTP 451 is explained, not retried."""

    async def scenario() -> None:
        async with serving(Exchange({"/api/v3/exchangeInfo": 451})) as address:
            with pytest.raises(FeedRefusedError, match="answered HTTP 451: the exchange does not serve this address"):
                async with reading([binance_at(address)], ["BTCUSDT"], ScriptedKafka(), Ledger()) as task:
                    await asyncio.wait_for(task, WITHIN_S)

    asyncio.run(scenario())
