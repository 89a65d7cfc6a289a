"""Decimals and bars as text."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from market.bar import bars_of
from serve.bars import Bars
from serve.marks import marked
from serve.own import formats
from serve.own.bars import Asked, _json
from serve.own.formats import COLUMNS
from serve.tasks import AT_ONCE
from serve.texts import plain
from tests.serve.tables import START_MS, Table, every_second, walk

BARS = bars_of(walk(every_second(START_MS, 30)))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("42150.50000000", "42150.5"),
        ("0E-8", "0"),
        ("1E-8", "0.00000001"),
        ("1E+3", "1000"),
        ("100", "100"),
        ("0.10", "0.1"),
        ("123456789012345678901234567890.12345678", "123456789012345678901234567890.12345678"),
    ],
)
def test_decimals_are_printed_without_exponent_and_idle_zeros(number: str, text: str) -> None:
    """With every digit that counts."""
    assert plain(Decimal(number)) == text


def test_a_bar_in_json_has_every_column() -> None:
    """With the values of the bar, decimals as text."""
    told = json.loads(formats.printed(BARS[0]) + b"}")
    assert set(told) == set(COLUMNS) - {"exchange", "symbol", "missing_before", "filled"}
    for name, value in told.items():
        expected = getattr(BARS[0], name)
        assert value == (plain(expected) if isinstance(expected, Decimal) else expected), name


def test_others_are_answered_while_many_bars_are_printed(tmp_path: Path) -> None:
    """They have their turn after each few hundred bars."""
    many = bars_of(walk(every_second(START_MS, 1_000)))
    service = Bars.of(Table(tmp_path).settings)
    asked = Asked(service, "binance", "BTCUSDT", "1s", len(many))

    async def scenario() -> int:
        printing = asyncio.ensure_future(_json(marked(many, None), asked, service))
        turns = 0
        while not printing.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(json.loads(printing.result())["bars"]) == len(many)
        return turns

    assert asyncio.run(scenario()) >= len(many) / AT_ONCE
