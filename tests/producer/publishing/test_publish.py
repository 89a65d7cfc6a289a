"""What the publisher promises: order, bounds, acknowledgements, and no loss in silence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError

from market.trade import Heartbeat
from producer.publishing import publish, topics
from producer.publishing.connect import connect
from producer.publishing.publish import LostRecordsError, Publisher
from tests.producer.doubles import ScriptedKafka, publisher, records, trade, until

ELEMENT = {
    "exchange": "binance",
    "symbol": "BTCUSDT",
    "price": "1.50",
    "quantity": "2",
    "timestamp": 1_700_000_000_000,
    "trade_id": 1,
    "is_buyer_maker": True,
}


def test_one_trade_per_record_is_an_object_with_the_symbol_as_key() -> None:
    """With a batch size of 1, a record is one JSON object."""
    kafka = ScriptedKafka()

    async def scenario() -> None:
        publisher(kafka).trade(trade(1))

    asyncio.run(scenario())
    assert kafka.sent == [(ELEMENT, b"BTCUSDT", None)]


def test_a_full_batch_leaves_at_once_and_an_old_one_after_the_linger_time() -> None:
    """With a larger size, a record is a JSON array, also where it holds a single trade."""
    kafka = ScriptedKafka()

    async def scenario() -> int:
        target = publisher(kafka, batch_size=2, linger_ms=30)
        for number in (1, 2, 3):
            target.trade(trade(number))
        assert len(kafka.sent) == 1
        assert target.unacknowledged == 1
        await until(lambda: len(kafka.sent) == 2)
        return target.published

    assert asyncio.run(scenario()) == 3
    assert kafka.sent == [
        ([ELEMENT, ELEMENT | {"trade_id": 2}], b"BTCUSDT", None),
        ([ELEMENT | {"trade_id": 3}], b"BTCUSDT", None),
    ]


def test_a_heartbeat_goes_to_each_partition() -> None:
    """It has no key: its partition is said."""
    kafka = ScriptedKafka()

    async def scenario() -> None:
        publisher(kafka).heartbeat(Heartbeat("coinbase", 5))

    asyncio.run(scenario())
    assert kafka.sent == [({"exchange": "coinbase", "heartbeat": 5}, None, partition) for partition in (0, 1)]


def test_acknowledged_waits_for_what_came_before_and_for_nothing_later() -> None:
    """Waiting drains the open batches; trades that come meanwhile do not prolong it."""
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka, batch_size=10, linger_ms=10_000)
        target.trade(trade(1))
        target.trade(trade(1, "ETHUSDT"))
        waiting = asyncio.create_task(target.acknowledged())
        await until(lambda: len(kafka.sent) == 2)
        target.trade(trade(2))
        kafka.acknowledge(1)
        await asyncio.sleep(0)
        assert not waiting.done()
        kafka.acknowledge(1)
        async with asyncio.timeout(5):
            await waiting
        assert (target.published, target.unacknowledged) == (2, 1)

    asyncio.run(scenario())


def test_the_reader_waits_when_too_many_records_are_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the bound the publisher is full; it has room again when a quarter of it is acknowledged."""
    monkeypatch.setattr(publish, "RECORDS_IN_FLIGHT", 8)
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka)
        for number in range(8):
            assert not target.full
            target.trade(trade(number))
        assert target.full
        waiting = asyncio.create_task(target.room())
        for _ in range(2):
            await asyncio.sleep(0)
            assert not waiting.done()
            kafka.acknowledge(1)
        async with asyncio.timeout(5):
            await waiting
        assert not target.full

    asyncio.run(scenario())


def test_the_bound_counts_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few large records fill it as well as many small ones."""
    monkeypatch.setattr(publish, "BYTES_IN_FLIGHT", 1_000)

    async def scenario() -> bool:
        target = publisher(ScriptedKafka(held=True), batch_size=10)
        for number in range(10):
            target.trade(trade(number))
        return target.full

    assert asyncio.run(scenario())


def test_a_lost_record_ends_everything_with_the_number_of_trades() -> None:
    """One failed future fails every wait, and the trades count as un-acknowledged to the end."""
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka)
        watching = asyncio.create_task(target.watch())
        for number in range(3):
            target.trade(trade(number))
        await asyncio.sleep(0)
        kafka.acknowledge(1)
        kafka.futures[1].failure(KafkaTimeoutError("expired"))
        for wait in (watching, target.acknowledged(), target.room(), target.close(1)):
            with pytest.raises(LostRecordsError) as caught:
                await asyncio.wait_for(wait, 5)
            assert str(caught.value) == (
                "Kafka did not take 2 trades (KafkaTimeoutError('expired')). Mend Kafka and start "
                "again, a replay from its beginning: readers drop what they know"
            )
        assert (target.full, target.published, target.unacknowledged) == (True, 1, 2)

    asyncio.run(scenario())


def test_a_record_refused_at_once_is_lost_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `send` raises is not swallowed."""
    kafka = ScriptedKafka()

    def refuse(*_: Any, **__: Any) -> None:
        raise MessageSizeTooLargeError("too large")

    monkeypatch.setattr(kafka, "send", refuse)

    async def scenario() -> None:
        target = publisher(kafka)
        target.trade(trade(1))
        with pytest.raises(LostRecordsError, match="did not take 1 trades"):
            await target.watch()

    asyncio.run(scenario())


def test_closing_does_not_wait_for_ever() -> None:
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


@pytest.mark.e2e
@pytest.mark.parametrize("batch_size", [1, 32])
def test_kafka_has_every_trade_once_and_in_order(kafka: str, topic: str, batch_size: int) -> None:
    """20,000 trades of two symbols through a real broker: each symbol in one partition, in the order of ids."""

    async def scenario() -> int:
        producer = await connect(kafka, topic, linger_ms=5)
        target = Publisher(producer, topic, batch_size=batch_size, linger_ms=5)
        for number in range(10_000):
            for symbol in ("BTCUSDT", "ETHUSDT"):
                target.trade(trade(number, symbol))
            if target.full:
                await target.room()
        await target.acknowledged()
        target.heartbeat(Heartbeat("binance", 1_700_000_060_000))
        await target.close(30)
        return target.published

    assert asyncio.run(scenario()) == 20_000
    ids: dict[tuple[int, str], list[int]] = {}
    beats = []
    for record in records(kafka, topic):
        content = json.loads(record.value)
        for element in content if isinstance(content, list) else [content]:
            if "heartbeat" in element:
                beats.append(record.partition)
            else:
                assert record.key == element["symbol"].encode()
                ids.setdefault((record.partition, element["symbol"]), []).append(element["trade_id"])
    assert sorted(symbol for _, symbol in ids) == ["BTCUSDT", "ETHUSDT"]
    assert all(numbers == list(range(10_000)) for numbers in ids.values())
    assert sorted(beats) == [0, 1, 2, 3]


@pytest.mark.e2e
def test_a_topic_is_created_once_and_differences_are_told(kafka: str, caplog: pytest.LogCaptureFixture) -> None:
    """Creating it again is fine; other settings are warned of with both values, and nothing is changed."""
    first = topics.create(kafka, "created", partitions=3)
    assert first == "topic created created: 3 partitions, message.timestamp.type=LogAppendTime"
    assert topics.create(kafka, "created", partitions=3) == "topic created exists as it should be"
    assert topics.create(kafka, "created", partitions=5) == "topic created exists"
    assert "topic created has 3 partitions, and KAFKA_PARTITIONS says 5; it stays as it is" in caplog.text


def test_a_topic_with_other_times_is_told() -> None:
    """CreateTime would let retention delete replays of old trades."""
    assert topics.differences("t", 4, 4, "CreateTime") == [
        "topic t has message.timestamp.type=CreateTime, and LogAppendTime is expected"
    ]
