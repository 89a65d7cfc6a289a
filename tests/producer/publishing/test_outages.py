"""A real broker that is killed, frozen or gone: every trade arrives, and each symbol's for the first time in order."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from kafka.producer.kafka import KafkaProducer

from producer.publishing.connect import connect
from producer.publishing.publish import LostRecordsError, Publisher
from producer.publishing.spill import Spill
from tests.producer.doubles import records, trade, until
from tests.producer.publishing.outage import SYMBOLS, Load, OwnBroker, check, senders
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")]

LIMIT = 2**30


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnBroker]:
    one = OwnBroker(tmp_path_factory.mktemp("kafka"))
    try:
        yield one
    finally:
        one.send(signal.SIGKILL)


@pytest.fixture
def broker(_running: OwnBroker) -> Iterator[OwnBroker]:
    """A running broker; it may be left in any state."""
    _running.mend()
    yield _running
    eventually(lambda: not senders())
    gc.collect()  # kafka-python leaves sockets of refused connections to the garbage collector


@pytest.fixture
def topic(broker: OwnBroker) -> str:
    """A new topic of that broker."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    broker.create(name)
    return name


@pytest.mark.parametrize("kept", [pytest.param("memory", marks=pytest.mark.long), "spill"])
def test_a_broker_killed_under_load_gets_every_trade(broker: OwnBroker, topic: str, tmp_path: Path, kept: str) -> None:
    """Killed, and started again after more than `stall_s`; with a spill reading never pauses."""

    async def scenario() -> int:
        to_kafka = partial(connect, broker.bootstrap, topic, linger_ms=5)
        spill = Spill(tmp_path / "spill", topic, limit_bytes=LIMIT) if kept == "spill" else None
        target = Publisher(to_kafka, await to_kafka(), topic, batch_size=1, linger_ms=5, spill=spill, stall_s=1.0)
        load = Load(target, 2_000)
        await until(lambda: target.published > 2_000)
        broker.send(signal.SIGKILL)
        await until(lambda: not target.connected)
        if spill:
            await until(lambda: target.spilled > 5_000)
            assert load.paused == 0
        else:
            await until(lambda: load.paused == 1)
        broker.launch()
        async with asyncio.timeout(60):
            await target.acknowledged()
        assert target.sessions == 2
        await load.stop()
        await target.close(20)
        assert (target.unacknowledged, target.spilled) == (0, 0)
        assert target.published == load.count * len(SYMBOLS)
        return load.count

    check(broker, topic, asyncio.run(scenario()))


def test_a_frozen_broker_gets_every_trade_in_order(broker: OwnBroker, topic: str, tmp_path: Path) -> None:
    """What lay in its sockets is written when it goes on, beside what the next session sends: doubled, not swapped."""

    async def scenario() -> int:
        to_kafka = partial(connect, broker.bootstrap, topic, linger_ms=5)
        spill = Spill(tmp_path / "spill", topic, limit_bytes=LIMIT)
        target = Publisher(to_kafka, await to_kafka(), topic, batch_size=1, linger_ms=5, spill=spill, stall_s=1.0)
        load = Load(target, 4_000)
        await until(lambda: target.published > 5_000)
        broker.send(signal.SIGSTOP)
        await until(lambda: target.spilled > 10_000)
        broker.send(signal.SIGCONT)
        async with asyncio.timeout(40):
            await target.acknowledged()
        await load.stop()
        assert (load.paused, target.sessions > 1) == (0, True)
        await target.close(20)
        assert target.published == load.count * len(SYMBOLS)
        return load.count

    count = asyncio.run(scenario())
    check(broker, topic, count)


@pytest.mark.parametrize("how", [pytest.param(signal.SIGKILL, marks=pytest.mark.long), signal.SIGSTOP])
def test_a_broker_away_at_the_end_leaves_everything_on_disk(
    broker: OwnBroker, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: signal.Signals
) -> None:
    """Closing ends in time, says how many trades wait, and the next run has them all, in order."""
    caplog.set_level(logging.WARNING, "producer.publishing.publish")

    async def first() -> tuple[int, int]:
        to_kafka = partial(connect, broker.bootstrap, topic, linger_ms=5)
        spill = Spill(tmp_path / "spill", topic, limit_bytes=LIMIT)
        target = Publisher(to_kafka, await to_kafka(), topic, batch_size=1, linger_ms=5, spill=spill, stall_s=1.0)
        load = Load(target, 4_000)
        await until(lambda: target.published > 1_000)
        broker.send(how)
        count = load.count
        await until(lambda: load.count > count + 50)  # trades that come when it is gone
        await load.stop()
        async with asyncio.timeout(10):
            await target.close(6)
        return load.count, load.count * len(SYMBOLS) - target.published

    async def second() -> int:
        to_kafka = partial(connect, broker.bootstrap, topic, linger_ms=5)
        session = await to_kafka()
        spill = Spill(tmp_path / "spill", topic, limit_bytes=LIMIT)
        target = Publisher(to_kafka, session, topic, batch_size=1, linger_ms=5, spill=spill, stall_s=5.0)
        for leftover in spill.leftovers():
            for record in leftover.records:
                element = json.loads(record.value)
                target.trade(trade(element["trade_id"], element["symbol"]))
            await target.acknowledged()
            spill.forget(leftover.mark)
        assert (spill.size, spill.torn, spill.damaged) == (0, 0, 0)
        await target.close(20)
        return target.published

    count, waiting = asyncio.run(first())
    assert f"{waiting} trades wait in {tmp_path}/spill/{topic}/1; the next start publishes them" in caplog.messages
    if how == signal.SIGSTOP:
        broker.send(signal.SIGCONT)
    else:
        broker.start()
    assert asyncio.run(second()) == waiting > 0
    check(broker, topic, count)


def test_without_a_spill_a_broker_away_at_the_end_is_a_loss(broker: OwnBroker, topic: str) -> None:
    """It is named with the number of trades, within the deadline."""

    async def scenario() -> None:
        to_kafka = partial(connect, broker.bootstrap, topic, linger_ms=5)
        target = Publisher(to_kafka, await to_kafka(), topic, batch_size=1, linger_ms=5)
        broker.send(signal.SIGSTOP)
        for number in range(10):
            target.trade(trade(number))
        with pytest.raises(LostRecordsError) as caught:
            async with asyncio.timeout(10):
                await target.close(1)
        assert str(caught.value).startswith("10 trades were not acknowledged within 1 s of stopping and may be lost")

    asyncio.run(scenario())


def test_a_record_that_the_topic_does_not_take_stops_nothing(broker: OwnBroker, topic: str, tmp_path: Path) -> None:
    """Larger than the topic's limit, or than any request: refused and counted; what is around it arrives."""
    small = f"{topic}-small"
    broker.create(small, **{"max.message.bytes": "2000"})

    async def scenario(name: str, spill: Spill | None) -> None:
        to_kafka = partial(connect, broker.bootstrap, small, linger_ms=5)
        target = Publisher(to_kafka, await to_kafka(), small, batch_size=10, linger_ms=5, spill=spill)
        for number in range(10):
            target.trade(trade(number, name))
            await target.acknowledged()
            if number == 4:
                for large in range(10):
                    target.trade(trade(large, "LARGE")._replace(price="1" * 300))
            if number == 7:
                target.trade(trade(0, "HUGE")._replace(price="1" * 2_000_000))
        async with asyncio.timeout(20):
            await target.acknowledged()
        assert (target.published, target.refused, target.unacknowledged) == (10, 11, 0)
        await target.close(5)

    for name, spill in (("WITHOUT", None), ("WITH", Spill(tmp_path / "spill", small, limit_bytes=LIMIT))):
        asyncio.run(scenario(name, spill))
    found = [json.loads(record.value)[0] for record in records(broker.bootstrap, small)]
    first_seen = dict.fromkeys((one["symbol"], one["trade_id"]) for one in found)
    for name in ("WITHOUT", "WITH"):
        assert [number for symbol, number in first_seen if symbol == name] == list(range(10))
    assert len(first_seen) == 20


def test_a_symbol_lies_where_every_client_puts_it(broker: OwnBroker, topic: str) -> None:
    """The partition of a key is that of kafka-python's own partitioner, which is Java's."""

    async def scenario() -> None:
        session = await connect(broker.bootstrap, topic, linger_ms=5)
        for symbol in SYMBOLS:
            session.send(topic, value=b'{"ours":1}', key=symbol.encode(), partition=None)
        await asyncio.to_thread(session.close)

    asyncio.run(scenario())
    kafka = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for symbol in SYMBOLS:
        kafka.send(topic, value=b'{"ours":0}', key=symbol.encode())
    kafka.close()
    where: dict[bytes, list[int]] = {}
    for record in records(broker.bootstrap, topic):
        where.setdefault(record.key, []).append(record.partition)
    assert all(len(found) == 2 and len(set(found)) == 1 for found in where.values())
    assert len(where) == len(SYMBOLS)
