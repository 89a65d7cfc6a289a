"""A trade as a person and as a program reads it."""

from __future__ import annotations

import json

import pytest

from consumer import show
from market.trade import Trade

TRADE = Trade("binance", "BTCUSDT", "42150.50000000", "0.05234000", 1_762_702_223_123, 12345678, False)


def test_a_person_reads_seven_lines() -> None:
    """Heading, symbol, price, quantity, time, id and side, one per line, and an empty line after them."""
    assert show.block(TRADE, 123) == (
        "RAW TRADE DATA - Message #123\n"
        "Symbol: BTCUSDT\n"
        "Price: $42,150.50\n"
        "Quantity: 0.05234000\n"
        "Timestamp: 2025-11-09T15:30:23.123000+00:00\n"
        "Trade ID: 12345678\n"
        "Buyer Maker: False\n"
    )


def test_a_program_reads_the_record_again() -> None:
    """The fields of the Kafka record, with the decimals as text."""
    assert json.loads(show.line(TRADE)) == {
        "exchange": "binance",
        "symbol": "BTCUSDT",
        "price": "42150.50000000",
        "quantity": "0.05234000",
        "timestamp": 1_762_702_223_123,
        "trade_id": 12345678,
        "is_buyer_maker": False,
    }


@pytest.mark.parametrize(
    ("symbol", "text", "shown"),
    [
        ("BTCUSDT", "42150.5", "$42,150.50"),
        ("SHIBUSDT", "0.00001024", "$0.00001024"),
        ("BTCUSD", "1234567", "$1,234,567.00"),
        ("BTCUSD", "9999999999.99999999", "$9,999,999,999.99999999"),
        ("ETHBTC", "0.05338000", "0.05338"),
        ("BTCUSD", "1e-8", "$0.00000001"),
    ],
)
def test_a_price_is_shown_to_its_last_digit(symbol: str, text: str, shown: str) -> None:
    """Thousands apart, two decimals at least, none rounded away; a price in another currency has no dollar sign."""
    assert show.price(TRADE._replace(symbol=symbol, price=text)) == shown
