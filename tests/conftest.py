"""What tests share: one real Kafka broker and one Redis for the session, and a fresh topic for each test that asks."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator

import pytest
from hypothesis import settings
from kafka.admin import KafkaAdminClient, NewTopic
from pyspark.sql import SparkSession

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


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run two at a time (`--dist=loadgroup`), those with a Spark session share one, beside the others."""
    for item in items:
        is_in_process = (ROOT / "tests/bars") in item.path.parents
        item.add_marker(pytest.mark.xdist_group("spark" if is_in_process else "programs"))


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
    if not redis_server.is_alive:
        redis_server.start()
    redis_server.client.flushall()
    redis_server.client.script_flush()
    return redis_server


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
