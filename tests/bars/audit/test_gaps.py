"""Missing ids and what is known of them: the arithmetic, held to sets of single ids."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bars.audit.gaps import Ids, Missing, explained, merged, without
from market.gap import Gap

SYMBOLS = ("BTCUSDT", "ETHUSD")


@st.composite
def ranges(draw: st.DrawFn) -> Ids:
    """Short ranges, close together."""
    first = draw(st.integers(0, 30))
    return Ids("binance", draw(st.sampled_from(SYMBOLS)), first, first + draw(st.integers(0, 8)))


@st.composite
def gaps(draw: st.DrawFn) -> Gap:
    ids = draw(ranges())
    return Gap(*ids, draw(st.sampled_from(("open", "filled", "lost"))), draw(st.sampled_from("ab")), 0)


def single(ids: Ids) -> set[tuple[str, int]]:
    return {(ids.symbol, number) for number in range(ids.first, ids.last + 1)}


def singles(many: list[Ids]) -> list[tuple[str, int]]:
    return [each for ids in many for each in sorted(single(ids))]


@given(st.lists(ranges()))
def test_merged_ids_are_the_same_ones(some: list[Ids]) -> None:
    """Each once, in order, in as few ranges as can be."""
    result = merged(some)
    assert singles(result) == sorted(set().union(*map(single, some)))
    assert all(one[:2] != other[:2] or one.last + 1 < other.first for one, other in pairwise(result))


@given(st.lists(ranges()), st.lists(ranges()))
def test_ids_without_others(some: list[Ids], others: list[Ids]) -> None:
    """The difference of the two sets."""
    assert singles(without(some, others)) == sorted(set().union(*map(single, some)) - set().union(*map(single, others)))


@given(st.lists(ranges()), st.lists(ranges(), max_size=2), st.lists(ranges(), max_size=2), st.lists(gaps()))
def test_each_id_has_what_is_known_of_it(
    missing: list[Ids], rejected: list[Ids], coming: list[Ids], records: list[Gap]
) -> None:
    """Rejected before coming before the last gap record that covers it; and every missing id is told once."""
    expected: dict[tuple[str, int], str | None] = dict.fromkeys(set().union(*map(single, missing)))
    for gap in records:
        expected |= dict.fromkeys(single(Ids(*gap[:4])) & expected.keys(), gap.status + gap.cause)
    for status, ids in (("coming", coming), ("rejected", rejected)):
        expected |= dict.fromkeys(set().union(*map(single, ids)) & expected.keys(), status)
    found = explained(missing, rejected, coming, records)
    told = {
        each: item.status if item.status in (None, "coming", "rejected") else f"{item.status}{item.cause}"
        for item in found
        for each in single(item.ids)
    }
    assert told == expected
    assert sum(item.ids.number for item in found) == len(expected)


def test_what_explains() -> None:
    """A gap record that says filled accounts for nothing that is not there."""
    ids = Ids("binance", "BTCUSDT", 1, 2)
    statuses = ("open", "lost", "rejected", "coming", "filled", None)
    assert [Missing(ids, status).is_explained for status in statuses] == [True, True, True, True, False, False]
