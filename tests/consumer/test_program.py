"""`python -m consumer` against a real Kafka."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition

from consumer import __main__ as program
from market.settings import ROOT, load
from tests.support import eventually

pytestmark = pytest.mark.e2e

VALUE = {
    "exchange": "binance",
    "symbol": "BTCUSDT",
    "price": "42150.50",
    "quantity": "0.05234000",
    "timestamp": 1_762_702_223_123,
    "trade_id": 0,
    "is_buyer_maker": False,
}


@contextmanager
def consumer(folder: Path, kafka: str, topic: str, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The program at work, its output in `out` and `err` of a folder; interrupted at the end if it still runs."""
    environment = {**os.environ, "KAFKA_BOOTSTRAP": kafka, "KAFKA_TOPIC": topic}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "consumer", *options], cwd=ROOT, env=environment, stdout=out, stderr=err
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def send(kafka: str, topic: str, *contents: Any) -> None:
    """Publish records, and wait for them."""
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for content in contents:
        producer.send(topic, json.dumps(content).encode(), key=b"BTCUSDT")
    producer.flush(timeout=30)
    producer.close()


def test_it_follows_the_topic_and_ends_on_interrupt(kafka: str, topic: str, tmp_path: Path) -> None:
    """Old records are not shown; new ones are, batches trade by trade; heartbeats are not; Ctrl-C ends it with 0."""
    send(kafka, topic, VALUE | {"trade_id": 1})
    with consumer(tmp_path, kafka, topic, "--json", "--group", f"{topic}-raw") as process:
        numbers = iter(range(100, 10_000))

        def shown() -> list[int]:
            send(kafka, topic, [VALUE | {"trade_id": next(numbers)}, VALUE | {"trade_id": next(numbers)}])
            return [json.loads(line)["trade_id"] for line in (tmp_path / "out").read_text().splitlines()]

        first = eventually(shown)
        assert first[0] >= 100
        send(kafka, topic, {"exchange": "binance", "heartbeat": 1_762_702_224_000}, {"exchange": "nowhere"})
        eventually(lambda: "not a trade: exchange is missing or unknown" in (tmp_path / "err").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    ids = [json.loads(line)["trade_id"] for line in (tmp_path / "out").read_text().splitlines()]
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_from_the_beginning_it_shows_what_is_there(kafka: str, topic: str, tmp_path: Path) -> None:
    """Messages are numbered from one."""
    send(kafka, topic, *(VALUE | {"trade_id": number} for number in (1, 2)))
    with consumer(tmp_path, kafka, topic, "--from-beginning", "--group", f"{topic}-raw"):
        eventually(lambda: "Trade ID: 2" in (tmp_path / "out").read_text())
    text = (tmp_path / "out").read_text()
    assert text.startswith("RAW TRADE DATA - Message #1\nSymbol: BTCUSDT\nPrice: $42,150.50\n")
    assert "Message #2" in text


def test_a_second_member_of_the_group_leaves_nothing_out(kafka: str, topic: str, tmp_path: Path) -> None:
    """What lies between where the first has come to and the end is shown by one of the two, though both begin anew."""
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for number in range(12):
        producer.send(topic, json.dumps(VALUE | {"trade_id": number}).encode(), partition=number % 4)
    producer.flush(timeout=30)
    producer.close()
    group = f"{topic}-raw"
    assert committed(kafka, topic, group) == 0  # a group that has stood still since the beginning of the topic
    behind = KafkaConsumer(topic, bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    try:
        # In long polls: kafka-python drops a JoinGroup that is answered between two of them, and joins once more.
        eventually(lambda: behind.poll(timeout_ms=2_000) is not None and behind.assignment(), within_s=60)
        with consumer(tmp_path, kafka, topic, "--json", "--group", group):
            told = f"{topic} at {kafka}, as group {group}"
            eventually(lambda: told in (tmp_path / "err").read_text())
            eventually(lambda: behind.poll(timeout_ms=2_000) is not None and len(behind.assignment()) == 2)
            behind.close()  # the other one has all partitions now, and goes on where the group has come to
            eventually(lambda: len((tmp_path / "out").read_text().splitlines()) == 12)
    finally:
        behind.close()
    ids = [json.loads(line)["trade_id"] for line in (tmp_path / "out").read_text().splitlines()]
    assert sorted(ids) == list(range(12))


def test_a_member_whose_partitions_are_taken_asks_for_others(kafka: str, topic: str) -> None:
    """Also where the library would forget to: the topic was found to have other partitions, and the join took long."""
    settings = load({"KAFKA_BOOTSTRAP": kafka, "KAFKA_TOPIC": topic}, dotenv=None)
    arguments = argparse.Namespace(group=f"{topic}-asks", from_beginning=True)
    member = program._connected(settings, arguments, threading.Event())
    assert member is not None
    try:
        eventually(lambda: member.poll(timeout_ms=2_000) or len(member.assignment()) == 4, within_s=60)
        eventually(lambda: member.poll(timeout_ms=2_000) or not member._coordinator.need_rejoin(), within_s=60)
        member._subscription.rebalance_listener.on_partitions_revoked(member.assignment())
        assert member._coordinator.need_rejoin()
    finally:
        member.close()


def committed(kafka: str, topic: str, group: str) -> int:
    """Let a group have come to the beginning of every partition; how many records it has come past."""
    member = KafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in member.partitions_for_topic(topic)]
        member.assign(partitions)
        member.commit({partition: OffsetAndMetadata(0, "", -1) for partition in partitions})
        return sum(member.committed(partition) for partition in partitions)
    finally:
        member.close()


def test_it_waits_for_a_topic_that_is_not_there_yet(kafka: str, tmp_path: Path) -> None:
    """It says what it waits for, and creates nothing."""
    with consumer(tmp_path, kafka, "absent-topic") as process:
        told = f"there is no topic absent-topic at {kafka}; waiting for it"
        eventually(lambda: told in (tmp_path / "err").read_text())
        assert process.poll() is None
