"""When a silent symbol is asked about, and what an exchange's clock shows at best."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producer.feeds.watch import DRIFT, Quiet, Skew


def questions(quiet: Quiet, symbol: str, until_s: int, *, answered: bool = True) -> list[int]:
    """The seconds in which a symbol is asked about, if each answer says that nothing was missed."""
    times = []
    for now_s in range(until_s):
        if symbol in quiet.due(now_s):
            times.append(now_s)
            if answered:
                quiet.answered(symbol, False, now_s)
    return times


def test_a_symbol_is_asked_about_when_it_is_silent_and_ever_more_rarely() -> None:
    """A minute after its last trade, and then after 2, 4, 8 and 10 minutes, while the exchange has nothing new."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 0)
    assert questions(quiet, "BTCUSDT", 2500) == [60, 60 + 120, 180 + 240, 420 + 480, 900 + 600, 1500 + 600]


def test_a_symbol_that_trades_is_never_asked_about() -> None:
    """Each trade starts the minute anew."""
    quiet = Quiet()
    for now_s in range(0, 1000, 59):
        quiet.heard("BTCUSDT", now_s)
        assert quiet.due(now_s + 58.9) == []


def test_a_trade_makes_the_watch_as_close_as_at_first() -> None:
    """However long it had been silent, a minute after its next trade it is asked about."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 0)
    questions(quiet, "BTCUSDT", 1000)
    quiet.heard("BTCUSDT", 1000)
    assert quiet.due(1059) == []
    assert quiet.due(1060) == ["BTCUSDT"]


def test_a_trade_between_question_and_answer_counts() -> None:
    """An answer that comes after the symbol has spoken again does not lengthen the next silence."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 0)
    assert quiet.due(60) == ["BTCUSDT"]
    quiet.heard("BTCUSDT", 61)
    quiet.answered("BTCUSDT", False, 62)
    assert quiet.due(122) == ["BTCUSDT"]


def test_missed_trades_keep_the_watch_close() -> None:
    """Where the exchange did trade a silent symbol, it is asked about again a minute later."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 0)
    questions(quiet, "BTCUSDT", 1000)
    quiet.answered("BTCUSDT", True, 1000)
    assert quiet.due(1059) == []
    assert quiet.due(1060) == ["BTCUSDT"]


def test_a_question_that_is_never_answered_is_put_again() -> None:
    """A request that fails is no answer: the next question comes as late as this one came."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 0)
    assert questions(quiet, "BTCUSDT", 200, answered=False) == [60, 120, 180]


def test_suspects_are_asked_about_soon_unless_they_trade() -> None:
    """After a reconnect, a symbol that does not trade within 5 s is asked about, also one that was never heard."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 0)
    quiet.suspect(["BTCUSDT", "ETHUSDT", "XRPUSDT"], 10)
    quiet.heard("ETHUSDT", 11)
    assert quiet.due(14.9) == []
    assert quiet.due(15) == ["BTCUSDT", "XRPUSDT"]
    assert quiet.due(71) == ["ETHUSDT"]


def test_how_long_a_symbol_is_silent_is_told() -> None:
    """From its last trade; for ever where none was heard."""
    quiet = Quiet()
    quiet.heard("BTCUSDT", 5)
    quiet.suspect(["ETHUSDT"], 5)
    assert quiet.silent_for_s("BTCUSDT", 12) == 7
    assert quiet.silent_for_s("ETHUSDT", 12) == quiet.silent_for_s("none", 12) == float("inf")


@given(
    ahead_ms=st.floats(-3.6e6, 3.6e6),
    drift=st.floats(-DRIFT / 2, DRIFT / 2),
    trips=st.lists(
        st.tuples(st.floats(0.1, 600), st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=20
    ),  # seconds before a request, of its way there and of its way back
    later_s=st.floats(0, 600),
)
def test_the_true_time_is_always_within_the_error(
    ahead_ms: float, drift: float, trips: list[tuple[float, float, float]], later_s: float
) -> None:
    """Whatever the ways there and back take, and however the clocks drift, the exchange's time is where we say."""

    def truth_ms(now_s: float) -> float:
        return 1.7e12 + ahead_ms + now_s * 1000 * (1 + drift)

    skew, now_s = Skew(), 0.0
    for pause_s, there_s, back_s in trips:
        sent_s = now_s + pause_s
        now_s = sent_s + there_s + back_s
        skew.add(sent_s, now_s, int(truth_ms(sent_s + there_s)))
    now_s += later_s
    error_ms, time_ms = skew.error_ms(now_s), skew.time_ms(now_s)
    assert error_ms is not None
    assert time_ms is not None
    assert abs(time_ms - truth_ms(now_s)) <= error_ms + 0.1
    assert (skew.earliest_ms(now_s) or 0) <= truth_ms(now_s) + 0.1
    assert skew.ahead_ms(now_s, 1.7e12) == pytest.approx(time_ms - 1.7e12)


def test_the_shortest_round_trip_counts() -> None:
    """A request that took 2 s does not spoil what one of 10 ms has told."""
    skew = Skew()
    skew.add(100.000, 100.010, 200_005)
    skew.add(101.000, 103.000, 202_900)  # somewhere within 2 s: no contradiction
    assert skew.error_ms(103.0) == pytest.approx(5.5 + 0.3, abs=0.01)
    assert skew.offset_ms(103.0) == pytest.approx(100_000.5, abs=0.01)


def test_a_clock_that_was_set_is_believed_anew() -> None:
    """A reading that cannot be true beside the older ones shows that a clock has jumped: they are forgotten."""
    skew = Skew()
    for second in range(3):
        skew.add(second, second + 0.010, second * 1000 + 5)
    skew.add(10.0, 10.1, 3_600_000 + 10_050)
    assert skew.offset_ms(10.1) == pytest.approx(3_600_000.5, abs=0.01)
    assert skew.error_ms(10.1) == pytest.approx(50.5, abs=0.01)


def test_before_it_is_asked_a_clock_shows_nothing() -> None:
    """No reading, no time; and a reading turned round in time is none."""
    skew = Skew()
    with pytest.raises(ValueError, match=r"^received at 1 s, before it was sent at 2 s$"):
        skew.add(2, 1, 0)
    assert skew.offset_ms(1) is skew.error_ms(1) is skew.time_ms(1) is skew.earliest_ms(1) is None
    assert skew.ahead_ms(1, 1) is None
