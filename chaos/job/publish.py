"""`python -m chaos.job.publish`: publishes the load of a seed, each record when it is due, until it is told to end.

The pace is the wall clock's, whatever Kafka does meanwhile. On SIGTERM it publishes what it has held back and the
heartbeats that close all seconds, and writes what it has published. Exit code 1: a record was not taken by Kafka.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
import time
from pathlib import Path

from kafka import KafkaProducer

from chaos.job.load import Load, Record, beat

CLOSING_S = 5
"""Heartbeats after the last trade: more than a second and the watermark's delay."""
_PATIENCE_MS = 600_000


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.job.publish", description=__doc__)
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--told", type=Path, required=True, help="file for what was published, once a second")
    options = parser.parse_args()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # a broker that restarts is what is meant to happen
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    load = Load(options.seed, rate=options.rate, start_ms=time.time_ns() // 1_000_000)
    sent = _Sent(options.bootstrap, options.topic)
    told_ms = 0
    behind_ms = 0
    while not ended.is_set():
        records = load.tick()
        now_ms = time.time_ns() // 1_000_000
        behind_ms = max(behind_ms, now_ms - load.now_ms)
        ended.wait(max(load.now_ms - now_ms, 0) / 1000)
        sent.send(records)
        if load.now_ms - told_ms >= 1000:
            told_ms = load.now_ms
            _tell(options.told, load, sent, behind_ms)
    time.sleep(max(load.now_ms - time.time_ns() // 1_000_000, 0) / 1000)
    sent.send(load.rest())
    for _ in range(CLOSING_S):
        time.sleep(1)
        sent.send(beat(time.time_ns() // 1_000_000))
    failed = sent.close()
    _tell(options.told, load, sent, behind_ms)
    for failure in failed[:20]:
        print(failure, file=sys.stderr)
    return 1 if failed else 0


class _Sent:
    """What was published."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.records = 0
        self._topic = topic
        self._failed: list[str] = []
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=20,
            batch_size=2**17,
            max_block_ms=_PATIENCE_MS,
            delivery_timeout_ms=_PATIENCE_MS,
            request_timeout_ms=10_000,
        )

    def send(self, records: list[Record]) -> None:
        """Each to its partition, in order."""
        for record in records:
            # Without a value, a record must have a key.
            future = self._producer.send(self._topic, record.value, key=b"any", partition=record.partition)
            future.add_errback(lambda error: self._failed.append(repr(error)))
            self.records += 1

    def close(self) -> list[str]:
        """Waits for Kafka; why records were not taken."""
        self._producer.flush(timeout=_PATIENCE_MS / 1000)
        self._producer.close()
        return self._failed


def _tell(file: Path, load: Load, sent: _Sent, behind_ms: int) -> None:
    partial = file.with_suffix(".partial")
    names = ("trades", "copies", "conflicts", "invalid", "late")
    told = {name: getattr(load, name) for name in names} | {"records": sent.records, "behind_ms": behind_ms}
    partial.write_text(json.dumps(told))
    partial.replace(file)


if __name__ == "__main__":
    sys.exit(main())
