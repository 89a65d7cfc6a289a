"""Missing ids and what is known of them: the arithmetic, held to sets of single ids."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from bars.audit import gaps as gaps_module
from bars.audit.gaps import Ids, Missing, broken, explained, merged, without
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


@pytest.mark.spark
def test_places_that_are_not_looked_at_are_told_of(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where those that are looked at adjoin, and are one."""
    monkeypatch.setattr(gaps_module, "LOOKED_AT", 3)
    time = "TIMESTAMP_SECONDS(id)"
    holes = spark.range(4).selectExpr(
        "'binance' AS exchange", "'BTCUSDT' AS symbol", f"{time} AS timestamp", "1L AS missing_trades",
        "10 * id AS first_trade_id", "10 * id + 9 AS last_trade_id",
    )  # fmt: skip
    places, are_more = broken(holes)
    assert (sum(place.number for place in places), are_more) == (30, True)
    assert broken(holes.filter("first_trade_id < 30")) == ([Ids("binance", "BTCUSDT", 0, 29)], False)


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
