"""Trades go out in order, once, and never later than promised; what is missing is always known."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from market.trade import Trade
from producer.completeness.sequence import Hole, Sequences
from tests.producer.doubles import trade

WAIT_S = 2.0
HIGHEST = 30

Op = tuple[str, int, int]
"""What happens, and two numbers that it needs."""


class Plain:
    """What `Sequences` promises for one symbol, said of single ids in plain sets, slowly.

    A trade waits while a lower id is missing whose time to wait has not passed; and before the beginning is known, for
    the same time after the first trade.
    """

    def __init__(self) -> None:
        self.came: set[int] = set()
        self.out: set[int] = set()
        self.lost: set[int] = set()
        self.deadline: dict[int, float] = {}  # of each id that ever was missing
        self.first_came: int | None = None
        self.start_s: float | None = None
        self.begin: int | None = None
        self.newest: int | None = None

    def take(self, number: int, now_s: float) -> None:
        if self.newest is None:
            self.first_came, self.newest, self.start_s = number, number, now_s + WAIT_S
        self.know_of(number, now_s)
        self.came.add(number)

    def know_of(self, number: int, now_s: float) -> None:
        if self.newest is not None:
            for missed in range(self.newest + 1, number + 1):
                self.deadline.setdefault(missed, now_s + WAIT_S)
            self.newest = max(self.newest, number)

    def begins(self, number: int, now_s: float) -> None:
        if self.begin is not None:
            return
        self.begin = number
        if self.newest is None:
            self.newest = number - 1
        elif self.first_came is not None and self.start_s is not None:
            for missed in range(number, self.first_came):
                self.deadline[missed] = self.start_s if self.start_s > now_s else -1.0

    def missing(self) -> set[int]:
        return self.deadline.keys() - self.came - self.lost

    def gone_out(self, now_s: float) -> set[int]:
        """What goes out now."""
        starting = self.begin is None and self.start_s is not None and self.start_s > now_s
        blocks = [number for number in self.missing() if self.deadline[number] > now_s]
        gate = min(blocks, default=HIGHEST * 10)
        now = set() if starting else {number for number in self.came - self.out if number < gate}
        self.out |= now
        return now


OPS = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(0, HIGHEST), st.just(0)),
        st.tuples(st.just("take"), st.integers(0, HIGHEST), st.just(0)),
        st.tuples(st.just("next"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("time"), st.sampled_from([0, 5, 10, 25]), st.just(0)),
        st.tuples(st.just("bound"), st.integers(0, HIGHEST), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, HIGHEST), st.integers(0, 9)),
        st.tuples(st.just("begin"), st.integers(0, HIGHEST), st.just(0)),
    ),
    max_size=40,
)


def numbers(holes: list[Hole]) -> list[int]:
    """The ids of some holes."""
    return [number for hole in holes for number in range(hole.first, hole.last + 1)]


def done(sequences: Sequences, plain: Plain, op: Op, now_s: float) -> tuple[list[Trade], int]:
    """Let one thing happen to both; what may go out, and how many duplicates came."""
    what, number, more = op
    if what == "next":
        what, number = "take", number + (plain.newest or 0)
    if what == "take":
        known = number in plain.came
        plain.take(number, now_s)
        return sequences.take(trade(number), now_s), int(known)
    if what == "bound":
        plain.know_of(number, now_s)
        sequences.bound("BTCUSDT", number, now_s)
        return [], 0
    if what == "lose":
        plain.lost |= plain.missing() & set(range(number, number + more + 1))
        return sequences.lose("BTCUSDT", number, number + more), 0
    if what == "begin":
        plain.begins(number, now_s)
        return sequences.begin("BTCUSDT", number, now_s), 0
    return [], 0


@given(st.booleans(), OPS)
@settings(max_examples=600, deadline=None)
def test_whatever_happens_is_as_the_plain_rule_says(begun: bool, ops: list[Op]) -> None:
    """Each trade goes out once, exactly when the rule lets it, in order of what goes together; the account is whole."""
    sequences, plain, now_s, duplicates = Sequences(wait_s=WAIT_S), Plain(), 0.0, 0
    for op in [("begin", 3, 0), *ops] if begun else ops:
        now_s += op[1] / 10 if op[0] == "time" else 0.0
        freed, known = done(sequences, plain, op, now_s)
        duplicates += known
        freed += sequences.due(now_s)
        went = [one.trade_id for one in freed]
        assert went == sorted(plain.gone_out(now_s))
        missing, gone = numbers(sequences.missing("BTCUSDT")), sequences.gone("BTCUSDT")
        assert missing == sorted(plain.missing())
        assert sequences.waiting == len(plain.came - plain.out)
        assert sequences.duplicates == duplicates
        first, last = sequences.first("BTCUSDT"), sequences.last("BTCUSDT")
        if first is not None and last is not None:
            account = [*missing, *plain.came, *(number for a, b in gone for number in range(a, b + 1))]
            assert sorted(account) == list(range(first, last + 1))


@given(st.lists(st.integers(0, 59), unique=True, max_size=50), st.permutations(range(60)), st.data())
@settings(max_examples=100, deadline=None)
def test_filled_in_time_everything_goes_in_order(dropped: list[int], order: list[int], data: st.DataObject) -> None:
    """Dropped, swapped and doubled as one likes: if every hole is filled before its deadline, the order is whole."""
    sequences, out = Sequences(wait_s=WAIT_S), list[int]()
    out += [one.trade_id for one in sequences.begin("BTCUSDT", 0, 0.0)]
    live = [number for number in order if number not in dropped]
    for number in [*live, *data.draw(st.permutations(live + dropped))]:
        out += [one.trade_id for one in sequences.take(trade(number), 1.0)]
        out += [one.trade_id for one in sequences.due(2.9)]
    assert out == list(range(60))
    assert (sequences.waiting, sequences.missing("BTCUSDT")) == (0, [])


@given(st.lists(st.tuples(st.sampled_from(["BTCUSDT", "ETHUSDT", "SOLUSDT"]), st.integers(0, 12)), max_size=40))
@settings(max_examples=100, deadline=None)
def test_symbols_do_not_touch_each_other(arrivals: list[tuple[str, int]]) -> None:
    """Of several symbols together, each goes out as it would alone."""
    together, alone = Sequences(wait_s=WAIT_S), {}
    for at, (symbol, number) in enumerate(arrivals):
        own = alone.setdefault(symbol, Sequences(wait_s=WAIT_S))
        now_s = at / 4
        assert sorted(together.due(now_s)) == sorted(one for each in alone.values() for one in each.due(now_s))
        assert together.take(trade(number, symbol), now_s) == own.take(trade(number, symbol), now_s)


def test_a_wait_of_zero_holds_nothing_back() -> None:
    """With no time to wait every trade goes as it comes, and the holes are known all the same."""
    sequences = Sequences(wait_s=0)
    arrivals = [5, 9, 7, 6, 7, 12]
    out = [one.trade_id for number in arrivals for one in sequences.take(trade(number), 1.0)]
    assert out == [5, 9, 7, 6, 12]
    assert numbers(sequences.missing("BTCUSDT")) == [8, 10, 11]


def test_too_many_waiting_trades_let_the_oldest_go() -> None:
    """Beyond the limit the symbol that has waited longest goes first, as if its time had passed; holes stay."""
    sequences = Sequences(wait_s=WAIT_S, waiting_limit=5)
    for symbol, now_s in (("ETHUSDT", 0.0), ("BTCUSDT", 0.1)):
        sequences.begin(symbol, 1, 0.0)
        assert [sequences.take(trade(number, symbol), now_s) for number in (2, 3)] == [[], []]
    assert sequences.take(trade(5, "ETHUSDT"), 0.2) == []
    freed = sequences.take(trade(4, "BTCUSDT"), 0.3)
    assert freed == [trade(2, "ETHUSDT"), trade(3, "ETHUSDT")]
    assert (sequences.waiting, numbers(sequences.missing("ETHUSDT"))) == (4, [1, 4])


def test_a_jump_is_one_hole_and_costs_no_memory() -> None:
    """Two ids 10^12 ahead open one hole; trades that come into it go on at its lower end, at once."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 1, 0.0)
    assert sequences.take(trade(1), 0.0) == [trade(1)]
    assert [sequences.take(trade(number), 0.1) for number in (10**12 - 1, 10**12)] == [[], []]
    assert [sequences.take(trade(number), 0.2) for number in (2, 3)] == [[trade(2)], [trade(3)]]
    assert [(hole.first, hole.last) for hole in sequences.missing("BTCUSDT")] == [(4, 10**12 - 1)]
    assert sequences.lose("BTCUSDT", 4, 10**12 - 1) == [trade(10**12)]
    assert sequences.take(trade(4), 0.3) == [trade(4)]
    assert sequences.gone("BTCUSDT") == [(5, 10**12 - 1)]


def test_one_absurd_id_is_not_believed() -> None:
    """It opens no hole, and the next one that is missing is noticed as ever; it is counted. Nor is a told one."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 1, 0.0)
    assert sequences.take(trade(1), 0.0) == [trade(1)]
    assert sequences.take(trade(2**53 - 1), 0.1) == []
    sequences.bound("BTCUSDT", 2**53 - 2, 0.1)
    assert [sequences.take(trade(number), 0.2) for number in (2, 4)] == [[trade(2)], []]
    assert numbers(sequences.missing("BTCUSDT")) == [3]
    assert (sequences.strays, sequences.duplicates) == (1, 1)


def test_endless_holes_are_joined_and_no_trade_is_held_back() -> None:
    """An exchange that leaves out every second id fills no memory, and every id still goes out when it comes."""
    sequences, out = Sequences(wait_s=0), list[int]()
    sequences.begin("BTCUSDT", 0, 0.0)
    for number in range(1, 8_001, 2):
        out += [one.trade_id for one in sequences.take(trade(number), 0.0)]
    assert out == list(range(1, 8_001, 2))
    assert len(sequences.missing("BTCUSDT")) == 1_000
    assert sequences.missing("BTCUSDT")[0].first == 0
    for number in range(0, 8_001, 2):
        assert sequences.take(trade(number), 1.0) == [trade(number)]


def test_endless_lost_ranges_are_joined_and_what_comes_late_goes_out() -> None:
    """Ids given up one by one fill no memory either, and one that comes after all is published."""
    sequences = Sequences(wait_s=0)
    sequences.begin("BTCUSDT", 0, 0.0)
    for number in range(1, 8_001, 2):
        sequences.take(trade(number), 0.0)
        sequences.lose("BTCUSDT", number - 1, number - 1)
    assert len(sequences.gone("BTCUSDT")) == 1_000
    assert [sequences.take(trade(number), 1.0) for number in (0, 4_000, 7_998)] == [
        [trade(0)],
        [trade(4_000)],
        [trade(7_998)],
    ]


def test_a_hole_is_asked_for_after_the_grace_and_reported_after_the_wait() -> None:
    """Ids that swap places cost no request; a hole is open for the record when newer trades have gone, once."""
    sequences = Sequences(wait_s=WAIT_S, grace_s=0.3)
    sequences.begin("BTCUSDT", 1, 0.0)
    sequences.take(trade(1, timestamp=1_700_000_000_000), 0.0)
    sequences.take(trade(4, timestamp=1_700_000_000_900), 1.0)
    hole = Hole("BTCUSDT", 2, 3, 1_700_000_000_000, 1_700_000_000_900, 1.0)
    assert [sequences.ripe(now_s) for now_s in (1.2, 1.3)] == [[], [hole]]
    assert [sequences.late(now_s) for now_s in (2.9, 3.0, 9.0)] == [[], [hole], []]
    sequences.take(trade(3, timestamp=1_700_000_000_500), 9.0)
    assert sequences.filled() == [Hole("BTCUSDT", 3, 3)]
    assert sequences.filled() == []
    assert sequences.missing("BTCUSDT") == [Hole("BTCUSDT", 2, 2, 1_700_000_000_000, 1_700_000_000_500, 1.0)]


def test_what_is_filled_in_time_is_never_reported() -> None:
    """A hole filled while newer trades waited was never open for the record."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 1, 0.0)
    sequences.take(trade(2), 0.0)
    sequences.take(trade(1), 1.0)
    assert (sequences.late(9.0), sequences.filled()) == ([], [])


def test_the_next_deadline_is_told() -> None:
    """The time up to which the oldest trade waits, while one does."""
    sequences = Sequences(wait_s=WAIT_S)
    assert sequences.next_due_s() is None
    sequences.take(trade(7), 1.0)
    sequences.take(trade(7, "ETHUSDT"), 0.5)
    assert sequences.next_due_s() == 2.5
    assert sequences.due(2.5) == [trade(7, "ETHUSDT")]
    assert sequences.next_due_s() == 3.0


def test_a_clock_that_steps_back_keeps_the_order() -> None:
    """A trade stamped earlier than the one before waits no shorter than what waits below it."""
    sequences = Sequences(wait_s=WAIT_S)
    sequences.begin("BTCUSDT", 1, 0.0)
    assert [sequences.take(trade(2), 1.0), sequences.take(trade(4), 0.5)] == [[], []]
    assert sequences.due(2.9) == []
    assert sequences.due(3.0) == [trade(2), trade(4)]
