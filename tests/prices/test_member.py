"""A member of the group between a real Kafka and a real Redis, whatever happens to Redis meanwhile."""

from __future__ import annotations

import signal
import time
from contextlib import closing

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from market.latest import NEWS, POSITIONS, TOPICS, position_field
from market.trade import Reason, batch_record_of
from prices.counts import Counts
from prices.start import REPLACED, UNKNOWN
from tests.prices.made import trade
from tests.prices.members import at_work, group_of, ids, latest, member, offsets, publish, until_latest
from tests.redis_servers import OwnRedis, configured
from tests.support import eventually

pytestmark = pytest.mark.e2e

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT")
"""One for each partition."""


def until_written(counts: Counts, records: int) -> None:
    """Wait until a member has written so many records."""
    eventually(lambda: counts.records >= records, within_s=60)


def made_anew(kafka: str, topic: str) -> None:
    """Delete a topic, and create one of the same name."""
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:

        def is_created() -> bool:
            try:
                admin.create_topics([NewTopic(topic, 4, 1)])
            except TopicAlreadyExistsError:
                return False  # deleting takes a moment
            return True

        admin.delete_topics([topic])
        eventually(is_created)


def test_what_is_published_is_in_redis(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Trades that were there before, and those that come, alone or several in a record; then they are committed."""
    publish(kafka, topic, trade(1), trade(1, symbol="ETHUSDT"))
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 1)
        until_latest(redis, 1, "ETHUSDT")
        publish(kafka, topic, trade(2), batch_record_of([trade(3), trade(4)]))
        until_latest(redis, 4)
        assert ids(redis) == [1, 2, 3, 4]
        until_written(counts, 4)
        assert (counts.new, counts.seen, counts.is_redis_up) == (5, 0, True)
        eventually(lambda: [sum(filter(None, some)) for some in offsets(kafka, topic)] == [4, 4])
        eventually(lambda: counts.lag == {0: 0, 1: 0, 2: 0, 3: 0})


def test_a_trade_of_the_future_freezes_no_price(kafka: str, topic: str, redis: OwnRedis) -> None:
    """It is no trade by the rule that bars go by: counted, and passed by."""
    with member(kafka, topic, redis) as counts:
        publish(kafka, topic, trade(1, at=int(time.time() * 1000) + 3_600_000), trade(2))
        until_latest(redis, 2)
        until_written(counts, 2)
        assert counts.rejected == {Reason.FUTURE: 1}
        assert ids(redis) == [2]


def test_bad_records_stop_nothing_and_are_counted(kafka: str, topic: str, redis: OwnRedis) -> None:
    """By reason; what follows them is written."""
    with member(kafka, topic, redis) as counts:
        heartbeat = b'{"exchange":"binance","heartbeat":1762702224000}'
        publish(kafka, topic, b"{", b"[]", heartbeat, b'{"exchange":"nowhere"}', trade(1))
        until_latest(redis, 1)
        until_written(counts, 5)
        assert counts.rejected == {Reason.MALFORMED: 1, Reason.EMPTY: 1, Reason.EXCHANGE: 1}
        assert counts.heartbeats == 1


def test_copies_count_once(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Two producers on one symbol, or one that was killed."""
    with member(kafka, topic, redis) as counts:
        publish(kafka, topic, trade(1), trade(2), trade(1), trade(2), trade(3))
        until_latest(redis, 3)
        until_written(counts, 5)
        assert ids(redis) == [1, 2, 3]
        assert (counts.new, counts.seen) == (3, 2)


def test_who_comes_next_goes_on_where_the_last_one_ended(kafka: str, topic: str, redis: OwnRedis) -> None:
    """A stopped member has committed what it wrote; nothing is left out that came in between, nothing stands twice."""
    publish(kafka, topic, trade(1))
    with member(kafka, topic, redis):
        until_latest(redis, 1)
    committed, ends = offsets(kafka, topic)
    assert [offset for offset in committed if offset] == [end for end in ends if end] == [1]
    publish(kafka, topic, trade(2))
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 2)
        assert ids(redis) == [1, 2]
        assert counts.begun == {}


def test_who_comes_after_kafka_has_deleted_records_goes_on_and_counts_them(
    kafka: str, topic: str, redis: OwnRedis
) -> None:
    """Redis still expects the first of them: what follows them is taken all the same."""
    publish(kafka, topic, trade(1), partition=0)
    with member(kafka, topic, redis):
        until_latest(redis, 1)
    publish(kafka, topic, *(trade(number) for number in range(2, 12)), partition=0)
    with closing(KafkaAdminClient(bootstrap_servers=kafka)) as admin:
        admin.delete_records({TopicPartition(topic, 0): 6})
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 11)
        assert ids(redis) == [1, *range(7, 12)]
        assert (counts.begun, counts.deleted) == ({}, 5)
        publish(kafka, topic, trade(12), partition=0)
        until_latest(redis, 12)


def test_a_topic_that_was_made_anew_is_read_from_its_beginning(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Though it has grown past where the old one was read: offsets look as if nothing had happened."""
    publish(kafka, topic, *(trade(number) for number in range(1, 6)), partition=0)
    with member(kafka, topic, redis):
        until_latest(redis, 5)
    made_anew(kafka, topic)
    publish(kafka, topic, *(trade(number) for number in range(6, 16)), partition=0)
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 15)
        assert ids(redis) == list(range(1, 16))
        assert counts.begun == {REPLACED: 4}
    with member(kafka, topic, redis) as counts:  # now it is known
        eventually(lambda: len(counts.lag) == 4, within_s=60)
        assert counts.begun == {}


def test_a_redis_that_knows_no_ids_of_topics_is_taken_as_it_is(kafka: str, topic: str, redis: OwnRedis) -> None:
    """An earlier version has written it: it goes on, and knows them from then on."""
    publish(kafka, topic, trade(1))
    with member(kafka, topic, redis):
        until_latest(redis, 1)
    known = redis.client.hgetall(TOPICS)
    assert len(set(known.values())) == 1
    assert known.keys() == redis.client.hgetall(POSITIONS).keys()
    redis.client.delete(TOPICS)
    publish(kafka, topic, trade(2))
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 2)
        assert counts.begun == {}
        assert redis.client.hgetall(TOPICS) == known


def test_members_share_the_partitions_and_leave_nothing_out(kafka: str, topic: str, redis: OwnRedis) -> None:
    """A second one comes, and goes: each partition has one owner, and each symbol all of its trades, in order."""
    with member(kafka, topic, redis) as first:
        for partition, symbol in enumerate(SYMBOLS):
            publish(kafka, topic, *(trade(n, symbol=symbol) for n in range(50)), partition=partition)
        with member(kafka, topic, redis) as second:
            eventually(lambda: len(first.lag) == len(second.lag) == 2, within_s=60)
            assert first.lag.keys() | second.lag.keys() == {0, 1, 2, 3}
            for partition, symbol in enumerate(SYMBOLS):
                publish(kafka, topic, *(trade(n, symbol=symbol) for n in range(50, 100)), partition=partition)
            for symbol in SYMBOLS:
                until_latest(redis, 99, symbol)
        for partition, symbol in enumerate(SYMBOLS):
            publish(kafka, topic, *(trade(n, symbol=symbol) for n in range(100, 150)), partition=partition)
        for symbol in SYMBOLS:
            until_latest(redis, 149, symbol)
            assert ids(redis, symbol) == list(range(150))


def test_one_whose_partitions_were_taken_asks_for_others(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Also where the library would forget to."""
    with at_work(kafka, topic, redis) as (one, counts):
        eventually(lambda: len(counts.lag) == 4, within_s=60)
        one.taken([TopicPartition(topic, number) for number in range(4)])
        assert not counts.lag
        publish(kafka, topic, trade(1))
        until_latest(redis, 1)
        eventually(lambda: len(counts.lag) == 4)
        assert counts.kafka_sessions == 1


def test_one_whom_the_group_gives_nothing_connects_again(
    kafka: str, topic: str, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A rebalance that does not end, here for a member that no longer asks, is not waited for in silence."""
    monkeypatch.setattr("prices.member._JOIN_S", 1.0)
    publish(kafka, topic, trade(1))
    silent = KafkaConsumer(topic, bootstrap_servers=kafka, group_id=group_of(topic), max_poll_interval_ms=300_000)
    try:
        eventually(lambda: silent.poll(timeout_ms=2_000) or silent.assignment(), within_s=60)
        with member(kafka, topic, redis) as counts:
            eventually(lambda: counts.kafka_sessions > 1, within_s=60)
            silent.close()
            monkeypatch.undo()
            until_latest(redis, 1)
    finally:
        silent.close()
    assert "has given no partitions for 1 s" in caplog.text


def test_a_first_start_reads_the_end_of_a_long_topic(kafka: str, topic: str, redis: OwnRedis) -> None:
    """And not a week of it."""
    publish(kafka, topic, *(trade(number) for number in range(50)), partition=2)
    with member(kafka, topic, redis, REBUILD_RECORDS="10") as counts:
        until_latest(redis, 49)
        assert ids(redis) == list(range(40, 50))
        assert counts.begun == {UNKNOWN: 4}


def test_redis_goes_and_comes_back_empty(kafka: str, topic: str, redis: OwnRedis) -> None:
    """What came while it was away is there, in order; and of a quiet symbol, far back in the topic, the price."""
    with member(kafka, topic, redis, REBUILD_RECORDS="3") as counts:
        eventually(lambda: len(counts.lag) == 4)  # or it would begin behind the quiet symbol
        publish(kafka, topic, trade(1, symbol="ETHUSDT"), *(trade(number) for number in range(1, 11)), partition=0)
        until_latest(redis, 10)
        eventually(lambda: offsets(kafka, topic)[0][0] == 11)
        redis.kill()
        publish(kafka, topic, *(trade(number) for number in range(11, 16)), partition=0)
        eventually(lambda: not counts.is_redis_up)
        redis.start()
        until_latest(redis, 15)
        assert latest(redis, "ETHUSDT") == 1
        assert ids(redis) == [11, 12, 13, 14, 15]
        assert (counts.is_redis_up, counts.redis_failures > 0) == (True, True)


def test_a_redis_that_is_emptied_in_a_quiet_market_is_filled_again(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Nobody writes, so nobody would notice, if it were not asked."""
    publish(kafka, topic, trade(1), trade(2))
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 2)
        redis.client.flushall()
        until_latest(redis, 2)
        eventually(lambda: ids(redis) == [1, 2])
        assert counts.begun[UNKNOWN] > 4


def test_a_redis_that_may_evict_is_warned_of_once(
    kafka: str, topic: str, redis: OwnRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a partition is settled: what may be missing, and what to do."""
    with configured(redis, **{"maxmemory-policy": "allkeys-lru"}), member(kafka, topic, redis) as counts:
        eventually(lambda: len(counts.lag) == 4, within_s=60)
        redis.client.flushall()
        eventually(lambda: counts.begun[UNKNOWN] > 4)
    (warning,) = [line for line in caplog.messages if "maxmemory-policy" in line]
    assert "maxmemory-policy allkeys-lru" in warning
    assert warning.endswith("CONFIG SET maxmemory-policy noeviction")


def test_a_redis_that_hangs_loses_nothing(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Its answers did not come, but the writes may have come about: repeated, they change nothing."""
    with member(kafka, topic, redis) as counts:
        publish(kafka, topic, trade(1))
        until_latest(redis, 1)
        redis.signal(signal.SIGSTOP)
        try:
            publish(kafka, topic, *(trade(number) for number in range(2, 30)))
            eventually(lambda: counts.redis_failures > 1, within_s=60)
        finally:
            redis.signal(signal.SIGCONT)
        until_latest(redis, 29)
        assert ids(redis) == list(range(1, 30))


def test_a_redis_that_is_an_older_copy_gets_what_it_lacks(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Its own positions tell how far it has come, whatever was committed."""
    publish(kafka, topic, *(trade(number) for number in range(5)), partition=1)
    with member(kafka, topic, redis) as counts:
        until_latest(redis, 4)
        older = redis.client.hgetall(POSITIONS)
        publish(kafka, topic, *(trade(number) for number in range(5, 8)), partition=1)
        until_latest(redis, 7)
        redis.client.hset(POSITIONS, mapping=older)
        eventually(lambda: counts.seen == 3)
        assert redis.client.hget(POSITIONS, position_field(topic, 1)) == "8"
        assert ids(redis) == list(range(8))


def test_two_groups_on_one_redis_are_as_one(kafka: str, topic: str, redis: OwnRedis) -> None:
    """Both write everything: each trade is news once, and no price moves back."""
    with member(kafka, topic, redis) as one, member(kafka, topic, redis, group=f"{topic}-other") as other:
        eventually(lambda: len(one.lag) == len(other.lag) == 4, within_s=60)
        publish(kafka, topic, *(trade(number) for number in range(200)))
        until_latest(redis, 199)
        until_written(one, 200)
        until_written(other, 200)
        assert ids(redis) == list(range(200))
        texts = [text for _, fields in redis.client.xrange(NEWS) for text in fields.values()]
        news = [int(line.split()[1]) for text in texts for line in text.split("\n")]
        assert news == list(range(200))
