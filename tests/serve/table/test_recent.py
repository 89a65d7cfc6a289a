"""The newest bars in memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from market.bar import Bar, bars_of, rolled_up
from market.widths import MINUTE_MS
from serve.table import recent as module
from serve.table.recent import Recent, Series
from tests.serve.tables import START_MS, every_second, walk

BARS = bars_of(walk(every_second(START_MS, 300)))


def series(number: int = 300) -> Series:
    made = Series(START_MS)
    for bar in BARS[:number]:
        assert made.take(bar)
    return made


def test_bars_are_in_the_order_of_time_whatever_order_they_come_in() -> None:
    """One that was missing gets its place."""
    made = Series(START_MS)
    for bar in [*BARS[5:10], *BARS[:3], BARS[3], BARS[4]]:
        assert made.take(bar)
    assert made.bars == BARS[:10]
    assert made.seconds(START_MS + 2_000, START_MS + 4_000) == BARS[2:4]
    assert made.last(2, START_MS, START_MS + 8_000) == BARS[6:8]
    assert made.last(5, START_MS + 7_000, START_MS + 8_000) == BARS[7:8]


def test_a_higher_revision_takes_the_place_of_a_lower_one() -> None:
    """And never the other way round."""
    made = series(10)
    amended = replace(BARS[4], revision=2, trade_count=99)
    assert made.take(amended)
    assert not made.take(replace(BARS[4], revision=1))
    assert not made.take(BARS[4])
    assert made.bars[4] is amended


def test_minutes_are_made_once_until_they_change() -> None:
    """They are those of the definition, and an amended second makes its minute anew."""
    made = series()
    first, end = START_MS, START_MS + 5 * MINUTE_MS
    minutes = made.minutes(first, end)
    assert minutes == rolled_up(BARS, MINUTE_MS)
    assert [id(bar) for bar in made.minutes(first, end)] == [id(bar) for bar in minutes]
    amended = replace(BARS[70], revision=1, trade_count=99)
    made.take(amended)
    again = made.minutes(first, end)
    assert again == rolled_up([*BARS[:70], amended, *BARS[71:]], MINUTE_MS)
    assert [one is other for one, other in zip(again, minutes, strict=True)] == [True, False, True, True, True]


class Printer:
    """Counts what it prints."""

    def __init__(self) -> None:
        self.printed = 0

    def __call__(self, bar: Bar) -> bytes:
        self.printed += 1
        return b"%d of revision %d" % (bar.timestamp, bar.revision)


def test_a_bar_is_printed_once_until_it_is_amended() -> None:
    """A revision that somebody has read before is printed too, and not kept."""
    made, printer = series(30), Printer()
    for _ in range(2):
        assert made.text(BARS[4], printer) == b"%d of revision 0" % BARS[4].timestamp
    assert (printer.printed, made.texts) == (1, 1)
    made.take(replace(BARS[4], revision=1))
    assert (made.text(BARS[4], printer), made.texts) == (b"%d of revision 0" % BARS[4].timestamp, 0)
    assert made.text(made.bars[4], printer) == b"%d of revision 1" % BARS[4].timestamp
    assert made.text(BARS[40], printer) == b"%d of revision 0" % BARS[40].timestamp
    assert (printer.printed, made.texts) == (4, 1)


def test_texts_go_with_their_bars() -> None:
    """Polled for as long as one likes, no more of them are kept than bars; what was dropped is nowhere."""
    recent, printer = Recent(60), Printer()
    for at in range(0, 300, 5):
        recent.take(BARS[at : at + 5])
        held = recent.of("binance", "BTCUSDT")
        for bar in held.bars:
            held.text(bar, printer)
        assert recent.texts == held.texts == len(held.bars) == len(recent)
    assert len(recent) <= module.LEAST + module.LEAST // 8
    assert printer.printed == 300


def test_the_oldest_go_when_there_are_too_many() -> None:
    """From then on, memory knows of bars that begin after them; minutes that are not whole any more are gone."""
    made = series(200)
    made.minutes(START_MS, START_MS + 3 * MINUTE_MS)
    made.trim(190)
    assert (len(made.bars), made.from_ms) == (200, START_MS)  # not for a few
    made.trim(100)
    assert (made.bars, made.from_ms) == (BARS[100:200], START_MS + 100_000)
    whole_ms = START_MS + 2 * MINUTE_MS
    assert made.minutes(whole_ms, whole_ms + MINUTE_MS) == rolled_up(BARS[120:180], MINUTE_MS)


def test_news_are_what_was_not_known() -> None:
    """What is older than memory may be news: nobody knows here."""
    recent = Recent(1_000, BARS[100:], START_MS + 100_000)
    assert recent.take([BARS[150]]) == []
    assert recent.take([replace(BARS[150], revision=1)]) == [replace(BARS[150], revision=1)]
    assert recent.take([BARS[50]]) == [BARS[50]]
    assert len(recent) == 200
    assert recent.of("binance", "BTCUSDT").from_ms == START_MS + 100_000
    assert recent.newest_ms("binance", "BTCUSDT") == START_MS + 299_000
    assert recent.newest_ms("binance", "NOSUCH") is None


def test_a_new_symbol_is_whole_since_memory_is() -> None:
    """It had no bar before, or it would be there."""
    recent = Recent(1_000, BARS[100:], START_MS + 100_000)
    others = bars_of(walk(every_second(START_MS + 200_000, 3), symbol="ETHUSDT"))
    assert recent.take(others) == others
    assert recent.of("binance", "ETHUSDT").from_ms == START_MS + 100_000
    assert sorted(recent.keys()) == [("binance", "BTCUSDT"), ("binance", "ETHUSDT")]


def test_many_symbols_have_fewer_bars_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, however many there are."""
    monkeypatch.setattr(module, "MOST", 1_000)
    recent = Recent(3_600)
    for number in range(20):
        recent.take(bars_of(walk(every_second(START_MS, 300), symbol=f"S{number}", seed=number)))
    per_symbol = module.LEAST + module.LEAST // 8
    assert all(len(recent.of("binance", f"S{number}").bars) <= 300 for number in range(20))
    assert len(recent.of("binance", "S19").bars) <= per_symbol
