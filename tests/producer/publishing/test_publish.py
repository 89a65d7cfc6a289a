"""What the publisher promises: order, bounds, acknowledgements, and no loss in silence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from market.gap import Gap
from market.trade import Heartbeat
from producer import ProducerError
from producer.publishing import delivery
from producer.publishing.connect import connect
from producer.publishing.publish import Publisher
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

    async def scenario() -> None:
        target = publisher(kafka, batch_size=2, linger_ms=30)
        for number in (1, 2, 3):
            target.trade(trade(number))
        assert len(kafka.sent) == 1
        assert target.unacknowledged == 3
        await until(lambda: target.published == 3)
        assert target.unacknowledged == 0

    asyncio.run(scenario())
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


def test_a_gap_goes_to_the_topic_of_gaps() -> None:
    """Its key is the symbol; it holds no trade."""
    kafka = ScriptedKafka()
    gap = Gap("binance", "BTCUSDT", 5, 9, "lost", "pruned", 1_700_000_000_000)

    async def scenario() -> int:
        target = publisher(kafka)
        target.gap(gap)
        await target.acknowledged()
        return target.published

    assert asyncio.run(scenario()) == 0
    assert kafka.sent == [(gap._asdict(), b"BTCUSDT", None)]
    assert kafka.topics == ["topic-gaps"]


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


def test_an_acknowledgement_out_of_turn_is_not_taken_for_an_earlier_one() -> None:
    """One partition may be ahead of another: what was taken before counts record by record."""
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka)
        target.trade(trade(1))
        waiting = asyncio.create_task(target.acknowledged())
        await until(lambda: len(kafka.sent) == 1)
        for number in range(2, 20):
            target.trade(trade(number))
            kafka.acknowledge_last()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        kafka.acknowledge(1)
        async with asyncio.timeout(5):
            await waiting
        assert target.published == 19

    asyncio.run(scenario())


def test_the_reader_waits_when_too_many_records_are_in_flight() -> None:
    """At the bound the publisher is full; it has room again when a quarter of it is acknowledged."""
    kafka = ScriptedKafka(held=True)

    async def scenario() -> None:
        target = publisher(kafka, records_in_flight=8)
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
        assert target.records_in_flight == 6

    asyncio.run(scenario())


def test_the_bound_counts_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few large records fill it as well as many small ones."""
    monkeypatch.setattr(delivery, "BYTES_IN_FLIGHT", 1_000)

    async def scenario() -> bool:
        target = publisher(ScriptedKafka(held=True), batch_size=10)
        for number in range(10):
            target.trade(trade(number))
        return target.full

    assert asyncio.run(scenario())


def test_an_error_that_is_not_kafkas_ends_the_watch() -> None:
    """Where no session can be made at all, the program is told."""

    async def broken() -> Any:
        raise ProducerError("no checksums")

    async def scenario() -> None:
        kafka: Any = ScriptedKafka(held=True)
        target = Publisher(broken, kafka, "topic", batch_size=1, linger_ms=0)
        target.trade(trade(1))
        kafka.futures[0].failure(KafkaTimeoutError("expired"))
        with pytest.raises(ProducerError, match="no checksums"):
            await target.watch()

    asyncio.run(scenario())


@pytest.mark.e2e
@pytest.mark.parametrize("batch_size", [1, 32])
def test_kafka_has_every_trade_once_and_in_order(kafka: str, topic: str, batch_size: int) -> None:
    """20,000 trades of two symbols through a real broker: each symbol in one partition, in the order of ids."""

    async def scenario() -> int:
        async def again() -> Any:
            raise AssertionError("the session fails")

        session = await connect(kafka, topic, linger_ms=5)
        target = Publisher(again, session, topic, batch_size=batch_size, linger_ms=5)
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
    found: dict[tuple[int, str], list[int]] = {}
    beats = []
    for record in records(kafka, topic):
        content = json.loads(record.value)
        for element in content if isinstance(content, list) else [content]:
            if "heartbeat" in element:
                beats.append(record.partition)
            else:
                assert record.key == element["symbol"].encode()
                found.setdefault((record.partition, element["symbol"]), []).append(element["trade_id"])
    assert sorted(symbol for _, symbol in found) == ["BTCUSDT", "ETHUSDT"]
    assert all(numbers == list(range(10_000)) for numbers in found.values())
    assert sorted(beats) == [0, 1, 2, 3]
