"""When a batch leaves, with a hand-cranked clock; and where a replay waits."""

from __future__ import annotations

from market.trade import Trade
from producer.publishing.batches import Batches
from producer.replay import Barrier, Pace


def trade(trade_id: int, symbol: str = "BTCUSDT", timestamp: int = 1_700_000_000_000) -> Trade:
    """A trade that differs in what a batch looks at."""
    return Trade("binance", symbol, "1", "1", timestamp, trade_id, True)


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_batch_leaves_when_full() -> None:
    """The trade that fills it takes the batch along, in the order in which they came."""
    batches = Batches(3, 1.0, Clock())
    assert [batches.add(trade(n)) for n in range(4)] == [None, None, [trade(0), trade(1), trade(2)], None]
    assert batches.waiting == 1


def test_a_batch_leaves_when_old() -> None:
    """It waits for the linger time from its first trade, not from its last."""
    clock = Clock()
    batches = Batches(3, 1.0, clock)
    clock.now_s = 10.0
    batches.add(trade(0))
    clock.now_s = 10.9
    batches.add(trade(1))
    assert batches.next_due_s() == 11.0
    clock.now_s = 10.99
    assert batches.due() == []
    clock.now_s = 11.0
    assert batches.due() == [[trade(0), trade(1)]]
    assert (batches.next_due_s(), batches.waiting) == (None, 0)


def test_a_batch_holds_one_symbol() -> None:
    """Symbols do not mix, and the oldest batch is the next one due."""
    clock = Clock()
    batches = Batches(2, 1.0, clock)
    batches.add(trade(0))
    clock.now_s = 0.5
    batches.add(trade(0, "ETHUSDT"))
    clock.now_s = 0.6
    assert batches.add(trade(1)) == [trade(0), trade(1)]
    assert batches.next_due_s() == 1.5
    assert batches.drain() == [[trade(0, "ETHUSDT")]]
    assert batches.waiting == 0


def test_one_symbol_needs_no_barrier() -> None:
    """There is nothing its partition could run ahead of."""
    barrier = Barrier()
    assert [barrier.before(trade(n, timestamp=n * 1000)) for n in range(5)] == [False] * 5


def test_several_symbols_wait_at_each_new_second() -> None:
    """The first trade of each later second waits; so does the first trade of the second symbol."""
    barrier = Barrier()
    steps = [("A1", 1_000), ("A1", 2_000), ("B1", 2_100), ("B1", 2_900), ("A1", 3_000), ("B1", 3_999), ("A1", 2_999)]
    found = [barrier.before(trade(0, symbol, time)) for symbol, time in steps]
    assert found == [False, False, True, False, True, False, False]


def test_a_replay_keeps_the_recorded_pace_divided_by_the_speed() -> None:
    """An entry recorded 10 s after the first is due 5 s after it at twice the speed; late ones are not delayed."""
    pace = Pace(2.0)
    assert pace.delay_s(1_000_000, 50.0) == 0.0
    assert pace.delay_s(1_010_000, 51.0) == 4.0
    assert pace.delay_s(1_010_000, 60.0) < 0
    assert pace.delay_s(None, 51.0) == 0.0


def test_at_full_speed_nothing_waits() -> None:
    """Speed 0 stands for max."""
    pace = Pace(0.0)
    assert [pace.delay_s(time_ms, 0.0) for time_ms in (0, 10**12)] == [0.0, 0.0]
