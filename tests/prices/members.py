"""A member of the group at work on a thread, what is published for it, and what Redis then holds."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from market.latest import PRICE_FIELDS, price_key, price_of, trades_key
from market.settings import load
from market.trade import Trade, record_of
from prices.counts import Counts
from prices.member import Member
from prices.store import Store
from tests.redis_servers import OwnRedis
from tests.support import eventually


@contextmanager
def member(kafka: str, topic: str, redis: OwnRedis, *, group: str = "", **settings: str) -> Iterator[Counts]:
    """A member until the end of the test, and its account."""
    with at_work(kafka, topic, redis, group=group, **settings) as (_, counts):
        yield counts


@contextmanager
def at_work(
    kafka: str, topic: str, redis: OwnRedis, *, group: str = "", **settings: str
) -> Iterator[tuple[Member, Counts]]:
    """The member itself, and its account."""
    given = {"KAFKA_BOOTSTRAP": kafka, "KAFKA_TOPIC": topic, "REDIS_URL": redis.url, **settings}
    loaded = load(given, dotenv=None)
    store, counts, stop = Store(loaded.redis, kept=loaded.redis_trades), Counts(), threading.Event()
    one = Member(loaded, store, counts, stop, group=group or group_of(topic))
    thread = threading.Thread(target=one.run, name="member")
    thread.start()
    try:
        yield one, counts
    finally:
        stop.set()
        thread.join(60)
        store.close()
        assert not thread.is_alive()


def group_of(topic: str) -> str:
    """Each test has a topic of its own, and so a group."""
    return f"{topic}-prices"


def publish(kafka: str, topic: str, *content: Trade | bytes, partition: int | None = None) -> None:
    """Publish trades, each as a record, or the values of records; wait for them."""
    producer = KafkaProducer(bootstrap_servers=kafka, acks="all")
    for one in content:
        key = one.symbol.encode() if isinstance(one, Trade) else b"BTCUSDT"
        value = record_of(one) if isinstance(one, Trade) else one
        producer.send(topic, value, key=key, partition=partition)
    producer.flush(timeout=30)
    producer.close()


def latest(redis: OwnRedis, symbol: str = "BTCUSDT") -> int | None:
    """The id of a symbol's newest trade."""
    price = price_of("binance", symbol, redis.client.hmget(price_key("binance", symbol), PRICE_FIELDS))
    return price.trade_id if price else None


def ids(redis: OwnRedis, symbol: str = "BTCUSDT") -> list[int]:
    """The trade ids in a symbol's stream."""
    entries = redis.client.xrange(trades_key("binance", symbol))
    return [int(fields["trade"].split()[1]) for _, fields in entries]


def until_latest(redis: OwnRedis, number: int, symbol: str = "BTCUSDT") -> None:
    """Wait until that trade is a symbol's price."""
    eventually(lambda: latest(redis, symbol) == number, within_s=60)


def offsets(kafka: str, topic: str) -> tuple[list[Any], list[Any]]:
    """What the group has committed, and the ends, of the four partitions."""
    consumer = KafkaConsumer(bootstrap_servers=kafka, group_id=group_of(topic), enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in range(4)]
        ends = consumer.end_offsets(partitions)
        return [consumer.committed(one) for one in partitions], [ends[one] for one in partitions]
    finally:
        consumer.close()
