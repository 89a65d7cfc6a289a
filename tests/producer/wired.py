"""The simulator's exchanges, read by all of the live producer's own parts into a Kafka that is scripted."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from market.metrics import Sample
from market.settings import load
from producer import heartbeats, source, vigil
from producer.completeness import beginning
from producer.completeness.backfill import Backfill
from producer.completeness.resume import Tail
from producer.exchanges.venues import ADVANCED, BINANCE, COINBASE, Patience, Protocol, Venue
from producer.feeds.watch import Quiet
from producer.ledger import Ledger
from producer.live import Live
from producer.publishing.publish import Publisher
from producer.publishing.spill import Spill
from producer.status import Status
from simulator.clock import Clock, parse_us
from simulator.faults import read_faults
from simulator.schedule import Schedule
from simulator.server import Simulator, serve
from simulator.sockets import Limits
from tests.producer.doubles import ScriptedKafka, publisher, until

MINUTE_US = 60_000_000
MARGIN_MS = 600
"""How far heartbeats lag behind in a hurry; the simulator tells a trade up to 217 ms late."""
HELD_UP_MS = 850
"""Longer than that: a heartbeat that did not wait would run ahead."""
QUICK = Patience(silence_s=5, connect_s=5, first_delay_s=0.05, longest_delay_s=0.2, session_s=5)
PROTOCOLS = {"binance": BINANCE, "coinbase": COINBASE, "coinbase-advanced": replace(ADVANCED, stream_path="/advanced")}
SYMBOLS = {  # two busy ones, a slow one, and one at rest
    "binance": ("BTCUSDT", "ETHUSDT", "TRXUSDT", "ZILBTC"),
    "coinbase": ("BTCUSD", "ETHUSD", "USDTUSD", "BANDGBP"),
    "coinbase-advanced": ("BTCUSD", "ETHUSD", "USDTUSD", "BANDGBP"),
}


class Exchange:
    """A serving simulator, with its faults and its truth."""

    def __init__(self, simulator: Simulator, schedule: Schedule) -> None:
        self.schedule = schedule
        self.address = f"{simulator.host}:{simulator.port}"
        self._clock = simulator.clock
        self._tapes = {market.symbol.replace("-", ""): (market, tape) for market, tape in simulator.tapes.items()}
        self.minute_us = self._clock.now_us() // MINUTE_US * MINUTE_US

    def strike(self, *faults: dict[str, Any]) -> None:
        """Let faults come from now on."""
        self.schedule.add(read_faults(json.dumps(faults)), time.monotonic())

    def venue(self, name: str, **changes: Any) -> Venue:
        """One of the exchanges as the producer sees it; `changes` of its protocol."""
        protocol: Protocol = replace(PROTOCOLS[name], **{"patience": QUICK, **changes})
        return Venue(
            source=name,
            exchange=f"sim-{name.partition('-')[0]}",
            protocol=protocol,
            stream_base=f"ws://{self.address}",
            rest_base=f"http://{self.address}",
        )

    def now_ms(self) -> int:
        """The exchanges' time."""
        return self._clock.now_us() // 1000

    def next_id(self, symbol: str, time_us: int | None = None) -> int:
        """The id of the first trade at or after a time: now, where none is given."""
        return self._tapes[symbol][1].count_before(self._clock.now_us() if time_us is None else time_us)

    def first_id(self, symbol: str) -> int:
        """That of the first trade in the minute in which the simulator began."""
        return self.next_id(symbol, self.minute_us)

    def truth(self, symbol: str, first: int, last: int) -> list[tuple[Any, ...]]:
        """The trades first..last: id, time in ms, price, quantity, whether the buyer was the maker."""
        market, tape = self._tapes[symbol]
        return [
            (
                number,
                time_us // 1000,
                Decimal(price).scaleb(-market.price_decimals),
                Decimal(quantity).scaleb(-market.quantity_decimals),
                is_buyer_maker,
            )
            for number, time_us, price, quantity, is_buyer_maker in tape.numbered(first, last + 1).rows()
        ]


@asynccontextmanager
async def simulated(start: str = "2024-01-01T00:00:02Z", rate: float = 300.0) -> AsyncIterator[Exchange]:
    """A simulator of which the exchanges' clock starts there; ours shows the same, where the beginning asks it."""
    schedule = Schedule()
    clock = Clock(start_us=parse_us(start))
    with pytest.MonkeyPatch.context() as patch:
        ours = SimpleNamespace(monotonic=time.monotonic, time_ns=lambda: clock.now_us() * 1000)
        patch.setattr(beginning, "time", ours)
        limits = Limits(messages_per_s=10_000)  # heartbeats in a hurry ask for as many pongs
        async with asyncio.timeout(30), serve(rate=rate, clock=clock, limits=limits, schedule=schedule) as simulator:
            yield Exchange(simulator, schedule)


class Producer:
    """A producer at work, and what Kafka has got of it."""

    def __init__(self, venues: Sequence[Venue], kafka: ScriptedKafka, target: Publisher, **given: Any) -> None:
        self.kafka = kafka
        self.publisher = target
        self.ledger = Ledger()
        self.unaccounted: set[int] = set()
        """What the identity has come to, whenever it was looked at."""
        symbols = given.pop("symbols", None) or SYMBOLS[venues[0].source]
        tail = given.pop("tail", None) or Tail(window_ms=3_600_000)
        spill = given.pop("spill", None)
        settings = {name.upper(): str(value) for name, value in given.items()}
        self.settings = load({"SYMBOLS": ",".join(symbols), "HOLE_WAIT": "20s", **settings}, dotenv=None)
        self.live = Live(venues, self.settings, target, self.ledger, tail)
        self.status = Status(self.ledger, target, spill, self.live)
        self.error: BaseException | None = None
        """What the producer has ended with."""
        self._read = 0
        self._ids: dict[str, list[int]] = defaultdict(list)

    def ids(self, symbol: str) -> list[int]:
        """The ids of a symbol that were sent, in their order."""
        for content, _, _ in self.kafka.sent[self._read :]:
            if "trade_id" in content:
                self._ids[content["symbol"]].append(content["trade_id"])
        self._read = len(self.kafka.sent)
        return self._ids[symbol]

    def beats(self) -> list[int]:
        """The heartbeats that were sent to one partition."""
        return [content["heartbeat"] for content, _, partition in self.kafka.sent if partition == 0]

    def gaps(self, symbol: str) -> list[tuple[str, int, int, str]]:
        """The gap records of a symbol, shortened."""
        return [
            (gap["status"], gap["first_trade_id"], gap["last_trade_id"], gap["cause"])
            for gap, _, _ in self.kafka.sent
            if gap.get("symbol") == symbol and "status" in gap
        ]

    def rows(self, symbol: str) -> list[tuple[Any, ...]]:
        """The trades of a symbol that were sent, as `Exchange.truth` has them."""
        return [
            (
                sent["trade_id"],
                sent["timestamp"],
                Decimal(sent["price"]),
                Decimal(sent["quantity"]),
                sent["is_buyer_maker"],
            )
            for sent, _, _ in self.kafka.sent
            if sent.get("symbol") == symbol and "trade_id" in sent
        ]

    def samples(self) -> dict[tuple[str, ...], float]:
        """Every metric now: by its name and the values of its labels."""
        found: list[Sample] = list(self.status.samples())
        return {(name, *(text for _, text in labels)): value for name, value, labels in found}

    async def has_all(self, exchange: Exchange, symbols: Iterable[str]) -> None:
        """Wait until all is sent that the exchange has traded until now, since its first minute began."""
        for symbol in symbols:
            wanted = set(range(exchange.first_id(symbol), exchange.next_id(symbol)))
            await until(lambda wanted=wanted, symbol=symbol: wanted <= set(self.ids(symbol)))

    async def watch(self) -> None:
        """Look at the identity, for ever."""
        while True:
            self.unaccounted.add(self.status.unaccounted)
            await asyncio.sleep(0.001)


@asynccontextmanager
async def reading(
    *venues: Venue,
    kafka: ScriptedKafka | None = None,
    later: Sequence[ScriptedKafka] = (),
    records_in_flight: int = 10_000,
    spill: Spill | None = None,
    stall_s: float = 5.0,
    ends_with: type[Exception] | None = None,
    **given: Any,
) -> AsyncIterator[Producer]:
    """A producer that reads venues until the block is left, and whose account is 0 all the time.

    `given`: `symbols`, `tail`, and settings. `ends_with`: the producer ends by itself, with this error.
    """
    kafka = kafka or ScriptedKafka()
    target = publisher(kafka, *later, records_in_flight=records_in_flight, spill=spill, stall_s=stall_s)
    producer = Producer(venues, kafka, target, spill=spill, **given)
    leftovers = (spill.leftovers(), spill.forget) if spill else ((), None)
    task = asyncio.create_task(producer.live.run(*leftovers))
    watching = asyncio.create_task(producer.watch())
    try:
        yield producer
    finally:
        if not ends_with:
            task.cancel()
        await asyncio.wait([task], timeout=10)
        watching.cancel()
        await asyncio.wait([watching])
        if not kafka.held and not kafka.failure:
            await target.close(1)
    producer.error = None if task.cancelled() else task.exception()
    assert producer.error is None if ends_with is None else isinstance(producer.error, ends_with), producer.error
    assert producer.unaccounted | {producer.status.unaccounted} == {0}


def in_order(producer: Producer, exchange: Exchange, symbols: Iterable[str]) -> None:
    """Assert that of each symbol everything was sent since the minute began: each id once, in order, as it was made."""
    for symbol in symbols:
        ids = producer.ids(symbol)
        first = exchange.first_id(symbol)
        assert ids == list(range(first, first + len(ids))), symbol
        assert producer.rows(symbol) == exchange.truth(symbol, first, first + len(ids) - 1), symbol


def none_behind_a_heartbeat(producer: Producer) -> int:
    """Assert that no trade follows a heartbeat which its time does not exceed; how many heartbeats there are."""
    reached_ms = 0
    for content, _, _ in producer.kafka.sent:
        if "heartbeat" in content:
            reached_ms = content["heartbeat"]
        elif "trade_id" in content:
            assert content["timestamp"] > reached_ms, content
    return len(producer.beats())


def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is noticed, heartbeats come, and ids are given up, much sooner than in earnest."""
    monkeypatch.setattr(vigil, "_LOOK_S", 0.05)
    monkeypatch.setattr(vigil, "Quiet", partial(Quiet, silence_s=0.4, suspicion_s=0.2))
    monkeypatch.setattr(source, "Backfill", partial(Backfill, pauses_s=(0.05, 0.05, 0.05)))
    monkeypatch.setattr(heartbeats, "BEAT_S", 0.02)
    monkeypatch.setattr(heartbeats, "MARGIN_MS", MARGIN_MS)


def tail_of(*kafkas: ScriptedKafka) -> Tail:
    """What a start after these finds in the topics."""
    tail = Tail(window_ms=3_600_000)
    now_ms = 0  # Kafka's time, which goes as the exchange's
    for kafka in kafkas:
        for (content, _, partition), topic in zip(kafka.sent, kafka.topics, strict=True):
            now_ms = max(now_ms, content.get("timestamp", 0) + 10)
            if topic.endswith("-gaps"):
                tail.add_gap(json.dumps(content).encode())
            elif not partition:  # of the heartbeats, those of one partition
                tail.add_record(json.dumps(content).encode(), now_ms)
    return tail


async def whole(exchange: Exchange, symbols: Iterable[str], *producers: Producer) -> None:
    """Wait until several runs together have every trade of these symbols since the minute began; each only once.

    A symbol that was in no record of the run before begins with what may have come since: somewhat earlier.
    """
    for symbol in symbols:
        wanted = list(range(exchange.first_id(symbol), exchange.next_id(symbol)))

        def found(symbol: str = symbol) -> list[int]:
            return [number for producer in producers for number in producer.ids(symbol)]

        await until(lambda wanted=wanted, found=found: set(wanted) <= set(found()))
        ids = [number for number in found() if not wanted or number <= wanted[-1]]
        assert sorted(ids) == list(range(min(ids), min(ids) + len(ids))) if ids else not wanted, symbol
