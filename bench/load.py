"""An open-loop load: trades come at their times, whether those before are acknowledged or not; each a pure function.

Trade n is known from the run's rate and start alone, so that plain Python can say afterwards which bars must be there.
They leave by librdkafka: what is measured shares its cores with the load, and kafka-python takes far more of them.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, Producer

from bench.broker import PARTITIONS
from market.bar import Bar, bars_of
from market.trade import Trade, batch_record_of, record_of

SYMBOLS = [f"LOAD{number:02}USDT" for number in range(20)]
_CLOSE_S = 5
"""Heartbeats after the last trade: longer than WATERMARK_DELAY, so that every second closes."""


@dataclass(frozen=True)
class Load:
    """`rate` trades per second of all symbols together, from `start_ms` (a whole second since the epoch) on."""

    rate: int
    start_ms: int

    def trade(self, number: int) -> Trade:
        """The trade of that number, from 0 on; ids are consecutive per symbol."""
        symbol, id_ = number % len(SYMBOLS), number // len(SYMBOLS)
        chance = (number + 1) * 2_654_435_761 % 2**32  # Knuth's multiplicative hash
        price, quantity = f"{1000 + chance % 997}.{chance % 10**8:08}", f"0.{1 + number % 10**7:08}"
        time_ms = self.start_ms + number * 1000 // self.rate
        return Trade("binance", SYMBOLS[symbol], price, quantity, time_ms, id_, bool(chance >> 16 & 1))

    def due(self, now_s: float) -> int:
        """How many trades are due at a time, in seconds since the epoch."""
        return max(0, int((now_s * 1000 - self.start_ms) * self.rate / 1000))

    def bars(self, trades: int) -> Iterator[Bar]:
        """The bars of the first trades, by the plain definition; a second at a time, so that it takes little memory."""
        for first in range(0, trades, self.rate):
            yield from bars_of(self.trade(number) for number in range(first, min(first + self.rate, trades)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("--rate", type=int, default=2_000, help="trades per second; default 2000")
    parser.add_argument("--tick-ms", type=float, default=20, help="between two looks at what is due; default 20")
    parser.add_argument("--linger-ms", type=int, default=5, help="that a record may wait for others; default 5")
    arguments = parser.parse_args()
    ended = threading.Event()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_, lambda *_: ended.set())
    load = Load(arguments.rate, (int(time.time()) + 2) * 1000)
    sent, behind_ms = run(load, arguments, ended)
    print(json.dumps({"start_ms": load.start_ms, "trades": sent, "behind_ms": behind_ms}), flush=True)


def run(load: Load, arguments: argparse.Namespace, ended: threading.Event) -> tuple[int, int]:
    """Sends until `ended`, then what closes everything. How many trades, and by how many ms late at most."""
    producer = Producer(
        {
            "bootstrap.servers": arguments.bootstrap,
            "enable.idempotence": True,
            "linger.ms": arguments.linger_ms,
            "batch.size": 64 * 1024,
            "queue.buffering.max.messages": 1_000_000,  # a broker that is away for minutes is waited for
            "log_level": 3,  # not that a broker that has just begun is asked again
        }
    )
    tick_s = arguments.tick_ms / 1000
    failed: list[KafkaError] = []
    sent = second = behind_ms = 0
    size = max(1, load.rate // 2_000)  # one trade a record up to 2,000 a second
    print(json.dumps({"start_ms": load.start_ms}), flush=True)

    def delivered(error: KafkaError | None, _: object) -> None:
        if error:
            failed.append(error)

    def send(value: bytes, partition: int, key: bytes | None = None) -> None:
        producer.produce(arguments.topic, value, key, partition, on_delivery=delivered)

    def beat(time_ms: int) -> None:
        for partition in range(PARTITIONS):
            send(json.dumps({"exchange": "binance", "heartbeat": time_ms}).encode(), partition)

    until: int | None = None
    while until is None or sent < until:
        due = load.due(time.time())
        if until is None and ended.wait(tick_s):
            until = -(-due // load.rate) * load.rate  # the last second is a whole one
        elif until is not None:
            threading.Event().wait(tick_s)
            due = min(due, until)
        if due > sent:
            behind_ms = max(behind_ms, int((due - sent) * 1000 / load.rate))
        groups: defaultdict[str, list[Trade]] = defaultdict(list)
        for trade in map(load.trade, range(sent, due)):
            groups[trade.symbol].append(trade)
        for symbol, trades in groups.items():
            partition = SYMBOLS.index(symbol) % PARTITIONS
            for first in range(0, len(trades), size):
                some = trades[first : first + size]
                send(record_of(some[0]) if size == 1 else batch_record_of(some), partition, symbol.encode())
        sent = max(sent, due)
        producer.poll(0)
        now_ms = int(time.time() * 1000)
        if now_ms // 1000 > second and now_ms > load.start_ms:
            second = now_ms // 1000
            beat(load.start_ms + sent * 1000 // load.rate - 1)
    for _ in range(_CLOSE_S):
        threading.Event().wait(1)
        beat(int(time.time() * 1000))
    if left := producer.flush(30):
        sys.exit(f"Kafka has not taken {left} records within 30 s")
    if failed:
        sys.exit(f"Kafka has refused {len(failed)} records, first: {failed[0]!r}")
    return sent, behind_ms


if __name__ == "__main__":
    main()
