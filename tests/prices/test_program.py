"""`python -m prices` as processes of their own: several of them, kills, wrong settings, and what it waits for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kafka import KafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from market.latest import HEARTBEATS
from market.settings import ROOT
from market.trade import record_of
from prices.connect import SESSION_MS
from tests.prices.made import trade
from tests.prices.members import group_of, ids, publish, until_latest
from tests.redis_servers import OwnRedis
from tests.serve.asking import asked
from tests.support import eventually, free_ports

pytestmark = pytest.mark.e2e

SYMBOLS = [f"SYM{number}USDT" for number in range(8)]


class Program:
    """One process of the group."""

    def __init__(self, folder: Path, environment: dict[str, str], group: str) -> None:
        (self.port,) = free_ports(1)
        self._log = folder / f"prices-{self.port}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prices", "--group", group],
                cwd=ROOT,
                env={**os.environ, **environment, "PRICES_METRICS_PORT": str(self.port)},
                stdout=output,
                stderr=output,
            )

    def said(self) -> str:
        """Its log so far."""
        return self._log.read_text()

    def partitions(self) -> set[str]:
        """The partitions that it has, as its metrics tell."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
                families = list(text_string_to_metric_families(answer.read().decode()))
        except OSError:
            return set()
        samples = [sample for family in families for sample in family.samples]
        return {sample.labels["partition"] for sample in samples if sample.name == "prices_lag_records"}


@pytest.fixture
def environment(kafka: str, topic: str, redis: OwnRedis) -> dict[str, str]:
    """Settings for a process of its own."""
    return {"KAFKA_BOOTSTRAP": kafka, "KAFKA_TOPIC": topic, "REDIS_URL": redis.url, "REDIS_TRADES": "100000"}


@contextmanager
def program(folder: Path, environment: dict[str, str], group: str) -> Iterator[Program]:
    """A process until it ends or the test does."""
    one = Program(folder, environment, group)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()
        print(one.said())  # shown where the test fails


class Feed:
    """Publishes trades of every symbol, without a pause longer than some milliseconds, until it is stopped."""

    def __init__(self, kafka: str, topic: str) -> None:
        self.published = 0
        """Trades of each symbol."""
        self._kafka, self._topic = kafka, topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)

    def _run(self) -> None:
        producer = KafkaProducer(bootstrap_servers=self._kafka, acks="all")
        while not self._stop.wait(0.01):
            for symbol in SYMBOLS:
                one = trade(self.published, symbol=symbol)
                producer.send(self._topic, record_of(one), key=symbol.encode())
            self.published += 1
        producer.flush(timeout=30)
        producer.close()


def test_three_share_the_partitions_and_a_kill_of_one_is_absorbed(
    kafka: str, topic: str, redis: OwnRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    """Each partition has one owner; after SIGKILL the others have all of them, and no trade is lost, double or out of
    order in its symbol."""
    group = group_of(topic)
    with Feed(kafka, topic) as feed, ExitStack() as running:
        three = [running.enter_context(program(tmp_path, environment, group)) for _ in range(3)]
        eventually(lambda: sorted(len(one.partitions()) for one in three) == [1, 1, 2], within_s=60)
        shares = [one.partitions() for one in three]
        assert set.union(*shares) == {"0", "1", "2", "3"}
        killed = max(three, key=lambda one: len(one.partitions()))
        left = [one for one in three if one is not killed]
        killed.process.kill()
        before = feed.published

        def is_absorbed() -> bool:
            return [len(one.partitions()) for one in left] == [2, 2]

        eventually(is_absorbed, within_s=SESSION_MS / 1000 + 20)
        eventually(lambda: all(len(ids(redis, symbol)) > before for symbol in SYMBOLS), within_s=60)
        running.enter_context(program(tmp_path, environment, group))  # the killed one comes back
        eventually(lambda: feed.published > before + 500, within_s=60)
        feed.__exit__()
        for symbol in SYMBOLS:
            until_latest(redis, feed.published - 1, symbol)
            assert ids(redis, symbol) == list(range(feed.published))


def test_a_promise_is_that_of_the_slowest_partition_and_outlives_a_kill(
    kafka: str, topic: str, redis: OwnRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    """Of two members, each with half of the partitions: when one is killed, the other keeps what both have promised."""
    start_ms = 1_762_702_224_000

    def beat(second: int, *partitions: int) -> None:
        heartbeat = json.dumps({"exchange": "binance", "heartbeat": start_ms + 1_000 * second}).encode()
        for partition in partitions:
            publish(kafka, topic, trade(second, symbol=SYMBOLS[partition]), heartbeat, partition=partition)

    def noted() -> list[int]:
        return sorted((int(time_ms) - start_ms) // 1_000 for time_ms in redis.client.hvals(HEARTBEATS))

    def promised() -> int | None:
        until_ms = asked(redis, lambda prices: prices.heartbeats(topic)).until_ms.get("binance")
        return None if until_ms is None else (until_ms - start_ms) // 1_000

    with ExitStack() as running:
        two = [running.enter_context(program(tmp_path, environment, group_of(topic))) for _ in range(2)]
        eventually(lambda: [len(one.partitions()) for one in two] == [2, 2], within_s=60)
        beat(4, 0, 1, 2)
        eventually(lambda: noted() == [4, 4, 4])
        assert promised() is None
        beat(1, 3)
        eventually(lambda: promised() == 1)
        beat(9, 0, 1, 2)
        eventually(lambda: noted() == [1, 9, 9, 9])
        assert promised() == 1
        beat(5, 3)
        eventually(lambda: promised() == 5)
        two[0].process.kill()
        beat(20, 0, 1, 2, 3)
        eventually(lambda: promised() == 20, within_s=SESSION_MS / 1000 + 20)
        assert [ids(redis, symbol)[-1] for symbol in SYMBOLS[:4]] == [20, 20, 20, 20]
        eventually(lambda: two[1].partitions() == {"0", "1", "2", "3"})


def test_it_ends_in_order_when_it_is_told_to(
    kafka: str, topic: str, redis: OwnRedis, environment: dict[str, str], tmp_path: Path
) -> None:
    """SIGTERM and Ctrl-C: exit code 0, with the account as its last words."""
    for number, last in ((signal.SIGTERM, 1), (signal.SIGINT, 2)):
        with program(tmp_path, environment, group_of(topic)) as one:
            publish(kafka, topic, trade(last))
            until_latest(redis, last)
            one.process.send_signal(number)
            assert one.process.wait(timeout=20) == 0
            assert "1 trades written, 0 had come before" in one.said().splitlines()[-1]


def test_it_waits_for_what_is_not_there_yet(
    environment: dict[str, str], redis: OwnRedis, kafka: str, tmp_path: Path
) -> None:
    """Kafka, the topic, Redis: it says which, and goes on when it is told to end."""
    (port,) = free_ports(1)
    for missing, message in (
        ({"KAFKA_BOOTSTRAP": f"127.0.0.1:{port}"}, f"Kafka does not answer at 127.0.0.1:{port}"),
        ({"KAFKA_TOPIC": "absent-topic"}, f"there is no topic absent-topic at {kafka}; waiting for it"),
        ({"REDIS_URL": f"redis://:secret@127.0.0.1:{port}/0"}, f"Redis at redis://127.0.0.1:{port}/0: "),
    ):
        with program(tmp_path, environment | missing, "waiting") as one:
            eventually(lambda one=one, message=message: message in one.said())
            assert "secret" not in one.said()
            one.process.terminate()
            assert one.process.wait(timeout=20) == 0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "REDIS_URL",
            "localhost:6379",
            "REDIS_URL=localhost:6379 (from the environment) is not allowed: it must be "
            "redis://host:port/number, rediss://… or unix:///path\n",
        ),
        (
            "REDIS_URL",
            "redis://me:secret@localhost:6379/0?socket_timeout=soon",
            "REDIS_URL=redis://localhost:6379/0 is not allowed: ",
        ),
        (
            "REDIS_TRADES",
            "0",
            "REDIS_TRADES=0 (from the environment) is not allowed: it must be a whole number from 1 to 100000\n",
        ),
    ],
)
def test_a_wrong_setting_ends_it_with_its_name(name: str, value: str, said: str) -> None:
    """Exit code 2, the value and what is allowed, and no password."""
    done = subprocess.run(
        [sys.executable, "-m", "prices"],
        cwd=ROOT,
        env={**os.environ, name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert "secret" not in done.stderr
