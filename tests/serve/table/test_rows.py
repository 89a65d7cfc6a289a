"""Rows in Arrow, held to the plain definition of a bar."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.bar import Bar, bars_of, current, rolled_up
from market.trade import Trade
from market.widths import WIDTHS
from serve.table import rows
from tests.bars.strategies import trades
from tests.serve.tables import START_MS, every_second, walk


def seconds_of(bars: list[Bar]) -> object:
    """Bars as rows of the table are, with vwap and missing trades of their own."""
    table = rows.rows_of(bars)
    for name, kind in (("vwap", rows.PRICE), ("missing_trades", rows.SECONDS.field("missing_trades").type)):
        table = table.append_column(name, [rows.pa.array([getattr(bar, name) for bar in bars], kind)])
    return table


@given(trades(), st.lists(st.integers(0, 3), min_size=60, max_size=60))
def test_the_highest_revision_counts(some: list[Trade], revisions: list[int]) -> None:
    """As `market.bar.current` says, whatever the order of the rows; sorted."""
    amended = [replace(bar, revision=number) for bar, number in zip(bars_of(some), revisions, strict=False)]
    every = [*amended, *bars_of(some)]
    expected = current([*every[::-1]])
    found = rows.bars_in(rows.current(seconds_of(every[::-1])))
    assert [(bar.exchange, bar.symbol, bar.timestamp, bar.revision) for bar in found] == [
        (bar.exchange, bar.symbol, bar.timestamp, bar.revision) for bar in expected
    ]


@given(trades(), st.sampled_from(list(WIDTHS.values())))
def test_wider_bars_are_those_of_the_definition(some: list[Trade], width_ms: int) -> None:
    """Of several exchanges and symbols at once, of any width, of the largest numbers: what the trades give directly."""
    wider = rows.bars_in(rows.rolled(rows.current(seconds_of(bars_of(some))), width_ms))
    assert wider == bars_of(some, width_ms) == rolled_up(bars_of(some), width_ms)


def test_wider_bars_of_wider_bars_are_the_same() -> None:
    """Days of hours of minutes of seconds are days of seconds."""
    bars = bars_of(walk(every_second(START_MS, 8_000)))
    minutes = rows.rolled(seconds_of(bars), WIDTHS["1m"])
    days = rows.rolled(rows.rolled(minutes, WIDTHS["1h"]), WIDTHS["1d"])
    assert rows.bars_in(days) == rolled_up(bars, WIDTHS["1d"])


def test_a_wider_bar_has_the_highest_revision() -> None:
    """As the definition says."""
    bars = bars_of(walk(every_second(START_MS, 3)))
    amended = [bars[0], replace(bars[1], revision=2), bars[2]]
    assert rows.bars_in(rows.rolled(seconds_of(amended), WIDTHS["1m"])) == rolled_up(amended, WIDTHS["1m"])


@pytest.mark.parametrize("schema", [rows.SECONDS, rows.WIDER])
def test_nothing_makes_nothing(schema: object) -> None:
    """Empty rows pass everywhere."""
    empty = schema.empty_table()  # type: ignore[attr-defined]
    assert rows.current(empty).num_rows == rows.rolled(empty, 60_000).num_rows == 0
    assert (rows.bars_in(empty), rows.keys_in(empty)) == ([], set())


def test_bars_become_rows_and_bars_again() -> None:
    """With every field, and one text for the names of all."""
    bars = bars_of([*walk(every_second(START_MS, 5)), *walk(every_second(START_MS, 5), symbol="ETHUSDT", seed=2)])
    found = rows.bars_in(seconds_of(bars))
    assert found == bars
    assert len({id(bar.symbol) for bar in found}) == 2
    assert rows.keys_in(seconds_of(bars)) == {("binance", "BTCUSDT"), ("binance", "ETHUSDT")}


def test_rows_are_chosen_by_key_and_time() -> None:
    """The end is not included."""
    bars = bars_of([*walk(every_second(START_MS, 5)), *walk(every_second(START_MS, 5), symbol="ETHUSDT", seed=2)])
    chosen = rows.between(rows.of_key(seconds_of(bars), "binance", "ETHUSDT"), START_MS + 1_000, START_MS + 3_000)
    assert [(bar.symbol, bar.timestamp - START_MS) for bar in rows.bars_in(chosen)] == [
        ("ETHUSDT", 1_000),
        ("ETHUSDT", 2_000),
    ]
