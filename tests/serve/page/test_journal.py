"""What was amended, by number; and how many trades come per second."""

from __future__ import annotations

from dataclasses import replace

from serve.page.journal import Journal
from serve.page.rates import SPAN_S, Rates
from tests.serve.binance.made import BTC, START_MS, bar_at, trades_at

NOW_MS = START_MS + 500


def starts(found: list[int] | None) -> list[int]:
    assert found is not None
    return [(start - START_MS) // 1_000 for start in found]


def begun(most: int = 100) -> Journal:
    """With the seconds until 10 over."""
    journal = Journal(most)
    journal.begin(START_MS + 10_000)
    return journal


def test_new_seconds_are_no_amendments() -> None:
    """Not those of one commit after another, in whatever order they stand in it."""
    journal = begun()
    journal.note([bar_at(11, 5, 6), bar_at(10, 3, 4)])
    journal.note([bar_at(12, 7, 8)])
    assert journal.sequence == 0


def test_later_revisions_and_late_first_bars_are_told_after_a_number() -> None:
    """A second that had no bar, and one that had another; those of another symbol are not asked for."""
    journal = begun()
    journal.note([bar_at(3, 1, 2), replace(bar_at(5, 3, 4), revision=1), bar_at(10, 5, 6)])
    place = journal.boot, journal.epoch
    assert starts(journal.since(*place, 0, BTC)) == [3, 5]
    assert starts(journal.since(*place, 1, BTC)) == [5]
    assert journal.since(*place, 2, BTC) == []
    assert journal.since(*place, 0, ("binance", "BTCUSDT")) == []


def test_what_is_not_known_any_more_is_told() -> None:
    """Too long ago, before the table was another one, in another process, in the future."""
    journal = begun(most=2)
    for second in (1, 2, 3):
        journal.note([bar_at(second, 1, 2)])
    place = journal.boot, journal.epoch
    assert journal.since(*place, 0, BTC) is None
    assert starts(journal.since(*place, 1, BTC)) == [2, 3]
    assert journal.since("another", journal.epoch, 3, BTC) is None
    assert journal.since(*place, 4, BTC) is None
    journal.begin(START_MS)
    assert journal.since(*place, 3, BTC) is None


def test_a_rate_is_the_mean_of_whole_seconds() -> None:
    """Of all symbols and of each; the second that runs does not count, nor do old ones."""
    rates = Rates()
    rates.begin(NOW_MS - 1_000)
    assert rates.per_s(NOW_MS) is None
    other = ("sim-coinbase", "ETHUSD")
    for second in range(SPAN_S + 5):
        rates.add(trades_at([NOW_MS] * 3) + trades_at([NOW_MS], key=other), NOW_MS + 1_000 * second)
    now_ms = NOW_MS + 1_000 * (SPAN_S + 5)
    assert (rates.per_s(now_ms), rates.per_s(now_ms, BTC), rates.per_s(now_ms, other)) == (4.0, 3.0, 1.0)
    assert rates.per_s(now_ms + 5_000) == 2.0
    assert rates.per_s(now_ms + 60_000) == 0.0


def test_a_rate_begins_with_what_was_counted() -> None:
    """A second after the beginning, the mean is of one second; the first part of a second does not count."""
    rates = Rates()
    rates.begin(NOW_MS)
    rates.add(trades_at([NOW_MS] * 7), NOW_MS + 100)
    rates.add(trades_at([NOW_MS] * 5), NOW_MS + 1_000)
    assert rates.per_s(NOW_MS + 2_000) == 5.0


def test_trades_that_come_once_more_are_no_rate() -> None:
    """A Redis that was emptied is filled with those of before: what is newer than them counts."""
    rates = Rates()
    rates.begin(NOW_MS - 1_000)
    known = trades_at([NOW_MS - 1_000 + number for number in range(500)])
    rates.add(known, NOW_MS)
    rates.begin(NOW_MS)
    rates.add([*known, *trades_at([NOW_MS + 600, NOW_MS + 700], first_id=501)], NOW_MS + 1_000)
    assert rates.per_s(NOW_MS + 2_000) == 2.0
