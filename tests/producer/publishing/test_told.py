"""What cannot reach Kafka is told, with its trades, and what cannot be tidied up stops nothing."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

from market.gap import Gap
from market.trade import Trade
from producer.publishing.spill import Spill
from tests.producer.doubles import ScriptedKafka, publisher, trade, until
from tests.producer.publishing.spilled import ids

pytestmark = pytest.mark.usefixtures("no_pause")


@pytest.mark.parametrize("at_once", [True, False], ids=["raised", "failed"])
def test_a_record_too_large_is_dropped_counted_and_told(
    new_spill: Callable[[], Spill | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at_once: bool,
) -> None:
    """Neither does it stop the program, nor is it tried for ever; the records around it arrive, in order."""
    caplog.set_level(logging.ERROR, "producer.publishing.window")
    first, second = ScriptedKafka(held=True), ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(first, second, spill=new_spill())
        if at_once:
            limited(first, monkeypatch)
            limited(second, monkeypatch)
        for number in (1, 2, 3):
            target.trade(trade(number))
        if not at_once:
            first.futures[1].failure(MessageSizeTooLargeError("too large"))
        else:
            first.futures[1].failure(KafkaTimeoutError("expired"))  # both are read from the backlog then
        await until(lambda: len(second.sent) == 2)
        waiting = asyncio.create_task(target.acknowledged())
        second.acknowledge(1)
        await asyncio.sleep(0.01)
        assert not waiting.done()
        second.acknowledge(1)
        async with asyncio.timeout(5):
            await waiting
        assert (target.published, target.refused, target.unacknowledged) == (2, 1, 0)

    asyncio.run(scenario())
    assert ids(second) == [1, 3]
    told = [record.message for record in caplog.records if record.name == "producer.publishing.window"]
    assert told == [
        "Kafka does not take a record of 132 bytes (key BTCUSDT, 1 trades): it is dropped; a larger max.message.bytes "
        "of topic topic, or a smaller BATCH_SIZE, would let such a record pass"
    ]


def limited(kafka: ScriptedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a Kafka refuse trade 2, as kafka-python refuses a record beyond its own limit."""
    send = kafka.send

    def refuse(topic: str, *, value: bytes, key: bytes | None, partition: int | None) -> Any:
        content = json.loads(value)
        if (content[0] if isinstance(content, list) else content).get("trade_id") == 2:
            raise MessageSizeTooLargeError("too large")
        return send(topic, value=value, key=key, partition=partition)

    monkeypatch.setattr(kafka, "send", refuse)


@pytest.mark.parametrize("ends", ["acknowledged", "close"])
def test_the_trades_of_a_record_too_large_are_told(
    new_spill: Callable[[], Spill | None], monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Once, with all of them; the record of the gap that is made of it is in Kafka when the publisher has closed."""
    kafka = ScriptedKafka()
    told: list[list[int]] = []

    async def scenario() -> None:
        def on_refused(trades: Sequence[Trade]) -> None:
            told.append([one.trade_id for one in trades])
            target.gap(Gap("binance", "BTCUSDT", trades[0].trade_id, trades[-1].trade_id, "lost", "too large", 1))

        target = publisher(kafka, batch_size=2, spill=new_spill(), on_refused=on_refused)
        limited(kafka, monkeypatch)
        for number in range(6):
            target.trade(trade(number))
        if ends == "acknowledged":
            await target.acknowledged()
            assert told == [[2, 3]]
        await target.close(5)
        assert (target.published, target.refused, target.unacknowledged) == (4, 2, 0)

    asyncio.run(scenario())
    assert told == [[2, 3]]
    assert [(topic, content) for topic, (content, _, _) in zip(kafka.topics, kafka.sent, strict=True)][-1] == (
        "topic-gaps",
        Gap("binance", "BTCUSDT", 2, 3, "lost", "too large", 1)._asdict(),
    )


def test_trades_that_the_spill_does_not_give_back_are_counted(tmp_path: Path) -> None:
    """They count as unreadable, once, while what is around them arrives."""
    first, second = ScriptedKafka(held=True), ScriptedKafka()

    async def scenario() -> None:
        spill, allowed = Spill(tmp_path, "topic", limit_bytes=2**20), asyncio.Event()
        target = publisher(first, second, spill=spill, gate=allowed)
        for number in range(5):
            target.trade(trade(number))
        first.futures[0].failure(KafkaTimeoutError("expired"))
        await asyncio.sleep(0)
        await spill.sync()
        (path,) = spill.folder.glob("*.records")
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        allowed.set()
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert (target.published, target.unreadable, target.unacknowledged) == (4, 1, 0)
        await target.close(5)

    asyncio.run(scenario())
    assert ids(second) == [0, 1, 2, 3]


def test_a_file_that_cannot_be_removed_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once and tried again; records go on, and a Kafka that comes to a stop later is still noticed."""
    first, second, third = ScriptedKafka(held=True), ScriptedKafka(), ScriptedKafka()
    unlink = Path.unlink
    broken = True

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if broken:
            raise OSError(errno.EROFS, "Read-only file system")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)

    async def scenario() -> None:
        nonlocal broken
        spill = Spill(tmp_path, "topic", limit_bytes=2**20)
        allowed = asyncio.Event()
        target = publisher(first, second, third, spill=spill, gate=allowed, stall_s=0.2)
        target.trade(trade(0))
        first.futures[0].failure(KafkaTimeoutError("expired"))
        await asyncio.sleep(0)
        await spill.sync()
        allowed.set()
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert (target.published, spill.trades, spill.size > 0) == (1, 0, True)
        broken = False
        second.held = True
        target.trade(trade(1))
        async with asyncio.timeout(5):
            await target.acknowledged()
        assert second.failure == "it has acknowledged nothing for 0.2 s"
        spill.acknowledge(0, 0)
        assert spill.size == 0
        await target.close(5)

    asyncio.run(scenario())
    path = tmp_path / "topic/1/00000001.records"
    told = [message for message in caplog.messages if "removed" in message]
    assert told == [
        f"{path} cannot be removed ([Errno 30] Read-only file system), though Kafka has its records: it is tried "
        "again; the next start would publish them once more, which readers drop"
    ]


def test_looking_for_a_stop_goes_on_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error in one look is told by the loop, and the next look comes all the same."""

    async def scenario() -> int:
        met: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: met.append(context["exception"]))
        target = publisher(ScriptedKafka(), stall_s=0.05)

        def broken() -> bool:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(target._delivery.window, "reap", broken)
        await until(lambda: len(met) > 2)
        return len(met)

    assert asyncio.run(scenario()) > 2
