"""What is asked for next: short holes first, none forgotten, and what was refused later."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from producer.completeness.plan import Plan
from producer.completeness.sequence import Hole

PAUSES_S = (1.0, 2.0, 3.0)


def asked(plan: Plan, holes: list[Hole], *, count: int = 1, now_s: float = 0.0, busy: str = "") -> list[list[object]]:
    """What is asked for: of each page its symbol, and the ranges that it is to fill."""
    pages = plan.next(holes, {busy}, count, now_s)
    return [[symbol, *((part.first, part.last) for part in parts)] for symbol, parts in pages]


def test_the_shortest_hole_goes_first_and_every_fourth_time_the_oldest() -> None:
    """Newer trades wait for short holes; a long one still gets its turn."""
    holes = [Hole("LONGUSDT", 1, 10**6, found_s=1.0), Hole("MIDUSDT", 1, 500, found_s=3.0)]
    holes += [Hole("BTCUSDT", 1, 5, found_s=2.0)]
    plan = Plan(PAUSES_S)
    assert [asked(plan, holes)[0][0] for _ in range(4)] == ["BTCUSDT", "BTCUSDT", "BTCUSDT", "LONGUSDT"]
    assert [page[0] for page in asked(plan, holes, count=9)] == ["BTCUSDT", "MIDUSDT", "LONGUSDT"]
    assert asked(plan, holes, count=2, busy="BTCUSDT") == [["LONGUSDT", (1, 10**6)], ["MIDUSDT", (1, 500)]]


def test_holes_near_each_other_share_a_page() -> None:
    """As many of a symbol's holes as fit in 1,000 ids; a longer hole is asked for alone."""
    holes = [Hole("BTCUSDT", *ids) for ids in ((1, 1), (500, 540), (900, 1_000), (1_001, 1_001), (1_400, 1_499))]
    assert asked(Plan(PAUSES_S), holes) == [["BTCUSDT", (1, 1), (500, 540), (900, 1_000)]]
    holes[3] = Hole("BTCUSDT", 1_001, 5_000)
    assert asked(Plan(PAUSES_S), [holes[3], Hole("BTCUSDT", 5_002, 7_000)]) == [["BTCUSDT", (5_002, 7_000)]]


def test_what_was_not_given_is_asked_for_later_and_then_no_more() -> None:
    """Three times with growing pauses; meanwhile the rest of the hole goes on."""
    plan, holes = Plan(PAUSES_S), [Hole("BTCUSDT", 1, 50)]
    assert plan.put_off("BTCUSDT", 1, 10, 0.0)
    assert asked(plan, holes, now_s=0.9) == [["BTCUSDT", (11, 50)]]
    assert asked(plan, holes, now_s=1.0) == [["BTCUSDT", (1, 50)]]
    assert plan.put_off("BTCUSDT", 1, 10, 1.0)
    assert asked(plan, [Hole("BTCUSDT", 1, 10)], now_s=2.9) == []
    assert plan.put_off("BTCUSDT", 4, 10, 3.0)
    assert asked(plan, [Hole("BTCUSDT", 1, 10)], now_s=3.0) == [["BTCUSDT", (1, 3)]]
    assert not plan.put_off("BTCUSDT", 4, 10, 6.0)


def test_a_hole_that_was_filled_meanwhile_leaves_no_doubt_behind() -> None:
    """The same ids, missing again after another count began, have all their tries."""
    plan = Plan(PAUSES_S)
    for now_s in (0.0, 1.0, 3.0):
        assert plan.put_off("BTCUSDT", 1, 10, now_s)
    assert asked(plan, [], now_s=4.0) == []
    assert plan.put_off("BTCUSDT", 1, 10, 5.0)


@given(st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 1_500)), max_size=8), st.data())
@settings(max_examples=100, deadline=None)
def test_every_missing_id_is_asked_for_in_the_end(places: list[tuple[int, int]], data: st.DataObject) -> None:
    """Whatever a page gives of what it was asked for, the rest is asked for again, until nothing is left."""
    missing = {number for first, length in places for number in range(first, first + length + 1)}
    plan, rounds = Plan(PAUSES_S), 0
    while missing:
        rounds += 1
        assert rounds < 20_000
        runs = [number for number in sorted(missing) if number - 1 not in missing]
        holes = [
            Hole("BTCUSDT", first, next(n for n in range(first, 10_000) if n + 1 not in missing)) for first in runs
        ]
        ((_, parts),) = plan.next(holes, set(), 1, 0.0)
        wanted = [number for part in parts for number in range(part.first, part.last + 1)]
        assert set(wanted) <= missing
        assert len(parts) == 1 or wanted[-1] - wanted[0] < 1_000
        given = data.draw(st.integers(200, 1_000))
        missing -= set(wanted[:given] if data.draw(st.booleans()) else wanted[-given:])
