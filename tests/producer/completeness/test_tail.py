"""Whatever part of the topic is read, and whenever the producer was killed: what it lacks is known, no more."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from market.gap import Gap, gap_record
from market.trade import Heartbeat, Trade, record_of
from producer.completeness.sequence import Hole, Sequences
from producer.completeness.tail import Tail
from tests.producer.doubles import trade

NOW_MS = 1_700_000_000_000
WINDOW_MS = 3_600_000


def gap(first: int, last: int, status: str, symbol: str = "BTCUSDT") -> bytes:
    """A record of the gaps topic."""
    return gap_record(Gap("binance", symbol, first, last, status, "a test", NOW_MS, NOW_MS - 5, NOW_MS - 2))


def tail_of(trades: list[Trade], gaps: list[bytes]) -> Tail:
    """What is known from these records."""
    tail = Tail(window_ms=WINDOW_MS)
    for one in trades:
        tail.add_record(record_of(one), NOW_MS)
    for record in gaps:
        tail.add_gap(record)
    return tail


def restored(trades: list[Trade], gaps: list[bytes]) -> Sequences:
    """Sequences that go on from these records."""
    sequences = Sequences(wait_s=2.0)
    tail_of(trades, gaps).restore("binance", sequences)
    return sequences


def missing(sequences: Sequences, symbol: str = "BTCUSDT") -> list[int]:
    """The missing ids."""
    return [number for hole in sequences.missing(symbol) for number in range(hole.first, hole.last + 1)]


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("live"), st.integers(0, 3)),
        st.tuples(st.just("live"), st.just(0)),
        st.tuples(st.just("fill"), st.integers(0, 20)),
        st.tuples(st.just("lose"), st.integers(0, 20)),
        st.tuples(st.just("time"), st.sampled_from([1, 25])),
    ),
    max_size=50,
)


@given(OPS, st.integers(0, 50))
@settings(max_examples=500, deadline=None)
def test_after_a_crash_exactly_what_the_topic_lacks_is_missing(ops: list[tuple[str, int]], cut: int) -> None:
    """Trades are dropped, filled and lost until a kill; the successor reads the topic from anywhere, and knows."""
    sequences, topic, gaps, lost, newest, now_s = Sequences(wait_s=2.0), list[int](), list[bytes](), set[int](), 99, 0.0
    sequences.begin("BTCUSDT", 100, 0.0)
    for what, number in ops:
        out: list[Trade] = []
        holes = missing(sequences)
        if what == "live":
            newest += 1 + number
            out = sequences.take(trade(newest, timestamp=NOW_MS), now_s)
        elif what == "fill" and holes:
            out = sequences.take(trade(holes[number % len(holes)], timestamp=NOW_MS), now_s)
        elif what == "lose" and holes:
            gone = holes[number % len(holes)]
            gaps.append(gap(gone, gone, "lost"))
            lost.add(gone)
            out = sequences.lose("BTCUSDT", gone, gone)
        elif what == "time":
            now_s += number / 10
        out += sequences.due(now_s)
        topic += [one.trade_id for one in out]
        gaps += [gap(hole.first, hole.last, "open") for hole in sequences.late(now_s)]
        gaps += [gap(hole.first, hole.last, "filled") for hole in sequences.filled()]
    again = restored([trade(number, timestamp=NOW_MS) for number in topic[cut:]], gaps)
    if topic[cut:] and topic[0] == 100:
        assert missing(again) == sorted(set(range(100, max(topic) + 1)) - set(topic) - lost)
    else:
        assert set(missing(again)) <= set(range(100, newest)) - set(topic) - lost
    if max(topic, default=0) in topic[cut:]:
        assert again.last("BTCUSDT") == max(topic)
    else:
        assert again.last("BTCUSDT") is None or not topic[cut:]


def test_late_trades_at_the_beginning_of_the_tail_open_no_hole() -> None:
    """What was back-filled late lies far below the live trades: the ids between are in the topic, before the tail."""
    gaps = [gap(400, 510, "open"), gap(400, 505, "filled")]
    late_and_live = [trade(number, timestamp=NOW_MS) for number in (504, 505, 506, 1_000, 1_001, 1_003)]
    sequences = restored(late_and_live, gaps)
    assert missing(sequences) == [507, 508, 509, 510, 1_002]
    assert sequences.missing("BTCUSDT")[0] == Hole("BTCUSDT", 507, 510, NOW_MS - 5, NOW_MS - 2)
    assert sequences.last("BTCUSDT") == 1_003


def test_a_symbol_absent_from_the_tail_keeps_its_open_gap() -> None:
    """Its missing ids are asked for; where it stands nobody knows, so its next trade opens no hole."""
    sequences = restored([trade(1, "ETHUSDT", NOW_MS)], [gap(400, 410, "open"), gap(405, 406, "lost")])
    assert missing(sequences) == [*range(400, 405), *range(407, 411)]
    assert sequences.late(0.0) == []  # told already
    assert sequences.last("BTCUSDT") is None
    assert sequences.take(trade(9_000), 0.0) == []
    assert missing(sequences) == [*range(400, 405), *range(407, 411)]


def test_a_twin_that_filled_the_gap_has_closed_it() -> None:
    """What a twin reported as open is not missing where the topic holds it, and a lost id is not once it came."""
    gaps = [gap(10, 12, "open"), gap(14, 14, "lost"), gap(14, 14, "filled"), gap(16, 16, "lost"), gap(16, 16, "open")]
    sequences = restored([trade(number, timestamp=NOW_MS) for number in (9, 13, 10, 11, 15, 17, 14)], gaps)
    assert missing(sequences) == [12, 16]


def test_heartbeats_tell_up_to_when_the_topic_is_whole() -> None:
    """The latest one that is not ahead of its Kafka time: where a symbol without trades in the tail may begin."""
    tail = tail_of([], [])
    for time_ms, kafka_ms in ((NOW_MS - 5_000, NOW_MS - 4_500), (NOW_MS + 60_000, NOW_MS - 4_000)):
        tail.add_record(json.dumps(Heartbeat("binance", time_ms)._asdict()).encode(), kafka_ms)
    sequences = Sequences(wait_s=2.0)
    tail.restore("binance", sequences)
    assert sequences.whole_until_ms == NOW_MS - 4_000


def test_a_replay_in_the_topic_is_not_where_the_exchange_stands() -> None:
    """Trades of years ago, written a moment ago: live trades do not follow them, and nothing between is missing."""
    old_ms = NOW_MS - 400 * 86_400_000
    tail = tail_of([trade(number, timestamp=old_ms) for number in (1, 2)], [])
    tail.add_record(json.dumps(Heartbeat("binance", old_ms)._asdict()).encode(), NOW_MS)
    sequences = Sequences(wait_s=2.0)
    tail.restore("binance", sequences)
    assert (sequences.symbols(), sequences.whole_until_ms) == ([], None)


def test_a_simulated_exchange_may_live_in_any_year() -> None:
    """Its clock is its own: its trades of long ago are where it stands."""
    tail = Tail(window_ms=WINDOW_MS)
    old = trade(7, timestamp=NOW_MS - 400 * 86_400_000)._replace(exchange="sim-binance")
    tail.add_record(record_of(old), NOW_MS)
    sequences = Sequences(wait_s=2.0)
    tail.restore("sim-binance", sequences)
    assert sequences.last("BTCUSDT") == 7


def test_without_a_heartbeat_the_oldest_record_says_where_a_quiet_symbol_goes_on() -> None:
    """Ten seconds before it: so long may a trade have been on its way; of an empty topic nothing is said."""
    tail = tail_of([trade(1, timestamp=NOW_MS)], [])
    tail.add_record(record_of(trade(2, timestamp=NOW_MS)), NOW_MS + 60_000)
    sequences, others, none = Sequences(wait_s=2.0), Sequences(wait_s=2.0), Sequences(wait_s=2.0)
    tail.restore("binance", sequences)
    tail.restore("coinbase", others)
    tail_of([], []).restore("binance", none)
    assert (sequences.whole_until_ms, sequences.past_unknown) == ((NOW_MS - 10_000) // 60_000 * 60_000, None)
    assert (others.whole_until_ms, none.past_unknown) == (None, None)
    assert others.past_unknown == (
        "the record begins here: nothing of coinbase is in the part of the topic that was read"
    )


def test_what_was_filled_and_not_told_so_is_told_at_the_next_start() -> None:
    """A kill between the last back-filled trade and its record: open or lost ids that the topic holds are filled."""
    gaps = [gap(10, 13, "open"), gap(15, 15, "lost")]
    sequences = restored([trade(number, timestamp=NOW_MS) for number in (9, 14, 16, 11, 12, 15)], gaps)
    assert sequences.filled() == [Hole("BTCUSDT", 11, 12), Hole("BTCUSDT", 15, 15)]
    assert missing(sequences) == [10, 13]


def edge(first: int, before_ms: int) -> bytes:
    """The record of a beginning that is not known yet."""
    cause = "the record begins here: a test"
    return gap_record(Gap("binance", "BTCUSDT", first, first, "open", cause, NOW_MS, None, before_ms))


def test_a_record_whose_beginning_was_not_known_at_the_end_begins_anew() -> None:
    """Its first trades are in the topic, but not what the minute had before: that is asked for, from its minute on."""
    sequences = restored([trade(number, timestamp=NOW_MS) for number in (900, 901, 903)], [edge(899, NOW_MS)])
    assert (sequences.has_begun("BTCUSDT"), sequences.last("BTCUSDT"), missing(sequences)) == (False, 903, [902])
    assert sequences.since_ms == {"BTCUSDT": NOW_MS // 60_000 * 60_000}
    assert sequences.edges(float("inf")) == []  # told already
    assert sequences.begin("BTCUSDT", 890, 0.0) == []
    assert missing(sequences) == [*range(890, 900), 902]
    assert sequences.edge("BTCUSDT") == 899


def test_a_beginning_that_was_settled_is_no_question_any_more() -> None:
    """Whatever record names the id later replaces the edge."""
    trades = [trade(number, timestamp=NOW_MS) for number in (900, 901)]
    for status, first in (("open", 890), ("filled", 899), ("lost", 899)):
        sequences = restored(trades, [edge(899, NOW_MS), gap(first, 899, status)])
        assert sequences.has_begun("BTCUSDT")
        assert missing(sequences) == (list(range(890, 900)) if status == "open" else [])


def test_what_the_topic_holds_above_the_edge_is_not_asked_for_again() -> None:
    """The tail begins long after the first trade: only what lies below that one is unknown."""
    sequences = restored([trade(number, timestamp=NOW_MS) for number in (5_000, 5_001)], [edge(899, NOW_MS)])
    assert sequences.begin("BTCUSDT", 890, 0.0) == []
    assert missing(sequences) == list(range(890, 900))
    again = restored([], [edge(899, NOW_MS)])
    assert again.begin("BTCUSDT", 890, 0.0) == []
    assert missing(again) == list(range(890, 900))
    assert again.take(trade(900), 0.0) == [trade(900)]


def test_a_new_count_in_the_tail_leaves_the_old_one_behind() -> None:
    """Lower ids with later times: what lies between the two counts is not missing."""
    old = [trade(number, timestamp=NOW_MS - 60_000) for number in (5_000, 5_001)]
    new = [trade(number, timestamp=NOW_MS) for number in (10, 11, 13)]
    sequences = restored(old + new, [])
    assert (missing(sequences), sequences.last("BTCUSDT")) == ([12], 13)


def test_records_of_any_form_are_read_and_others_passed_over() -> None:
    """Arrays of trades count, what is no element does not, and what is no gap record is told."""
    tail = tail_of([], [b"{}", gap(2, 2, "open")])
    tail.add_record(json.dumps([trade(number, timestamp=NOW_MS)._asdict() for number in (1, 3)]).encode(), NOW_MS)
    tail.add_record(b"no JSON", NOW_MS)
    tail.add_record(None, NOW_MS)
    sequences = Sequences(wait_s=2.0)
    tail.restore("binance", sequences)
    assert (missing(sequences), tail.records, tail.described("binance")) == ([2], 3, "2 trades of 1 symbols")
