"""When a promise of a producer counts: when the trades that it is about were heard."""

from __future__ import annotations

from serve.live.promised import Promised
from serve.prices import Promises

EXCHANGE = "binance"


def told(until_ms: int, number: int) -> Promises:
    """A promise that Redis has told when its news had come to an entry."""
    return Promises({EXCHANGE: until_ms}, (1, number))


def test_a_promise_counts_when_its_trades_were_heard() -> None:
    """Told before or after; not while an entry of the news is still to be heard."""
    promised = Promised()
    promised.tell(told(1_000, 5))
    assert promised.until_ms(EXCHANGE) == 0
    promised.hear((1, 4))
    assert promised.until_ms(EXCHANGE) == 0
    promised.hear((1, 5))
    assert promised.until_ms(EXCHANGE) == promised.redis_until_ms(EXCHANGE) == 1_000
    promised.tell(told(2_000, 5))
    assert promised.until_ms(EXCHANGE) == 2_000
    assert promised.until_ms("coinbase") == 0


def test_promises_count_though_trades_are_always_a_little_behind() -> None:
    """Each new promise is of more trades than were heard: an earlier one is waited for."""
    promised = Promised()
    for number in range(1, 10):
        promised.hear((1, number))
        promised.tell(told(1_000 * number, number + 2))
    assert promised.until_ms(EXCHANGE) >= 6_000


def test_what_was_promised_once_stays_so_and_redis_promises_what_it_has() -> None:
    """It comes back as an older copy of itself, with fewer trades."""
    promised = Promised()
    promised.hear((1, 5))
    promised.tell(told(2_000, 5))
    promised.lose()
    assert (promised.until_ms(EXCHANGE), promised.redis_until_ms(EXCHANGE)) == (2_000, 0)
    promised.tell(told(1_000, 4))
    assert (promised.until_ms(EXCHANGE), promised.redis_until_ms(EXCHANGE)) == (2_000, 1_000)


def test_where_hearing_begins_anew_nothing_counts_as_heard() -> None:
    """And what waited is of before."""
    promised = Promised()
    promised.hear((1, 5))
    promised.tell(told(1_000, 6))
    promised.begin()
    promised.hear((2, 0))
    assert promised.until_ms(EXCHANGE) == 0
    promised.tell(Promises({EXCHANGE: 1_500}, (2, 0)))
    assert promised.until_ms(EXCHANGE) == 1_500
