"""How fast trades come to Kafka, what that costs, and how long one takes, by the number of trades in a record.

Starts a real broker of its own, on the same machine. The ways and sizes take turns in random order, a few rounds of
them, each in a new process and to a new topic; a way's share of the ceiling is taken within its round. After each run
the topic is read, and has to hold exactly the trades, in order per symbol: a fast wrong result ends the measurement.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from kafka import KafkaConsumer, TopicPartition

from bench import meters, result, ways
from bench.broker import PARTITIONS, Running, running
from bench.ways import Cost

T = TypeVar("T")

TRADES = {1: 100_000, 8: 300_000, 32: 600_000}
"""Trades per record, and trades per run: one to two seconds."""
WAYS = {"bare": ways.bare, "ready": ways.ready, "whole": ways.whole}
PACED_S = 8
WARM_UP_S = 1


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.publish", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured; default 5")
    parser.add_argument("--rate", type=int, default=2_000, help="trades per second whose latency is taken; 2000")
    parser.add_argument("--part", type=float, default=1.0, help="of the trades of a full run; a short look: 0.1")
    arguments = parser.parse_args()
    counts = {size: max(size, int(count * arguments.part)) for size, count in TRADES.items()}
    with running() as broker:
        bench = Bench(broker)
        for size, count in counts.items():
            bench.run(ways.bare, size, count // 4)  # the broker is cold
        rounds = [_round(bench, counts, random.Random(number)) for number in range(arguments.rounds)]
        waits = {size: bench.paced(size, arguments.rate) for size in TRADES}
        stages = {size: [_apart(ways.stages, size, counts[1]) for _ in range(arguments.rounds)] for size in TRADES}
    figures = {
        "throughput": {way: {size: _throughput(rounds, way, size, counts) for size in TRADES} for way in WAYS},
        "us_per_trade": {size: _split(rounds, stages[size], size, counts) for size in TRADES},
        "latency_ms": {size: _latency(found) for size, found in waits.items()},
        "checked": {"topics": bench.topics, "trades": bench.trades, "wrong": 0},
    }
    settings = {
        "rounds": arguments.rounds,
        "trades_per_run": counts,
        "symbols": ways.SYMBOLS,
        "partitions": PARTITIONS,
        "linger_ms": ways.LINGER_MS,
        "latency_rate": arguments.rate,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
    print(result.write("publish", figures, settings=settings))
    _print(figures)


class Bench:
    """A broker, and the account of what was measured with it."""

    def __init__(self, broker: Running) -> None:
        self.topics = 0
        self.trades = 0
        self._broker = broker
        self._expected: dict[int, dict[bytes, bytes]] = {}

    def run(self, way: Callable[[str, str, int, int], Cost], size: int, count: int) -> tuple[Cost, float]:
        """What a way costs, and the CPU seconds that the broker spends meanwhile."""
        topic = self._new_topic()
        before_s = meters.cpu_s(self._broker.pid)
        cost = _apart(way, self._broker.bootstrap, topic, size, count)
        spent_s = meters.cpu_s(self._broker.pid) - before_s
        self._check(topic, size, count)
        return cost, spent_s

    def paced(self, size: int, rate: int) -> list[float]:
        """How long each trade takes at a rate, in ms, without those of the first second."""
        topic, count = self._new_topic(), rate * PACED_S
        waited = _apart(ways.latency, self._broker.bootstrap, topic, size, rate, count)
        self._check(topic, size, count)
        return waited[rate * WARM_UP_S :]

    def _new_topic(self) -> str:
        self.topics += 1
        topic = f"bench-{self.topics}"
        self._broker.create(topic)
        return topic

    def _check(self, topic: str, size: int, count: int) -> None:
        """Compare what the topic holds, symbol by symbol, with JSON of the trades; and free its disk space."""
        if count not in self._expected:
            self._expected[count] = _expected(count)
        found: defaultdict[bytes, list[bytes]] = defaultdict(list)
        places: defaultdict[bytes, set[int]] = defaultdict(set)
        for partition, key, value in _read(self._broker.bootstrap, topic):
            one = value.startswith(b"{")
            if one != (size == 1) or value.count(b"},{") >= size:
                raise SystemExit(f"{topic}: a record is not of the form of {size} trades: {value[:200]!r}")
            found[key].append(value if one else value[1:-1])
            places[key].add(partition)
        contents = {key: b",".join(values) for key, values in found.items()}
        if contents != self._expected[count] or any(len(partitions) > 1 for partitions in places.values()):
            raise SystemExit(f"{topic}: the topic does not hold the {count} trades in the order of their ids")
        self.trades += count
        self._broker.delete(topic)


def _round(bench: Bench, counts: dict[int, int], order: random.Random) -> dict[tuple[str, int], tuple[Cost, float]]:
    rows = [(way, size) for way in WAYS for size in counts]
    order.shuffle(rows)
    return {(way, size): bench.run(WAYS[way], size, counts[size]) for way, size in rows}


def _apart(work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _expected(count: int) -> dict[bytes, bytes]:
    """The elements of each symbol by the standard library's JSON, one after the other."""
    elements: defaultdict[bytes, list[str]] = defaultdict(list)
    for trade in ways.made(count):
        elements[trade.symbol.encode()].append(json.dumps(trade._asdict(), separators=(",", ":")))
    return {key: ",".join(values).encode() for key, values in elements.items()}


def _read(bootstrap: str, topic: str) -> Iterable[tuple[int, bytes, bytes]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, max_poll_records=10_000)
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(partition) < end for partition, end in ends.items()):
            for batch in consumer.poll(timeout_ms=1_000).values():
                yield from ((record.partition, record.key, record.value) for record in batch)
    finally:
        consumer.close()


Rounds = Sequence[dict[tuple[str, int], tuple[Cost, float]]]


def _throughput(rounds: Rounds, way: str, size: int, counts: dict[int, int]) -> dict[str, Any]:
    count, costs = counts[size], [found[way, size] for found in rounds]
    shares = [found["bare", size][0].seconds / found[way, size][0].seconds for found in rounds]
    return {
        "trades_per_s": _spread([count / cost.seconds for cost, _ in costs], 0),
        "share_of_bare": _spread(shares, 3),
        "cpu_s_per_million_trades": _spread([cost.cpu_s / count * 1e6 for cost, _ in costs], 2),
        "broker_cpu_s_per_million_trades": _spread([broker_s / count * 1e6 for _, broker_s in costs], 2),
        "memory_mib": _spread([cost.memory_mib for cost, _ in costs], 1),
    }


def _split(rounds: Rounds, stages: Sequence[dict[str, float]], size: int, counts: dict[int, int]) -> dict[str, Any]:
    """CPU µs per trade of each stage; the last two are what `ready` takes beyond the stages that it runs through."""
    split = {name: statistics.median(found[name] for found in stages) for name in stages[0]}
    ready = [found["ready", size][0] for found in rounds]
    main = statistics.median(cost.main_cpu_s for cost in ready) / counts[size] * 1e6
    both = statistics.median(cost.cpu_s for cost in ready) / counts[size] * 1e6
    split["window and send"] = main - split["encode"] - split.get("batch", 0.0)
    split["kafka-python's thread"] = both - main
    whole = statistics.median(found["whole", size][0].cpu_s for found in rounds) / counts[size] * 1e6
    return {name: round(us, 3) for name, us in split.items()} | {
        "sum": round(sum(split.values()), 3),
        "measured as a whole": round(whole, 3),
    }


def _latency(waited: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(waited, n=1000, method="inclusive")
    named = {"p50": cuts[499], "p90": cuts[899], "p99": cuts[989], "p99.9": cuts[998], "max": max(waited)}
    return {name: round(ms, 2) for name, ms in named.items()}


def _spread(values: Sequence[float], digits: int) -> dict[str, Any]:
    rounded = [round(value, digits) for value in values]
    return {"median": round(statistics.median(values), digits), "min": min(rounded), "max": max(rounded)}


def _print(figures: dict[str, Any]) -> None:
    for way, sizes in figures["throughput"].items():
        for size, found in sizes.items():
            rate, share = found["trades_per_s"], found["share_of_bare"]["median"]
            print(
                f"{way:6} {size:3} a record {rate['median']:10,.0f} trades/s ({rate['min']:,.0f} to {rate['max']:,.0f})"
                f"  {share:5.2f} of bare  {found['cpu_s_per_million_trades']['median']:6.2f} CPU s per million"
                f"  {found['memory_mib']['median']:6.1f} MiB"
            )
    for size, found in figures["latency_ms"].items():
        print(f"{size:3} a record: {', '.join(f'{name} {ms} ms' for name, ms in found.items())}")
    for size, found in figures["us_per_trade"].items():
        print(f"{size:3} a record, µs per trade: {', '.join(f'{name} {us:g}' for name, us in found.items())}")


if __name__ == "__main__":
    main()
