"""A symbol with a past goes on with it, and one whose exchange counts anew is followed."""

from __future__ import annotations

from collections.abc import Callable

from producer.completeness.sequence import Hole, Sequences
from tests.producer.doubles import trade

WAIT_S = 2.0


def numbers(holes: list[Hole]) -> list[int]:
    """The ids of some holes."""
    return [number for hole in holes for number in range(hole.first, hole.last + 1)]


def resumed() -> Sequences:
    """Resumed with ids 10..19 and 30..39 in the topic, 20..22 lost, 23..24 and 5..6 open; 7..9 unknown."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.resume(
        "BTCUSDT",
        [(10, 19), (30, 39)],
        [(20, 22)],
        open_=[Hole("BTCUSDT", 5, 6), Hole("BTCUSDT", 23, 24)],
        newest_ms=1_700_000_000_000,
    )
    return sequences


def test_a_resumed_symbol_goes_on_where_the_topic_ends() -> None:
    """What the topic holds is a duplicate, what it lacks is missing at once, and the next id goes at once."""
    sequences = resumed()
    assert [(hole.first, hole.last) for hole in sequences.ripe(0.0)] == [(5, 6), (23, 24), (25, 29)]
    assert [(hole.first, hole.last) for hole in sequences.late(0.0)] == [(25, 29)]
    assert sequences.gone("BTCUSDT") == [(7, 9), (20, 22)]
    assert [sequences.take(trade(number), 0.0) for number in (39, 10, 40)] == [[], [], [trade(40)]]
    assert sequences.take(trade(24), 0.0) == [trade(24)]
    assert sequences.take(trade(21), 0.0) == [trade(21)]
    assert sequences.filled() == [Hole("BTCUSDT", 24, 24), Hole("BTCUSDT", 21, 21)]
    assert sequences.take(trade(8), 0.0) == [trade(8)]  # nobody knows whether the topic holds it
    assert sequences.filled() == []
    assert sequences.duplicates == 2


def test_an_open_gap_alone_does_not_say_where_a_symbol_stands() -> None:
    """Of a symbol with no trade in the tail, the open ids are missing; what lies above them is not."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.resume("BTCUSDT", [], open_=[Hole("BTCUSDT", 5, 6)])
    assert sequences.last("BTCUSDT") is None
    sequences.bound("BTCUSDT", 99, 0.0)
    assert sequences.take(trade(100), 0.0) == []
    assert sequences.begin("BTCUSDT", 98, 0.0) == []
    assert numbers(sequences.missing("BTCUSDT")) == [5, 6, 98, 99]
    assert sequences.take(trade(5), 0.1) == [trade(5)]
    assert sequences.due(2.0) == [trade(100)]


def test_an_open_gap_and_a_beginning_need_no_trade_between() -> None:
    """Where the record goes on is known from the exchange alone; what was between is not asked for."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.resume("BTCUSDT", [], open_=[Hole("BTCUSDT", 5, 6)])
    assert sequences.begin("BTCUSDT", 98, 0.0) == []
    assert sequences.take(trade(98), 0.0) == [trade(98)]
    assert numbers(sequences.missing("BTCUSDT")) == [5, 6]
    assert sequences.gone("BTCUSDT") == [(7, 97)]


def test_a_symbol_is_timed_no_longer_than_it_waits() -> None:
    """When the hole is filled, nothing is waited for, and the next deadline is that of the next hole."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 1, 0.0)
    sequences.bound("BTCUSDT", 1, 1.0)
    assert sequences.next_due_s() == 3.0
    sequences.take(trade(1), 1.5)
    assert sequences.next_due_s() is None
    sequences.take(trade(3), 1.7)
    assert sequences.next_due_s() == 3.7


def feed(sequences: Sequences, ids: list[int], time_ms: Callable[[int], int]) -> list[int]:
    """Take some ids with their times; the ids that go out."""
    return [one.trade_id for number in ids for one in sequences.take(trade(number, timestamp=time_ms(number)), 0.0)]


def test_an_exchange_that_counts_anew_is_followed() -> None:
    """Lower ids with later times are new trades: they go out, and from the second on their holes are known."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 100, 0.0)
    assert feed(sequences, [100, 101, 105], lambda number: 1_700_000_000_000) == [100, 101]
    assert feed(sequences, [100, 101, 102], lambda number: 1_700_000_060_000 + number) == [100, 105, 101, 102]
    assert (sequences.restarts, sequences.duplicates) == (1, 0)
    assert [(hole.first, hole.last) for hole in sequences.given_up()] == [(102, 104)]
    assert feed(sequences, [104, 101], lambda number: 1_700_000_060_000 + number) == []
    assert numbers(sequences.missing("BTCUSDT")) == [103]
    assert sequences.duplicates == 1


def test_one_odd_id_changes_nothing() -> None:
    """A single known id with a later time is published, for it is another trade; the count goes on as it was."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 100, 0.0)
    ids = [*range(100, 120)]
    assert feed(sequences, ids, lambda number: 1_700_000_000_000) == ids
    assert feed(sequences, [107], lambda number: 1_700_000_060_000) == [107]
    assert feed(sequences, [119, 120], lambda number: 1_700_000_000_000) == [120]
    assert (sequences.restarts, sequences.missing("BTCUSDT")) == (0, [])
