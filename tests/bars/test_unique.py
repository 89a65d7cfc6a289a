"""Copies and conflicts, held to a few lines of plain Python."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from chispa import assert_df_equality
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from bars.aggregate import to_bars
from bars.unique import conflicts, index_of, offset_of, position, unique
from market.bar import bars_of
from market.trade import Trade
from tests.bars.frames import bars_in, elements, placed
from tests.bars.strategies import START_MS, firsts, identity, repeating

pytestmark = pytest.mark.spark

MANY = settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))

FIELDS = ("exchange", "symbol", "price", "quantity", "trade_id", "is_buyer_maker")
TRADE = Trade("binance", "BTCUSDT", "100.5", "0.25", START_MS + 3, 7, True)


def told(rows: Any) -> set[tuple[Any, ...]]:
    """The rows of `unique`: the trade that counts, its offset, how many bear its id, whether one is in conflict."""
    return {
        (
            Trade(**{name: row[name] for name in FIELDS}, timestamp=row["time_ms"]),
            *(row["offset"], row["copies"], row["is_conflict"]),
        )
        for row in rows
    }


def expected(some: list[Trade]) -> set[tuple[Any, ...]]:
    """What `unique` is to make of trades in the order of their offsets."""
    first, all_ = firsts(some), defaultdict(list)
    for trade in some:
        all_[identity(trade)].append(trade)
    return {
        (exact(trade), some.index(trade), len(all_[key]), any(other != trade for other in all_[key]))
        for key, trade in first.items()
    }


def exact(trade: Trade) -> Any:
    """The trade with its numbers as numbers."""
    return trade._replace(price=Decimal(trade.price), quantity=Decimal(trade.quantity))  # type: ignore[arg-type]


@given(repeating())
@MANY
def test_of_each_identity_the_lowest_offset_counts(spark: SparkSession, some: list[Trade]) -> None:
    """Of any trades with copies and conflicts, the first of each identity is kept, with the number it stands for."""
    assert told(unique(elements(spark, some)).collect()) == expected(some)


@given(repeating())
@MANY
def test_the_order_of_rows_does_not_matter(spark: SparkSession, some: list[Trade]) -> None:
    """The same elements, spread over seven partitions, leave the same ones: position decides, not arrival."""
    frame = elements(spark, some)
    assert_df_equality(unique(frame), unique(frame.repartition(7)), ignore_row_order=True)


@given(repeating())
@MANY
def test_conflicts_are_those_that_differ_from_what_counts(spark: SparkSession, some: list[Trade]) -> None:
    """Every element with other content than the one that counts is a conflict; copies of that one are none."""
    frame = elements(spark, some)
    first = firsts(some)
    lost = [offset for offset, trade in enumerate(some) if trade != first[trade.exchange, trade.symbol, trade.trade_id]]
    assert sorted(row["offset"] for row in conflicts(frame).collect()) == lost


@pytest.mark.parametrize(
    "change", [{"timestamp": TRADE.timestamp + 1}, {"price": "100.51"}, {"quantity": "0.26"}, {"is_buyer_maker": False}]
)
def test_any_field_of_the_content_makes_a_conflict(spark: SparkSession, change: dict[str, Any]) -> None:
    """Time, price, quantity and side each make a conflict of a copy."""
    frame = elements(spark, [TRADE, TRADE._replace(**change)])
    assert [(row["is_conflict"], row["copies"], row["offset"]) for row in unique(frame).collect()] == [(True, 2, 0)]
    assert [row["offset"] for row in conflicts(frame).collect()] == [1]


def test_the_same_number_written_otherwise_is_the_same_content(spark: SparkSession) -> None:
    """Trailing zeros of a price or quantity make no conflict."""
    frame = elements(spark, [TRADE, TRADE._replace(price="100.50000000", quantity="2.5e-1")])
    assert [(row["is_conflict"], row["copies"]) for row in unique(frame).collect()] == [(False, 2)]


def test_an_id_of_another_market_is_another_trade(spark: SparkSession) -> None:
    """The same id of another symbol or exchange is no copy."""
    frame = elements(spark, [TRADE, TRADE._replace(symbol="ETHUSD"), TRADE._replace(exchange="coinbase")])
    assert [row["copies"] for row in unique(frame).collect()] == [1, 1, 1]


def test_an_id_counts_once_in_each_value_of_a_further_column(spark: SparkSession) -> None:
    """With a further column, an id that stands in two of its values counts in both: seconds closed apart."""
    frame = elements(spark, [TRADE, TRADE, TRADE._replace(timestamp=START_MS + 1_000)])
    second = frame.withColumn("second", F.col("time_ms") - F.col("time_ms") % 1000)
    found = {(row["second"], row["copies"], row["is_conflict"]) for row in unique(second, "second").collect()}
    assert found == {(START_MS, 2, False), (START_MS + 1_000, 1, False)}


POSITIONS = st.tuples(st.integers(0, 2**43 - 1), st.integers(0, 2**20 - 1))


@given(st.lists(POSITIONS, min_size=2, max_size=50, unique=True))
@MANY
def test_positions_are_in_the_order_of_offset_and_index(spark: SparkSession, some: list[tuple[int, int]]) -> None:
    """Up to offset 2^43 and index 2^20, the one number is in the order of both, and both can be read from it."""
    rows = placed(spark, some).withColumn("position", position()).orderBy("position")
    found = rows.select(offset_of(F.col("position")), index_of(F.col("position"))).collect()
    assert [tuple(row) for row in found] == sorted(some)


def test_an_index_beyond_all_bounds_stays_before_the_next_record(spark: SparkSession) -> None:
    """An element that no record can hold so many of still comes before those of the next record."""
    rows = placed(spark, [(5, 2**20 - 1), (5, 2**31 - 1), (6, 0)]).orderBy(position().desc()).collect()
    assert rows[0]["offset"] == 6


@given(repeating())
@MANY
def test_bars_of_what_is_unique_are_those_of_the_first_ones(spark: SparkSession, some: list[Trade]) -> None:
    """Bars of the unique trades are the defined bars of the first trade of each identity."""
    assert bars_in(to_bars(unique(elements(spark, some))).collect()) == bars_of(firsts(some).values())
