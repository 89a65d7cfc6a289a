"""`python -m producer` as a user runs it on live exchanges: what it publishes, how it ends, and how it goes on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from producer.publishing import topics
from tests.producer.doubles import elements
from tests.producer.program import environment, ids, in_time, run, running, simulator
from tests.producer.publishing.outage import OwnBroker
from tests.support import eventually, free_ports


@pytest.fixture
def topic(kafka: str, topic: str) -> str:
    """A new topic and that of its gaps, as the program makes them."""
    topics.create(kafka, topic, partitions=4)
    return topic


def whole(bootstrap: str, topic: str) -> bool:
    """Whether no id is missing of either exchange; none may be there twice."""
    found = ids(bootstrap, topic)
    for market, numbers in found.items():
        assert len(numbers) == len(set(numbers)), market
    complete = all(max(numbers) - min(numbers) < len(numbers) for numbers in found.values())
    return complete and {exchange for exchange, _ in found} == {"sim-binance", "sim-coinbase"}


def beats(bootstrap: str, topic: str) -> int:
    """How many heartbeats are in a topic."""
    return sum("heartbeat" in element for _, element in elements(bootstrap, topic))


@pytest.mark.e2e
def test_the_simulator_is_read_live_and_goes_on_after_a_stop_and_a_kill(kafka: str, topic: str, tmp_path: Path) -> None:
    """A signal ends it in ten seconds, with nothing un-acknowledged; after SIGKILL the next start leaves no hole."""
    (port,) = free_ports(1)
    env = environment(kafka, topic, SIMULATOR_PORT=str(port), SPILL_DIR=str(tmp_path / "spill"))
    log = tmp_path / "log"
    with simulator(tmp_path, port, "--rate", "60"):
        for signum in (signal.SIGINT, signal.SIGKILL, signal.SIGTERM):
            count = beats(kafka, topic)
            with running(env, log, "producer") as process:
                in_time(lambda count=count: beats(kafka, topic) > count)
                in_time(lambda: whole(kafka, topic))
                process.send_signal(signum)
                assert process.wait(10) == (-signum if signum == signal.SIGKILL else 0)
            if signum != signal.SIGKILL:
                assert ", un-acked 0, rejected 0, " in log.read_text().splitlines()[-1]


@pytest.mark.e2e
def test_a_second_signal_ends_at_once(kafka: str, topic: str, tmp_path: Path) -> None:
    """Exit code 128 and the signal's number: nothing is waited for."""
    (port,) = free_ports(1)
    log = tmp_path / "log"
    env = environment(kafka, topic, SIMULATOR_PORT=str(port), SPILL_DIR=str(tmp_path / "spill"))
    with running(env, log, "producer") as process:
        eventually(lambda: "no list of symbols" in log.read_text())
        process.send_signal(signal.SIGSTOP)  # so that both are there when it looks
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) in (128 + signal.SIGINT, 128 + signal.SIGTERM)


@pytest.mark.e2e
def test_what_kafka_did_not_take_before_the_stop_is_published_by_the_next_start(tmp_path: Path) -> None:
    """Kafka is killed, then the producer is stopped: it ends in ten seconds with 0, and no trade is lost."""
    (tmp_path / "kafka").mkdir()
    broker = OwnBroker(tmp_path / "kafka")
    (port,) = free_ports(1)
    folder = str(tmp_path / "spill")
    env = environment(broker.bootstrap, "t", SIMULATOR_PORT=str(port), SPILL_DIR=folder, SPILL_AFTER="1s")
    log = tmp_path / "log"
    try:
        topics.create(broker.bootstrap, "t", partitions=4)
        with simulator(tmp_path, port, "--rate", "60"):
            with running(env, log, "producer") as process:
                in_time(lambda: len(elements(broker.bootstrap, "t")) > 50)
                broker.send(signal.SIGKILL)
                eventually(lambda: "Kafka has failed" in log.read_text())
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) == 0
            assert " trades wait in " in log.read_text()
            assert list((tmp_path / "spill").rglob("*.records"))
            broker.mend()
            with running(env, log, "producer") as process:
                eventually(lambda: not list((tmp_path / "spill").rglob("*.records")))
                count = beats(broker.bootstrap, "t")
                in_time(lambda: beats(broker.bootstrap, "t") > count)
                in_time(lambda: whole(broker.bootstrap, "t"))
                process.send_signal(signal.SIGTERM)
                assert process.wait(10) == 0
            assert " records that an earlier run left in " in log.read_text()
    finally:
        broker.mend()
        broker.send(signal.SIGKILL)


@pytest.mark.e2e
def test_exchanges_that_all_refuse_end_the_program_with_their_reason(kafka: str, topic: str, tmp_path: Path) -> None:
    """Exit code 1, and the last line of the log but the account is the error, with what helps."""
    (port,) = free_ports(1)
    faults = tmp_path / "faults"
    faults.write_text(json.dumps([{"kind": "rest_451"}]))
    env = environment(kafka, topic, SIMULATOR_PORT=str(port), SPILL_LIMIT_MB="0")
    with simulator(tmp_path, port, "--faults", str(faults)):
        ended = run(env)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].partition("ERROR ")[2] == (
        f"sim-binance: http://127.0.0.1:{port}/api/v3/exchangeInfo answered HTTP 451: the exchange does not serve this "
        "address (Binance refuses some countries and many cloud providers); connect from elsewhere, or choose another "
        "SOURCE, such as coinbase or simulator"
    )
    assert "Traceback" not in ended.stderr


def test_an_absent_kafka_is_waited_for_and_a_signal_ends_the_wait(tmp_path: Path) -> None:
    """Each attempt is told; SIGTERM ends the program within ten seconds, with nothing lost."""
    (port,) = free_ports(1)
    log = tmp_path / "log"
    env = environment(f"127.0.0.1:{port}", "t", SPILL_DIR=str(tmp_path / "spill"))
    with running(env, log, "producer") as process:
        eventually(lambda: f"Kafka does not answer at 127.0.0.1:{port}" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
