"""A broker to be treated badly, a load for it, and the check of what it has got."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
from pathlib import Path

from kafka.admin import KafkaAdminClient, NewTopic

from local import processes
from local.broker import Broker
from producer.publishing.publish import Publisher
from tests.producer.doubles import records, trade
from tests.support import eventually, free_ports

SYMBOLS = [f"COIN{number}" for number in range(8)]


class OwnBroker:
    """A broker of this file's own, to be treated badly."""

    def __init__(self, folder: Path) -> None:
        port, controller_port = free_ports(2)
        self._broker = Broker(folder=folder, port=port, controller_port=controller_port)
        self._broker.prepare()
        self._log = folder / "kafka.log"
        self.bootstrap = self._broker.bootstrap
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.launch()
        eventually(self._broker.is_ready, within_s=60.0)

    def launch(self) -> None:
        """Start it. On the main thread: it would end with the thread that has started it."""
        with self._log.open("ab") as output:
            self._process = processes.start(
                self._broker.command(), environment=self._broker.environment(), output=output
            )

    def send(self, signum: int) -> None:
        """A signal. Of SIGKILL the end is waited for."""
        self._process.send_signal(signum)
        if signum == signal.SIGKILL:
            self._process.wait(timeout=30)

    def mend(self) -> None:
        """Whatever a test has done to it."""
        self.send(signal.SIGCONT)
        if self._process.poll() is not None:
            self.start()

    def create(self, topic: str, **settings: str) -> None:
        """A topic."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            admin.create_topics([NewTopic(topic, 4, 1, topic_configs=settings)])
        finally:
            admin.close()


def check(broker: OwnBroker, topic: str, count: int) -> int:
    """Holds the topic to trades 0 to `count` - 1 of every symbol, first seen in order; how many came again."""
    seen: dict[str, list[int]] = {symbol: [] for symbol in SYMBOLS}
    partitions: dict[str, set[int]] = {symbol: set() for symbol in SYMBOLS}
    total = 0
    for record in records(broker.bootstrap, topic):
        element = json.loads(record.value)
        if "trade_id" not in element:
            continue
        total += 1
        partitions[element["symbol"]].add(record.partition)
        numbers = seen[element["symbol"]]
        if element["trade_id"] >= len(numbers):
            assert element["trade_id"] == len(numbers), element["symbol"]
            numbers.append(element["trade_id"])
    assert {symbol: len(numbers) for symbol, numbers in seen.items()} == dict.fromkeys(SYMBOLS, count)
    assert all(len(found) == 1 for found in partitions.values())
    return total - count * len(SYMBOLS)


class Load:
    """Trades of all symbols, as many a second, until it is stopped; it pauses when the publisher is full."""

    def __init__(self, target: Publisher, per_second: int) -> None:
        self.count = 0
        """Of each symbol."""
        self.paused = 0
        self._target = target
        self._per_second = per_second
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """After the last whole round."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        rounds = self._per_second // len(SYMBOLS) // 50
        while True:
            for _ in range(rounds):
                for symbol in SYMBOLS:
                    self._target.trade(trade(self.count, symbol))
                self.count += 1
            if self._target.full:
                self.paused += 1
                await self._target.room()
            await asyncio.sleep(0.02)


def senders() -> list[threading.Thread]:
    """kafka-python's threads that run."""
    return [thread for thread in threading.enumerate() if thread.name == "producer-network-thread"]
