"""A broker for a measurement: a real Kafka of its own, in a folder that goes with it."""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from kafka.admin import KafkaAdminClient, NewTopic

from local import processes
from local.broker import Broker

PARTITIONS = 4
_START_S = 60.0


class Running(NamedTuple):
    """Where the broker listens, and its process."""

    bootstrap: str
    pid: int

    def create(self, topic: str) -> None:
        """A new topic, made as the producer makes its own."""
        configs = {"message.timestamp.type": "LogAppendTime", "file.delete.delay.ms": "0"}
        with _admin(self.bootstrap) as admin:
            admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=configs)])

    def delete(self, topic: str) -> None:
        """Free its disk space."""
        with _admin(self.bootstrap) as admin:
            admin.delete_topics([topic])


@contextmanager
def running() -> Iterator[Running]:
    """A broker that has no topic yet."""
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as name:
        folder = Path(name)
        port, controller_port = free_ports(2)
        broker = Broker(folder=folder, port=port, controller_port=controller_port)
        broker.prepare()
        with (folder / "kafka.log").open("wb") as log:
            process = processes.start(broker.command(), environment=broker.environment(), output=log)
            try:
                deadline_s = time.monotonic() + _START_S
                while not broker.is_ready():
                    if process.poll() is not None or time.monotonic() > deadline_s:
                        raise SystemExit(f"Kafka did not start:\n{(folder / 'kafka.log').read_text()}")
                    threading.Event().wait(0.1)
                yield Running(broker.bootstrap, process.pid)
            finally:
                process.terminate()
                process.wait(timeout=30)


@contextmanager
def _admin(bootstrap: str) -> Iterator[KafkaAdminClient]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        yield admin
    finally:
        with suppress(OSError):
            admin.close()


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
