"""The end of a publisher: in time, with everything in Kafka, on disk, or named as lost."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from pathlib import Path

import pytest
from kafka.errors import KafkaTimeoutError

from producer.publishing import publish
from producer.publishing.publish import LostRecordsError
from producer.publishing.spill import Spill
from tests.producer.doubles import ScriptedKafka, publisher, trade


def test_closing_keeps_on_disk_what_kafka_has_not_got(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In order: what was on its way first, then the open batches; the next run finds all of it."""
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka, batch_size=2, linger_ms=10_000, spill=Spill(tmp_path, "topic", limit_bytes=2**20))
        for number in range(5):
            target.trade(trade(number))
        await target.close(0.05)

    asyncio.run(scenario())
    left = [record for leftover in Spill(tmp_path, "topic", limit_bytes=0).leftovers() for record in leftover.records]
    assert [element["trade_id"] for record in left for element in json.loads(record.value)] == [0, 1, 2, 3, 4]
    assert caplog.messages == [f"5 trades wait in {tmp_path}/topic/1; the next start publishes them"]


def test_closing_does_not_wait_for_a_kafka_that_is_away(tmp_path: Path) -> None:
    """With a spill there is nothing to wait for."""
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka, spill=Spill(tmp_path, "topic", limit_bytes=2**20))
        target.trade(trade(1))
        kafka.futures[0].failure(KafkaTimeoutError("expired"))
        async with asyncio.timeout(5):
            await target.close(3_600)
        assert target.spilled == 1

    asyncio.run(scenario())


def test_closing_without_a_spill_does_not_wait_for_ever() -> None:
    """What is not acknowledged by the deadline is named as possibly lost."""

    async def scenario() -> None:
        target = publisher(ScriptedKafka(held=True))
        target.trade(trade(1))
        with pytest.raises(LostRecordsError) as caught:
            await target.close(0.05)
        assert str(caught.value) == (
            "1 trades were not acknowledged within 0.05 s of stopping and may be lost: is Kafka up? "
            "A replay can be run again; readers drop what they know"
        )

    asyncio.run(scenario())


def test_closing_ends_in_time_whatever_the_disk_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a disk takes, which hangs, is a part of the one that closing has."""
    hangs = threading.Event()
    monkeypatch.setattr(publish, "_GRACE_S", 0.1)
    monkeypatch.setattr(os, "fsync", lambda handle: hangs.wait(20))

    async def scenario() -> None:
        target = publisher(ScriptedKafka(held=True), spill=Spill(tmp_path, "topic", limit_bytes=2**20))
        target.trade(trade(1))
        with pytest.raises(LostRecordsError):
            async with asyncio.timeout(1.8):
                await target.close(0.2)

    try:
        asyncio.run(scenario())
    finally:
        hangs.set()


def test_closing_ends_in_time_whatever_the_session_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has nothing to send, and does not end, is left."""
    kafka, hangs = ScriptedKafka(), threading.Event()
    monkeypatch.setattr(publish, "_GRACE_S", 0.1)
    monkeypatch.setattr(kafka, "close", lambda: hangs.wait(20))

    async def scenario() -> None:
        target = publisher(kafka)
        target.trade(trade(1))
        async with asyncio.timeout(5):
            await target.close(1)
        assert target.published == 1

    try:
        asyncio.run(scenario())
    finally:
        hangs.set()
    assert kafka.failure == "stopped"
