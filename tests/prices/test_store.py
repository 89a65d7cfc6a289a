"""What a write does in a real Redis, whoever writes, how often and in which order."""

from __future__ import annotations

import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from market.latest import HEARTBEATS, KNOWN, NEWS, POSITIONS, PRICE_FIELDS, Price, price_key, price_of, trades_key
from prices import store as module
from prices.chunks import Chunk
from prices.script import LATE_MS
from prices.store import Outcome, Store
from tests.prices.kept import KEPT, PLACE, ids, price, stream, write
from tests.prices.made import BTC, chunk, line, trade
from tests.redis_servers import OwnRedis


def test_a_trade_is_the_price_and_in_the_stream(redis: OwnRedis, store: Store) -> None:
    """Every field of it, the name of its symbol, and the news for followers."""
    one = trade(7)
    assert write(store, one) == Outcome(True, new=1, seen=0, late=0)
    found = price_of(*BTC, redis.client.hmget(price_key(*BTC), PRICE_FIELDS))
    assert found == Price(*one, kafka_time=one.timestamp + 5)
    assert stream(redis) == [line(one)]
    assert redis.client.smembers(KNOWN) == {"binance:BTCUSDT"}
    assert [fields for _, fields in redis.client.xrange(NEWS)] == [{"binance:BTCUSDT": line(one)}]


def test_names_that_are_gone_come_back_with_the_next_price(redis: OwnRedis, store: Store) -> None:
    """Evicted or deleted: their prices are there, and nobody who asks for all would find them."""
    write(store, trade(1), trade(1, symbol="ETHUSDT"))
    redis.client.delete(KNOWN)
    write(store, trade(2))
    assert redis.client.smembers(KNOWN) == {"binance:BTCUSDT"}
    write(store, trade(2, symbol="ETHUSDT"))
    assert redis.client.smembers(KNOWN) == {"binance:BTCUSDT", "binance:ETHUSDT"}


def test_a_price_never_moves_back(redis: OwnRedis, store: Store) -> None:
    """An older time, or the same time and a lower number, changes nothing."""
    write(store, trade(5, at=trade(5).timestamp))
    for older in (trade(4), trade(3, at=trade(5).timestamp)):
        write(store, older)
        assert price(redis) == (trade(5).price, 5)
    write(store, trade(6, at=trade(5).timestamp))
    assert price(redis) == (trade(6).price, 6)


def test_a_heartbeat_is_noted_for_its_partition_and_moves_forward_only(redis: OwnRedis, store: Store) -> None:
    """With the records before it: where Redis has lost some of those, it is not noted."""
    for place, time_ms in (("crypto-trades:0", 2_000), ("crypto-trades:0", 1_000), ("crypto-trades:1", 1_500)):
        store.begin({place: 0})
        store.write([(place, Chunk(0, 1, beats={"binance": time_ms}))])
    noted = {"binance:crypto-trades:0": "2000", "binance:crypto-trades:1": "1500"}
    assert redis.client.hgetall(HEARTBEATS) == noted
    (outcome,) = store.write([("crypto-trades:1", Chunk(5, 6, beats={"binance": 9_000}))])
    assert not outcome.is_written
    assert redis.client.hgetall(HEARTBEATS) == noted


def test_a_replay_changes_nothing(redis: OwnRedis, store: Store) -> None:
    """In whatever pieces it comes: no price, no trade twice, no news."""
    trades = [trade(number) for number in range(1, 10)]
    write(store, *trades)
    before, news = stream(redis), redis.client.xlen(NEWS)
    assert write(store, *trades) == Outcome(True, new=0, seen=9, late=0)
    assert write(store, *trades[3:6]) == Outcome(True, new=0, seen=3, late=0)
    assert (stream(redis), redis.client.xlen(NEWS), price(redis)[1]) == (before, news, 9)


def test_a_replay_that_goes_further_brings_what_is_new(redis: OwnRedis, store: Store) -> None:
    """Old and new in one write: each is told from the other."""
    write(store, trade(1), trade(2))
    assert write(store, trade(1), trade(2), trade(3)) == Outcome(True, new=1, seen=2, late=0)
    assert ids(redis) == [1, 2, 3]


def test_a_late_trade_enters_the_stream_once_and_moves_no_price(redis: OwnRedis, store: Store) -> None:
    """What a producer has back-filled: its number had not come, and lies in a range that is remembered."""
    write(store, trade(1), trade(5), trade(9))
    assert redis.client.hget(price_key(*BTC), "missing") == "2-4,6-8"
    assert write(store, trade(3)) == Outcome(True, new=1, seen=0, late=0)
    assert redis.client.hget(price_key(*BTC), "missing") == "2-2,4-4,6-8"
    assert write(store, trade(3), trade(7)) == Outcome(True, new=1, seen=1, late=0)
    assert ids(redis) == [1, 5, 9, 3, 7]
    assert price(redis)[1] == 9


def test_a_trade_that_is_much_too_late_is_left_to_the_tables(redis: OwnRedis, store: Store) -> None:
    """The stream holds the last trades, and an hour of back-filled ones would push them out."""
    now = trade(9).timestamp
    write(store, trade(1, at=now - 2 * LATE_MS), trade(9, at=now))
    assert write(store, trade(4, at=now - LATE_MS - 1)) == Outcome(True, new=0, seen=0, late=1)
    assert write(store, trade(5, at=now - LATE_MS)) == Outcome(True, new=1, seen=0, late=0)
    assert ids(redis) == [1, 9, 5]


def test_what_came_before_the_first_is_not_taken(redis: OwnRedis, store: Store) -> None:
    """The record begins somewhere; what lies before it would stand behind it in the stream."""
    write(store, trade(5))
    assert write(store, trade(4)) == Outcome(True, new=0, seen=1, late=0)
    assert ids(redis) == [5]


def test_numbers_that_begin_anew_are_followed(redis: OwnRedis, store: Store) -> None:
    """A simulator with another seed: what is newer than everything is new, whatever its number."""
    write(store, trade(1_000, at=trade(1).timestamp))
    assert write(store, trade(2), trade(3)) == Outcome(True, new=2, seen=0, late=0)
    assert write(store, trade(2), trade(3)) == Outcome(True, new=0, seen=2, late=0)
    assert ids(redis) == [1_000, 2, 3]
    assert price(redis)[1] == 3


def test_numbers_are_exact_up_to_the_largest(redis: OwnRedis, store: Store) -> None:
    """Lua's numbers are doubles, and print 14 digits unless they are told otherwise."""
    largest = 2**53 - 1
    write(store, trade(largest - 1, at=10**15 - 1), trade(largest, at=10**15 - 1))
    assert price(redis)[1] == largest
    assert redis.client.hget(price_key(*BTC), "newest_id") == str(largest)
    assert redis.client.hget(price_key(*BTC), "timestamp") == str(10**15 - 1)


def test_the_stream_is_capped(redis: OwnRedis) -> None:
    """At least as many as asked for, and not many more."""
    small = Store(redis.url, kept=200)
    small.begin({PLACE: 0})
    for first in range(0, 2_000, 100):
        write(small, *(trade(number) for number in range(first, first + 100)))
    small.close()
    assert 200 <= redis.client.xlen(trades_key(*BTC)) <= 400
    assert ids(redis)[-200:] == list(range(1_800, 2_000))


def test_the_ranges_that_have_not_come_are_bounded(redis: OwnRedis, store: Store) -> None:
    """An exchange that numbers sparsely costs a bounded memory: the lowest ranges are forgotten."""
    write(store, *(trade(2 * number) for number in range(1_000)))
    missing = redis.client.hget(price_key(*BTC), "missing")
    assert len(missing) <= 2_000
    assert missing.endswith("1995-1995,1997-1997")
    assert all(len(one.split("-")) == 2 for one in missing.split(","))


def test_news_are_numbered_without_a_gap(redis: OwnRedis, store: Store) -> None:
    """So that a follower can tell whether it has missed one; of each write, what was new in it."""
    write(store, trade(1), trade(2, symbol="ETHUSDT"))
    write(store, trade(1))
    write(store, trade(1), trade(3))
    first, second = redis.client.xrange(NEWS)
    assert second[0].split("-") == [first[0].split("-")[0], "2"]
    assert first[1] == {"binance:BTCUSDT": line(trade(1)), "binance:ETHUSDT": line(trade(2, symbol="ETHUSDT"))}
    assert second[1] == {"binance:BTCUSDT": line(trade(3))}


def test_a_write_moves_the_position_and_never_back(redis: OwnRedis, store: Store) -> None:
    """It is written with the trades, in one; a replay leaves it where it is."""
    store.write([(PLACE, chunk([trade(1), trade(2)]))])
    assert store.positions([PLACE, "crypto-trades:1"]) == [2, None]
    store.write([(PLACE, chunk([trade(1)]))])
    assert store.positions([PLACE]) == [2]


def test_nothing_is_written_behind_a_gap(redis: OwnRedis, store: Store) -> None:
    """Where Redis lacks what came before, be it everything or a part, the write is refused as a whole."""
    store.write([(PLACE, chunk([trade(1)]))])
    refused = Outcome(False, 0, 0, 0)
    assert store.write([(PLACE, chunk([trade(3)], start=2))]) == [refused]
    redis.client.delete(POSITIONS)
    assert store.write([(PLACE, chunk([trade(2)], start=1))]) == [refused]
    assert (ids(redis), store.positions([PLACE])) == ([1], [None])


def test_of_several_writes_each_has_its_outcome(store: Store) -> None:
    """They are sent together, for partitions of their own."""
    store.begin({"crypto-trades:1": 7})
    outcomes = store.write(
        [
            (PLACE, chunk([trade(1)])),
            (PLACE, chunk([trade(2)], start=1)),
            ("crypto-trades:1", chunk([trade(1, symbol="ETHUSDT")], start=9)),
            ("crypto-trades:1", chunk([trade(1, symbol="SOLUSDT")], start=7)),
        ]
    )
    assert [(outcome.is_written, outcome.new) for outcome in outcomes] == [(True, 1), (True, 1), (False, 0), (True, 1)]


def test_prices_are_restored_without_streams_and_without_moving_back(redis: OwnRedis, store: Store) -> None:
    """What a member remembers: the older trades that follow then enter the streams, and change no price."""
    remembered = chunk([trade(9)]).newest
    store.restore(remembered)
    assert (price(redis), ids(redis), redis.client.xlen(NEWS)) == ((trade(9).price, 9), [], 0)
    write(store, trade(7), trade(8))
    assert (price(redis)[1], ids(redis)) == (9, [7, 8])
    write(store, trade(9), trade(10))
    store.restore(remembered)
    assert (price(redis)[1], ids(redis)) == (10, [7, 8, 9, 10])


def test_many_prices_are_restored_in_pieces(redis: OwnRedis, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis takes a bounded number of arguments."""
    monkeypatch.setattr(module, "MOST_SYMBOLS", 2)
    store.restore(chunk([trade(number, symbol=f"SYM{number}") for number in range(5)]).newest)
    assert redis.client.scard(KNOWN) == 5


TRADES = st.lists(st.integers(1, 30), min_size=1, max_size=30, unique=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), numbers=TRADES)
def test_whatever_comes_how_often_and_in_which_pieces(redis: OwnRedis, data: st.DataObject, numbers: list[int]) -> None:
    """The price is the newest of all, and each trade from the first on is in the stream exactly once."""
    redis.client.flushall()
    with_repeats = data.draw(st.lists(st.sampled_from(numbers), max_size=30))
    order: list[int] = data.draw(st.permutations([*numbers, *with_repeats]))
    cuts = data.draw(st.lists(st.integers(0, len(order)), max_size=5))
    made = Store(redis.url, kept=KEPT)
    made.begin({PLACE: 0})
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(order)], strict=True):
        write(made, *(trade(number) for number in order[start:end]))
    made.close()
    assert price(redis)[1] == max(numbers)
    assert sorted(ids(redis)) == sorted(number for number in numbers if number >= order[0])


def test_two_writers_on_one_key(redis: OwnRedis, store: Store) -> None:
    """Both write all trades, each in pieces of its own, at the same time: as if one had."""
    trades = [trade(number) for number in range(1, 2_001)]

    def work(seed: int) -> None:
        own, chance = Store(redis.url, kept=10_000), random.Random(seed)
        first = 0
        while first < len(trades):
            size = chance.randint(1, 40)
            own.write([(PLACE, chunk(trades[first : first + size], start=0, end=0))])
            first += size
        own.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert ids(redis) == list(range(1, 2_001))
    assert price(redis)[1] == 2_000
