"""What tests share: one real Kafka broker and one Redis for the session, and a fresh topic for each test that asks."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import settings
from kafka.admin import KafkaAdminClient, NewTopic
from pyspark.sql import SparkSession
from xdist.scheduler import LoadScopeScheduling

from local import processes
from local.broker import Broker
from market.settings import ROOT
from tests.redis_servers import OwnRedis
from tests.support import eventually, free_ports

KAFKA_START_S = 60.0

# A shell that starts the tests in the background has Ctrl-C ignored, and so would the programs that tests send it to.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A machine that is busy with something else is no failure: examples have no time limit of their own.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


CHAINS = ("e2e", "spark")
"""Marks of files whose tests run one after the other: those of whole programs, and those that share a Spark session."""


@cache
def _scope(path: str) -> str:
    """The chain that a file belongs to, or the file itself, which runs beside the others."""
    text = (ROOT / path).read_text()
    return next((mark for mark in reversed(CHAINS) if f"mark.{mark}" in text), path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The chains begin first: they are the longest."""

    def place(item: pytest.Item) -> int:
        scope = _scope(item.nodeid.partition("::")[0])
        return (*CHAINS, scope).index(scope)

    items.sort(key=place)


class Scopes(LoadScopeScheduling):
    """Where tests run several at a time, who takes one of a scope takes them all."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """With every `--dist`. xdist's own groups, by marks, do nothing under pytest 9."""
    return Scopes(config, log)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of a real Kafka broker with no topic in it."""
    folder = tmp_path_factory.mktemp("kafka")
    port, controller_port = free_ports(2)
    broker = Broker(folder=folder, port=port, controller_port=controller_port)
    broker.prepare()
    log = folder / "kafka.log"
    with log.open("wb") as output:
        process = processes.start(broker.command(), environment=broker.environment(), output=output)
    try:
        eventually(lambda: process.poll() is not None or broker.is_ready(), within_s=KAFKA_START_S)
        assert process.poll() is None, f"Kafka ended with {process.returncode}:\n{log.read_text()}"
        yield broker.bootstrap
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnRedis]:
    """A real Redis for the session. Where there is none to be had, the error says how to get one."""
    server = OwnRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.close()


@pytest.fixture
def redis(redis_server: OwnRedis) -> OwnRedis:
    """That Redis, running and empty: it knows no key and no script."""
    return redis_server.emptied()


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one Spark session of all tests, with the engine settings and the jars of the product."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("SPARK_CONF_DIR", str(ROOT / "conf"))
        patch.setenv("SPARK_LOCAL_DIRS", str(tmp_path_factory.mktemp("spark")))
        builder = SparkSession.builder.appName("tests").config("spark.ui.enabled", "false")
        jars = sorted((ROOT / "jars/spark").glob("*.jar"))
        session = builder.config("spark.jars", ",".join(map(str, jars))).getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def topic(kafka: str) -> str:
    """The name of a new topic as the product makes its own: 4 partitions, LogAppendTime; beside it that of gaps."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        time = {"message.timestamp.type": "LogAppendTime"}
        admin.create_topics(
            [NewTopic(name, 4, 1, topic_configs=time), NewTopic(f"{name}-gaps", 1, 1, topic_configs=time)]
        )
    finally:
        admin.close()
    return name
