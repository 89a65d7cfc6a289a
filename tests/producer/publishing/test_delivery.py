"""Kafka fails in every way it has, scripted: what the publisher does then, with a spill and without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from market.trade import Heartbeat
from producer.publishing.publish import Publisher
from producer.publishing.spill import Spill
from tests.producer.doubles import ScriptedKafka, publisher, trade, until
from tests.producer.publishing.spilled import ids

pytestmark = pytest.mark.usefixtures("no_pause")


def test_a_failed_record_is_sent_again_by_another_session(
    new_spill: Callable[[], Spill | None], caplog: pytest.LogCaptureFixture
) -> None:
    """Everything from the first un-acknowledged record on, in order, and what came meanwhile behind it."""
    first, second = ScriptedKafka(held=True), ScriptedKafka()

    async def scenario() -> None:
        target = publisher(first, second, spill=new_spill())
        for number in range(5):
            target.trade(trade(number))
        first.acknowledge(2)
        first.futures[2].failure(KafkaTimeoutError("expired"))
        assert first.failure == "KafkaTimeoutError('expired')"
        for number in range(5, 8):
            target.trade(trade(number))
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert (target.published, target.unacknowledged, target.spilled, target.sessions) == (8, 0, 0, 2)
        target.trade(trade(8))
        await target.close(5)
        assert target.published == 9
        assert second.closed

    asyncio.run(scenario())
    assert ids(second) == [2, 3, 4, 5, 6, 7, 8]
    assert caplog.records[0].message.startswith("Kafka has failed (KafkaTimeoutError('expired')); connecting again; ")


def test_a_kafka_that_acknowledges_nothing_is_left(new_spill: Callable[[], Spill | None]) -> None:
    """After `stall_s` with records waiting; an idle one is not left."""
    first, second = ScriptedKafka(held=True), ScriptedKafka()

    async def scenario() -> None:
        target = publisher(first, second, stall_s=0.2, spill=new_spill())
        ticks = ticks_of(target)
        await until(lambda: ticks() > 8)  # of which 4 are `stall_s`
        assert first.failure is None
        target.trade(trade(1))
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert first.failure == "it has acknowledged nothing for 0.2 s"

    asyncio.run(scenario())
    assert ids(second) == [1]


def test_several_sessions_may_fail_before_one_holds(new_spill: Callable[[], Spill | None]) -> None:
    """Each begins with the first record that no session has got acknowledged."""
    sessions = [ScriptedKafka(held=True) for _ in range(4)]

    async def scenario() -> None:
        target = publisher(*sessions, spill=new_spill())
        for number in range(600):
            target.trade(trade(number))
        for number, session in enumerate(sessions[:-1]):
            await until(lambda session=session: len(session.sent) > 10)  # type: ignore[misc]
            target.trade(trade(600 + number))
            session.acknowledge(10)
            session.futures[12].failure(KafkaTimeoutError("expired"))
        await until(lambda: len(sessions[-1].sent) == 573)
        sessions[-1].acknowledge(1_000)
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert (target.published, target.unacknowledged, target.sessions) == (603, 0, 4)
        await target.close(1)

    asyncio.run(scenario())
    assert [ids(session)[0] for session in sessions] == [0, 10, 20, 30]
    assert ids(sessions[-1]) == list(range(30, 603))


def test_what_send_raises_is_a_failure_like_any_other(
    new_spill: Callable[[], Spill | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that could not even be handed over is the first one of the next session."""
    first, second = ScriptedKafka(), ScriptedKafka()

    def refuse(*_: Any, **__: Any) -> None:
        raise KafkaTimeoutError("no metadata")

    monkeypatch.setattr(first, "send", refuse)

    async def scenario() -> int:
        target = publisher(first, second, spill=new_spill())
        target.trade(trade(1))
        target.trade(trade(2))
        async with asyncio.timeout(5):
            await target.acknowledged()
        return target.published

    assert asyncio.run(scenario()) == 2
    assert ids(second) == [1, 2]


def ticks_of(target: Publisher) -> Callable[[], int]:
    """How often the publisher has looked whether something has come to a stop."""
    window = target._delivery.window
    counted = 0
    reap = window.reap

    def counting() -> bool:
        nonlocal counted
        counted += 1
        return reap()

    window.reap = counting  # type: ignore[method-assign]
    return lambda: counted


def test_heartbeats_are_dropped_while_kafka_is_away() -> None:
    """They would come stale. A closing heartbeat is kept, for a replay ends with it."""
    first, second = ScriptedKafka(), ScriptedKafka()

    async def scenario() -> None:
        target = publisher(first, second)
        target.trade(trade(1))
        await target.acknowledged()
        first.held = True
        target.trade(trade(2))
        first.futures[-1].failure(KafkaTimeoutError("expired"))
        await asyncio.sleep(0)
        target.heartbeat(Heartbeat("binance", 5))
        target.closing_heartbeat(Heartbeat("binance", 6))
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert target.dropped_heartbeats == 1

    asyncio.run(scenario())
    assert [content.get("heartbeat") for content, _, _ in second.sent] == [None, 6]


def test_without_a_spill_the_publisher_is_full_until_kafka_is_back() -> None:
    """What is handed over all the same is kept."""
    first, second = ScriptedKafka(held=True), ScriptedKafka()

    async def scenario() -> None:
        target = publisher(first, second)
        target.trade(trade(1))
        first.futures[0].failure(KafkaTimeoutError("expired"))
        await asyncio.sleep(0)
        assert target.full
        target.trade(trade(2))
        async with asyncio.timeout(5):
            await target.room()
        assert not target.full
        await target.acknowledged()
        assert target.published == 2

    asyncio.run(scenario())


def test_with_a_spill_reading_goes_on_until_that_is_full(tmp_path: Path) -> None:
    """While Kafka is away, records go to disk; at the limit the publisher is full, and nothing is dropped."""
    first, second = ScriptedKafka(held=True), ScriptedKafka()

    async def scenario() -> None:
        spill = Spill(tmp_path, "topic", limit_bytes=10_000)
        allowed = asyncio.Event()
        target = publisher(first, second, spill=spill, gate=allowed)
        target.trade(trade(0))
        first.futures[0].failure(KafkaTimeoutError("expired"))
        await asyncio.sleep(0)
        number = 0
        while not target.full:
            number += 1
            target.trade(trade(number))
        assert 10_000 <= spill.size < 11_000
        assert target.spilled == target.unacknowledged == number + 1
        room = asyncio.create_task(target.room())
        await spill.sync()
        await asyncio.sleep(0.05)
        assert not room.done()
        allowed.set()
        async with asyncio.timeout(5):
            await room
            await target.acknowledged()
        assert (target.published, target.spilled, spill.size) == (number + 1, 0, 0)
        assert ids(second) == list(range(number + 1))
        await target.close(1)

    asyncio.run(scenario())
