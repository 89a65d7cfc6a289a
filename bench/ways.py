"""The ways that trades take to Kafka, each to be measured in a process of its own.

bare   records that are ready → kafka-python's `send`: the ceiling
ready  trades that are ready → Publisher
whole  frames of the exchange → mapper → sequences → Publisher

What is fed in is made before the clock runs, and is not counted as memory.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kafka import KafkaProducer
from kafka.future import Future

from market.trade import Trade, batch_record_of, problem_of, record_of
from producer.completeness.sequence import Sequences
from producer.exchanges import binance
from producer.exchanges.outcome import Outcome
from producer.publishing.batches import Batches
from producer.publishing.connect import connect
from producer.publishing.publish import Publisher
from producer.publishing.session import Session

EXCHANGE = "binance"
SYMBOLS = {"BTCUSDT": 30, "ETHUSDT": 20, "SOLUSDT": 12, "XRPUSDT": 10, "BNBUSDT": 8, "DOGEUSDT": 6, "ADAUSDT": 5,
           "LINKUSDT": 4, "AVAXUSDT": 3, "LTCUSDT": 2}  # fmt: skip
"""The symbols, and how often each is traded of a hundred times."""
LINGER_MS = 5
START_MS = 1_700_000_000_000
LATEST_MS = START_MS + 10**9


@dataclass
class Cost:
    """What a run took: `cpu_s` of the process, `main_cpu_s` of the thread that the event loop runs in."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    main_cpu_s: float = 0.0
    memory_mib: float = 0.0
    """The most resident memory, above what was resident at the start."""


def made(count: int) -> list[Trade]:
    """The trades of every run: the same ones each time, ids consecutive per symbol."""
    source = random.Random(1)
    symbols = source.choices(list(SYMBOLS), list(SYMBOLS.values()), k=count)
    ids: Counter[str] = Counter()
    trades = []
    for number, symbol in enumerate(symbols):
        ids[symbol] += 1
        price, quantity = f"{source.randrange(10**7)}.{source.randrange(10**2):02}000000", f"0.{1 + number % 9999:08}"
        trades.append(Trade(EXCHANGE, symbol, price, quantity, START_MS + number, ids[symbol], number % 3 == 0))
    return trades


def records(trades: Sequence[Trade], size: int) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of full records, as the Publisher would make them if none had to leave early."""
    if size == 1:
        yield from ((trade.symbol.encode(), record_of(trade)) for trade in trades)
        return
    batches: defaultdict[str, list[Trade]] = defaultdict(list)
    for trade in trades:
        batch = batches[trade.symbol]
        batch.append(trade)
        if len(batch) == size:
            yield trade.symbol.encode(), batch_record_of(batch)
            batch.clear()
    yield from ((symbol.encode(), batch_record_of(batch)) for symbol, batch in batches.items() if batch)


def frames(trades: Sequence[Trade]) -> list[str]:
    """Trades as Binance's combined stream prints them."""
    return [
        f'{{"stream":"{trade.symbol.lower()}@trade","data":{{"e":"trade","E":{trade.timestamp + 1},'
        f'"s":"{trade.symbol}","t":{trade.trade_id},"p":"{trade.price}","q":"{trade.quantity}","T":{trade.timestamp},'
        f'"m":{"true" if trade.is_buyer_maker else "false"},"M":true}}}}'
        for trade in trades
    ]


def bare(bootstrap: str, topic: str, size: int, count: int) -> Cost:
    """kafka-python alone, with the settings that the producer gives it. Nothing bounds what waits to be sent."""
    ready = list(records(made(count), size))
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        acks="all",
        enable_idempotence=True,
        linger_ms=LINGER_MS,
        batch_size=64 * 1024,
        compression_type=None,
    )
    producer.partitions_for(topic)
    with measured() as cost:
        send = producer.send
        futures = [send(topic, value=value, key=key) for key, value in ready]
        producer.flush()
    failed = [future.exception for future in futures if not future.succeeded()]
    assert not failed, failed[0]
    producer.close()
    return cost


def ready(bootstrap: str, topic: str, size: int, count: int) -> Cost:
    """The Publisher, fed as the program feeds it."""
    trades = made(count)

    async def feed(publisher: Publisher) -> None:
        for trade in trades:
            if publisher.trade(trade) and publisher.full:
                await publisher.room()

    return asyncio.run(_published(bootstrap, topic, size, feed))


def whole(bootstrap: str, topic: str, size: int, count: int) -> Cost:
    """From the frame on."""
    texts = frames(made(count))
    sequences = _sequences()

    async def feed(publisher: Publisher) -> None:
        for text in texts:
            outcome = _mapped(text)
            for trade in outcome.trades:
                for released in sequences.take(trade, time.monotonic()):
                    if publisher.trade(released) and publisher.full:
                        await publisher.room()

    return asyncio.run(_published(bootstrap, topic, size, feed))


def stages(size: int, count: int) -> dict[str, float]:
    """CPU time of each stage before Kafka, in µs per trade, fed with what the stage before it gives."""
    trades = made(count)
    texts = frames(trades)
    groups = [trades[start : start + size] for start in range(0, count, size)]
    batches, sequences = Batches(size, 3600, time.monotonic), _sequences()
    parts: dict[str, Callable[[], Any]] = {
        "map and validate": lambda: [_mapped(text) for text in texts],
        "validate": lambda: [problem_of(trade, LATEST_MS) for trade in trades],
        "sequence": lambda: [sequences.take(trade, time.monotonic()) for trade in trades],
        "encode": lambda: [record_of(group[0]) if size == 1 else batch_record_of(group) for group in groups],
    }
    if size > 1:
        parts["batch"] = lambda: [batches.add(trade) for trade in trades]
    spent: dict[str, float] = {}
    for name, part in parts.items():
        with measured() as cost:
            part()
        spent[name] = cost.cpu_s / count * 1e6
    return {"map": spent.pop("map and validate") - spent["validate"], **spent}


def latency(bootstrap: str, topic: str, size: int, rate: float, count: int) -> list[float]:
    """Milliseconds from when each trade should have been handed over until Kafka acknowledged its record.

    Open loop: trades come at their times, whether those before are acknowledged or not.
    """
    trades = made(count)
    due_s: dict[tuple[str, int], float] = {}
    told: list[tuple[float, bytes]] = []

    async def feed(publisher: Publisher) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time() + 0.2
        for number, trade in enumerate(trades):
            time_s = start_s + number / rate
            due_s[trade.symbol, trade.trade_id] = time_s
            while (wait_s := time_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            publisher.trade(trade)

    asyncio.run(_published(bootstrap, topic, size, feed, told=told))
    waited = []
    for time_s, value in told:
        content = json.loads(value)
        for element in content if isinstance(content, list) else [content]:
            waited.append((time_s - due_s.pop((element["symbol"], element["trade_id"]))) * 1000)
    assert not due_s, f"{len(due_s)} trades were never acknowledged"
    return waited


async def _published(
    bootstrap: str,
    topic: str,
    size: int,
    feed: Callable[[Publisher], Any],
    *,
    told: list[tuple[float, bytes]] | None = None,
) -> Cost:
    """What it costs to feed a new Publisher until Kafka has everything; `told` gets the time of each record."""
    connected = partial(connect, bootstrap, topic, linger_ms=LINGER_MS)
    session = await connected()
    if told is not None:
        _watch(session, told)
    publisher = Publisher(connected, session, topic, batch_size=size, linger_ms=LINGER_MS)
    with measured() as cost:
        await feed(publisher)
        await publisher.acknowledged()
    await publisher.close(30)
    return cost


def _watch(session: Session, told: list[tuple[float, bytes]]) -> None:
    """Have a session tell when each of its records was acknowledged."""
    send = session.send

    def timed(topic: str, *, value: bytes, key: bytes | None, partition: int | None) -> Future:
        future = send(topic, value=value, key=key, partition=partition)
        future.add_callback(lambda _: told.append((time.monotonic(), value)))
        return future

    session.send = timed  # type: ignore[method-assign]


def _mapped(frame: str) -> Outcome:
    return binance.PROTOCOL.read(frame, exchange=EXCHANGE, latest_ms=LATEST_MS)


def _sequences() -> Sequences:
    sequences = Sequences(wait_s=2.0)
    for symbol in SYMBOLS:
        sequences.resume(symbol, [(0, 0)])
    return sequences


@contextmanager
def measured() -> Iterator[Cost]:
    """The cost of the block, known when it has ended."""
    cost = Cost()
    gc.collect()
    gc.freeze()  # what is fed in would be looked through again and again, and lives only here
    resident = _resident_mib("VmRSS")
    with _refreshed():
        begun = time.perf_counter(), time.process_time(), time.thread_time()
        yield cost
        ended = time.perf_counter(), time.process_time(), time.thread_time()
    cost.seconds, cost.cpu_s, cost.main_cpu_s = (end - begin for begin, end in zip(begun, ended, strict=True))
    cost.memory_mib = _resident_mib("VmHWM") - resident


@contextmanager
def _refreshed() -> Iterator[None]:
    """Count the most resident memory from here on (Linux: man proc_pid_clear_refs)."""
    if sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5")
    yield


def _resident_mib(name: str) -> float:
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
