"""How the raw view begins: it waits for a broker, and leaves out nothing that others of its group have not shown."""

from __future__ import annotations

import argparse
import threading
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError

from consumer import __main__ as program
from market.settings import load

ALL = [TopicPartition("topic", number) for number in range(4)]


class ScriptedConsumer:
    """A consumer that asks a broker for its topics, and notes what is done to it."""

    def __init__(self, *topics: Any) -> None:
        self.done: list[Any] = []
        self._topics = topics
        self._coordinator = self

    def request_rejoin(self) -> None:
        """Of its coordinator; `test_program` asks a real one."""

    def topics(self) -> Any:
        """What there is, or that nobody answers."""
        if isinstance(self._topics[0], Exception):
            raise self._topics[0]
        return set(self._topics)

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Four."""
        return {partition.partition for partition in ALL}

    def subscribe(self, topics: list[str], *, listener: object) -> None:
        """Subscribe."""
        self.done.append(("subscribe", topics))

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Go there."""
        self.done.append(("end", list(partitions)))

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Go there."""
        self.done.append(("beginning", list(partitions)))

    def close(self) -> None:
        """End."""
        self.done.append("close")


def test_a_broker_that_goes_away_while_it_is_asked_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told, the connection is given back, and another one is made."""
    monkeypatch.setenv("KAFKA_TOPIC", "topic")
    monkeypatch.setenv("KAFKA_BOOTSTRAP", "127.0.0.1:9")
    monkeypatch.setattr(program, "_WAIT_S", 0.0)
    first, second = ScriptedConsumer(KafkaConnectionError("gone")), ScriptedConsumer("topic")
    made = iter([first, second])
    monkeypatch.setattr(program, "KafkaConsumer", lambda **_: next(made))
    arguments = argparse.Namespace(group="group", from_beginning=False)
    assert program._connected(load(), arguments, threading.Event()) is second
    assert (first.done, second.done) == (["close"], [("subscribe", ["topic"])])
    assert caplog.messages == ["Kafka does not answer at 127.0.0.1:9 (KafkaConnectionError: gone); trying again"]


@pytest.mark.parametrize(
    ("from_beginning", "assignments", "done"),
    [
        (False, [ALL], [("end", ALL)]),
        (True, [ALL], [("beginning", ALL)]),
        (False, [ALL, ALL[:2], ALL], [("end", ALL)]),
        (False, [ALL[:2], ALL], []),
        (True, [ALL[:2], ALL], []),
        (False, [[], ALL], []),
    ],
)
def test_only_one_that_is_alone_in_its_group_chooses_where_to_begin(
    from_beginning: bool, assignments: list[list[TopicPartition]], done: list[Any]
) -> None:
    """One that joins others, or waits without a partition until they leave, goes on where they have come to."""
    consumer = ScriptedConsumer("topic")
    start = program._Start(consumer, from_beginning)
    for assigned in assignments:
        start.on_partitions_revoked([])
        start.on_partitions_assigned(assigned)
    assert consumer.done == done
