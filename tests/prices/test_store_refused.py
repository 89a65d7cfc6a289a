"""What is said when Redis does not do it: gone, hanging, full, empty."""

from __future__ import annotations

import signal

import pytest

from market.latest import POSITIONS, price_key
from market.trade import Trade
from prices import store as module
from prices.store import Outcome, Store, StoreAway
from tests.prices.kept import KEPT, PLACE, write
from tests.prices.made import BTC, trade
from tests.redis_servers import OwnRedis, configured


def told(store: Store, *trades: Trade) -> str:
    """What is said when a write does not come about."""
    with pytest.raises(StoreAway) as error:
        write(store, *trades)
    return str(error.value)


def test_redis_gone_and_back_empty(redis: OwnRedis, store: Store) -> None:
    """While it is gone that is said; when it is back, its loss is seen by the next write, which does nothing."""
    write(store, trade(1))
    redis.kill()
    assert told(store, trade(2)).startswith(f"Redis at {redis.url}: ")
    with pytest.raises(StoreAway):
        store.positions([PLACE])
    redis.start()
    assert write(store, trade(2)) == Outcome(False, 0, 0, 0)
    assert store.positions([PLACE]) == [None]


def test_a_redis_that_hangs_is_waited_for_a_bounded_time(redis: OwnRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped process still accepts connections, and never answers."""
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    hasty = Store(redis.url, kept=KEPT)
    hasty.begin({PLACE: 0})
    redis.signal(signal.SIGSTOP)
    try:
        assert "imeout" in told(hasty, trade(1))
    finally:
        redis.signal(signal.SIGCONT)
    assert write(hasty, trade(2)).is_written
    hasty.close()


def test_a_script_that_redis_has_forgotten_is_given_to_it_again(redis: OwnRedis, store: Store) -> None:
    """After SCRIPT FLUSH, or in a Redis that was restarted from a snapshot."""
    write(store, trade(1))
    redis.client.script_flush()
    assert write(store, trade(2)) == Outcome(True, new=1, seen=0, late=0)


def test_a_redis_that_refuses_is_told_in_its_own_words(redis: OwnRedis, store: Store) -> None:
    """A full one, and one in which somebody else has written."""
    redis.client.set(price_key(*BTC), "mine")
    assert "WRONGTYPE" in told(store, trade(1))
    redis.client.delete(price_key(*BTC))
    with configured(redis, maxmemory="1"):
        assert "maxmemory" in told(store, trade(1))
    assert write(store, trade(1)).is_written


def test_nonsense_for_a_position_counts_as_none(redis: OwnRedis, store: Store) -> None:
    """It is begun anew, as if Redis were empty."""
    redis.client.hset(POSITIONS, PLACE, "mine")
    assert store.positions([PLACE]) == [None]


@pytest.mark.parametrize(
    ("most", "policy", "told"),
    [
        ("100mb", "allkeys-lru", "allkeys-lru"),
        ("100mb", "allkeys-random", "allkeys-random"),
        ("0", "allkeys-lru", ""),
        ("100mb", "noeviction", ""),
        ("100mb", "volatile-lru", ""),  # what never expires is kept
    ],
)
def test_a_redis_that_evicts_our_keys_is_known(
    redis: OwnRedis, store: Store, most: str, policy: str, told: str
) -> None:
    """By its memory and its policy."""
    with configured(redis, **{"maxmemory": most, "maxmemory-policy": policy}):
        assert store.evicting() == told


def test_a_redis_that_does_not_say_whether_it_evicts_is_no_failure(redis: OwnRedis) -> None:
    """Whoever provides it may not allow the question."""
    redis.client.acl_setuser("guest", enabled=True, nopass=True, keys="*", commands=["+@all", "-info"])
    guest = Store(redis.url.replace("//", "//guest:@"), kept=KEPT)
    try:
        assert guest.evicting() == ""
    finally:
        guest.close()
        redis.client.acl_deluser("guest")


def test_nothing_is_asked_where_there_is_nothing_to_ask() -> None:
    """No connection is made, so none can fail."""
    nowhere = Store("redis://127.0.0.1:1/0", kept=KEPT)
    assert nowhere.write([]) == []
    assert nowhere.positions([]) == []
    nowhere.begin({})
    nowhere.restore({})
    nowhere.close()
