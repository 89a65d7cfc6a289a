"""The tail is read from a real Kafka: whole, bounded, up to where it ended, or not at all and with an error."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import KafkaTimeoutError

from market.gap import Gap, gap_record
from market.trade import Heartbeat, Trade, record_of
from producer.completeness import resume
from producer.completeness.resume import ResumeError, Tail, tail
from producer.completeness.sequence import Hole, Sequences

HOUR_MS = 3_600_000


@pytest.fixture
def topics(kafka: str, topic: str) -> tuple[str, str]:
    """A new topic of trades with 4 partitions, and its gaps topic. Their records bear the times they are given."""
    admin = KafkaAdminClient(bootstrap_servers=kafka)
    try:
        admin.create_topics([NewTopic(f"{topic}-timed", 4, 1), NewTopic(f"{topic}-timed-gaps", 1, 1)])
    finally:
        admin.close()
    return f"{topic}-timed", f"{topic}-timed-gaps"


@pytest.fixture
def producer(kafka: str) -> Iterator[KafkaProducer]:
    """A plain producer."""
    producer = KafkaProducer(bootstrap_servers=kafka, linger_ms=20)
    yield producer
    producer.close(timeout=5)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def made(numbers: Sequence[int], symbol: str = "BTCUSDT", time_ms: int | None = None) -> list[Trade]:
    """Trades of now."""
    return [Trade("binance", symbol, "1.50", "2", time_ms or now_ms(), number, True) for number in numbers]


def publish(producer: KafkaProducer, topic: str, trades: Sequence[Trade]) -> None:
    """Write trades as the publisher does; each record's Kafka time is its trade's."""
    for trade in trades:
        producer.send(topic, key=trade.symbol.encode(), value=record_of(trade), timestamp_ms=trade.timestamp)
    producer.flush(timeout=20)


def read(kafka: str, topics: tuple[str, str], *, window_ms: int = HOUR_MS, records: int = 10_000) -> Tail:
    """The tail of both topics."""
    return tail(kafka, *topics, window_ms=window_ms, records=records, exchanges=["binance"])


def restored(found: Tail) -> Sequences:
    """Sequences that go on from a tail."""
    sequences = Sequences(wait_s=2.0)
    found.restore("binance", sequences)
    return sequences


def test_every_symbol_goes_on_where_its_partition_ends(
    kafka: str, topics: tuple[str, str], producer: KafkaProducer
) -> None:
    """Symbols of all partitions, their holes, the gaps topic and the heartbeats are read."""
    symbols = [f"S{letter}USDT" for letter in "ABCDEFGH"]
    for symbol in symbols:
        publish(producer, topics[0], made([5, 6, 8], symbol))
    beat_ms = now_ms() - 10
    beat = json.dumps(Heartbeat("binance", beat_ms)._asdict()).encode()
    for partition in range(4):
        producer.send(topics[0], value=beat, partition=partition)
    for status, first, last in (("open", 1, 3), ("filled", 2, 2)):
        producer.send(
            topics[1], key=b"SAUSDT", value=gap_record(Gap("binance", "SAUSDT", first, last, status, "a test", beat_ms))
        )
    producer.flush(timeout=20)
    sequences = restored(read(kafka, topics))
    assert sorted(sequences.symbols()) == symbols
    assert [sequences.last(symbol) for symbol in symbols] == [8] * 8
    assert sequences.missing("SBUSDT") == [Hole("SBUSDT", 7, 7)]
    assert [(hole.first, hole.last) for hole in sequences.missing("SAUSDT")] == [(1, 1), (3, 3), (7, 7)]
    assert sequences.whole_until_ms == beat_ms


def test_empty_topics_know_nothing(kafka: str, topics: tuple[str, str]) -> None:
    """Of topics without a record nothing is known, and that is no error."""
    found = read(kafka, topics)
    assert (found.records, restored(found).symbols()) == (0, [])


def test_the_newest_records_are_read_of_each_partition_in_proportion(
    kafka: str, topics: tuple[str, str], producer: KafkaProducer
) -> None:
    """No more than the bound, and the end of every partition is among them."""
    numbers = {"SAUSDT": 800, "SBUSDT": 400, "SCUSDT": 200, "SDUSDT": 100}
    for symbol, count in numbers.items():
        publish(producer, topics[0], made(range(count), symbol))
    found = read(kafka, topics, records=300)
    assert 296 <= found.records <= 300 + 4  # each partition's share is rounded
    sequences = restored(found)
    assert all(sequences.missing(symbol) == [] for symbol in numbers)
    assert {symbol: sequences.last(symbol) for symbol in sequences.symbols()}.items() >= {"SAUSDT": 799}.items()


def test_the_window_reaches_back_from_the_newest_record(
    kafka: str, topics: tuple[str, str], producer: KafkaProducer
) -> None:
    """Not from now: after a stop the end of the record is what matters, however long ago it was."""
    end_ms = now_ms() - 10 * HOUR_MS
    publish(producer, topics[0], made(range(5), "SAUSDT", end_ms - 2 * HOUR_MS))
    publish(producer, topics[0], made(range(5, 8), "SAUSDT", end_ms - HOUR_MS // 2))
    publish(producer, topics[0], made(range(2), "SBUSDT", end_ms))
    found = read(kafka, topics)
    assert found.records == 5
    assert found.known("binance", "SAUSDT").seen == [(5, 7)]
    sequences = restored(found)
    assert (sequences.last("SAUSDT"), sequences.last("SBUSDT")) == (7, 1)


def test_an_exchange_that_was_quiet_beside_a_busy_one_is_found_further_back(
    kafka: str, topics: tuple[str, str], producer: KafkaProducer
) -> None:
    """The bound on records is one per page: pages are read until each exchange that is wanted has been met."""
    start_ms = now_ms() - 60_000
    for number in (7, 8, 10):
        other = Trade("coinbase", "BTCUSD", "1.50", "2", start_ms, number, True)
        producer.send(topics[0], key=b"BTCUSDT", value=record_of(other), timestamp_ms=start_ms)
    publish(producer, topics[0], made(range(2_000), time_ms=start_ms + 1))
    found = tail(kafka, *topics, window_ms=HOUR_MS, records=700, exchanges=["binance", "coinbase"])
    sequences = Sequences(wait_s=2.0)
    found.restore("coinbase", sequences)
    assert (sequences.last("BTCUSD"), sequences.missing("BTCUSD")) == (10, [Hole("BTCUSD", 9, 9, None, None)])
    assert restored(found).last("BTCUSDT") == 1_999
    assert found.known("binance", "BTCUSDT").seen == [(1_300, 1_999)]  # a page further back counts for the other alone
    absent = Sequences(wait_s=2.0)
    tail(kafka, *topics, window_ms=HOUR_MS, records=500, exchanges=["sim-binance"]).restore("sim-binance", absent)
    assert absent.past_unknown == (
        "the record begins here: nothing of sim-binance is in the part of the topic that was read"
    )


def test_records_that_come_meanwhile_are_not_waited_for(
    kafka: str, topics: tuple[str, str], producer: KafkaProducer
) -> None:
    """A twin that goes on writing does not keep the reader from coming to its end."""
    publish(producer, topics[0], made(range(2_000)))
    stop, time_ms = threading.Event(), now_ms()

    def write_on() -> None:
        number = 2_000
        while not stop.is_set():
            publish(producer, topics[0], made(range(number, number + 50), time_ms=time_ms))
            number += 50

    twin = threading.Thread(target=write_on)
    twin.start()
    try:
        found = read(kafka, topics, records=10**6)
    finally:
        stop.set()
        twin.join(timeout=20)
    sequences = restored(found)
    assert found.records >= 2_000
    assert (sequences.last("BTCUSDT"), sequences.missing("BTCUSDT")) == (found.records - 1, [])


def test_a_missing_gaps_topic_is_told_of(
    kafka: str, topic: str, producer: KafkaProducer, caplog: pytest.LogCaptureFixture
) -> None:
    """Trades without a gaps topic, as an older version left them, are read; the warning says how to create it."""
    publish(producer, topic, made([1, 2, 4]))
    found = tail(kafka, topic, f"{topic}-none", window_ms=HOUR_MS, records=100)
    assert [(hole.first, hole.last) for hole in restored(found).missing("BTCUSDT")] == [(3, 3)]
    assert f"there is no topic {topic}-none; create it: python -m producer --create-topics" in caplog.messages


def test_a_missing_topic_is_an_error(kafka: str, topic: str) -> None:
    """A wrong name is not taken for an empty topic."""
    with pytest.raises(ResumeError) as told:
        tail(kafka, f"{topic}-none", f"{topic}-gaps", window_ms=HOUR_MS, records=100)
    assert str(told.value) == (
        f"there is no topic {topic}-none at {kafka}; create it: python -m producer --create-topics"
    )


def test_a_silent_broker_is_an_error_after_some_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail that cannot be read is never taken for an empty one."""
    attempts = []

    def no_broker(**options: Any) -> None:  # a real attempt leaves a socket open (kafka-python 3.0.12)
        attempts.append(options["bootstrap_servers"])
        raise KafkaTimeoutError("Unable to bootstrap")

    monkeypatch.setattr(resume, "_PAUSE_S", 0.01)
    monkeypatch.setattr(resume, "KafkaConsumer", no_broker)
    with pytest.raises(ResumeError) as told:
        tail("kafka-a:9092,kafka-b:9092", "trades", "trades-gaps", window_ms=HOUR_MS, records=100)
    assert attempts == [["kafka-a:9092", "kafka-b:9092"]] * 5
    assert str(told.value) == (
        "what was published before cannot be read from trades and trades-gaps at kafka-a:9092,kafka-b:9092 "
        "(KafkaTimeoutError('Unable to bootstrap')), 5 times; "
        "without it trades would be missed in silence. Is Kafka up?"
    )


def test_a_read_that_stands_still_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no record comes although the end is not reached, the attempt fails: half a tail is none."""
    monkeypatch.setattr(resume, "_STALLED_S", 0.05)

    class Still:
        """A consumer that gets nothing."""

        def poll(self, **_: Any) -> dict[TopicPartition, list[Any]]:
            threading.Event().wait(0.01)
            return {}

        def position(self, _: TopicPartition) -> int:
            return 3

        def __getattr__(self, _: str) -> Any:
            return lambda *_: None

    partition = TopicPartition("trades", 0)
    with pytest.raises(KafkaTimeoutError) as told:
        list(resume._records(Still(), {partition: 3}, {partition: 9}))
    assert str(told.value) == "KafkaTimeoutError: nothing read for 0.05 s, and the end is not reached"
