"""Bars as text."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from market.bar import Bar, bars_of
from serve.own import formats
from serve.own.formats import COLUMNS
from serve.texts import Texts, plain
from tests.serve.tables import START_MS, every_second, walk

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


class Printer:
    """Counts what it prints."""

    def __init__(self) -> None:
        self.printed = 0

    def __call__(self, bar: Bar) -> bytes:
        self.printed += 1
        return str(bar.timestamp).encode()


def test_a_bar_that_is_kept_is_printed_once() -> None:
    """The next thousand are those of before and one more; an equal bar of another read is another object."""
    printer = Printer()
    texts = Texts(printer)
    for last in range(10, 31):
        assert texts.of(BARS[:last], keep=True) == [str(bar.timestamp).encode() for bar in BARS[:last]]
    assert printer.printed == 30
    texts.of([replace(BARS[0])], keep=True)
    assert printer.printed == 31
    texts.of(BARS, keep=False)
    assert printer.printed == 61


def test_texts_are_bounded_and_those_in_use_stay() -> None:
    """Two generations: what is not asked for during one is gone after it."""
    printer = Printer()
    texts = Texts(printer, most=10)
    for bar in BARS:
        assert texts.of([BARS[0], bar], keep=True)[1] == str(bar.timestamp).encode()
    assert len(texts._young) + len(texts._old) <= 20
    assert printer.printed <= 33


def test_a_bar_in_json_has_every_column() -> None:
    """With the values of the bar, decimals as text."""
    told = json.loads(formats.printed(BARS[0]) + b"}")
    assert set(told) == set(COLUMNS) - {"exchange", "symbol", "missing_before", "filled"}
    for name, value in told.items():
        expected = getattr(BARS[0], name)
        assert value == (plain(expected) if isinstance(expected, Decimal) else expected), name
