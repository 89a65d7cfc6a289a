"""How a trade and a price are written in Redis, and read back."""

from __future__ import annotations

import pytest

from market.latest import (
    Price,
    address_of,
    line_of,
    name_of,
    position_field,
    price_key,
    price_of,
    trade_of,
    trades_key,
)
from market.trade import Trade

TRADE = Trade("binance", "BTCUSDT", "42150.50", "0.05234000", 1_762_702_223_123, 12345678, False)


def test_keys_name_exchange_and_symbol() -> None:
    """As the design says them: they are typed by hand, too."""
    assert price_key("sim-coinbase", "BTCUSD") == "price:sim-coinbase:BTCUSD"
    assert trades_key("sim-coinbase", "BTCUSD") == "trades:sim-coinbase:BTCUSD"
    assert name_of("sim-coinbase", "BTCUSD") == "sim-coinbase:BTCUSD"
    assert position_field("crypto-trades", 3) == "crypto-trades:3"


@pytest.mark.parametrize("side", [True, False])
def test_a_trade_is_read_as_it_was_written(side: bool) -> None:
    """Its decimals to the last digit, trailing zeros included."""
    trade = TRADE._replace(is_buyer_maker=side)
    line = line_of(trade, 1_762_702_223_130)
    assert trade_of("binance", "BTCUSDT", line) == trade
    if not side:
        assert line == "1762702223123 12345678 42150.50 0.05234000 false 1762702223130"


@pytest.mark.parametrize(
    ("text", "plain"), [("1e-8", "0.00000001"), ("1.5E3", "1500"), ("1E+1", "10"), ("2.50", "2.50"), ("7", "7")]
)
def test_an_exponent_is_written_out(text: str, plain: str) -> None:
    """No reader meets one; everything else stays the exchange's own text."""
    line = line_of(TRADE._replace(price=text, quantity=text), 0)
    assert trade_of("binance", "BTCUSDT", line) == TRADE._replace(price=plain, quantity=plain)


@pytest.mark.parametrize(
    "line", ["", "1 2 3", "a 1 2 3 true 4", "1 2 3 4 maybe 5", "1 2 3 4 true 5 6", "1 2 x 4 true 5", "1 2 3 1e5 true 6"]
)
def test_a_line_that_is_no_trade_is_told(line: str) -> None:
    """Nobody takes nonsense in Redis for a trade."""
    with pytest.raises(ValueError):  # noqa: PT011  # of several kinds, and no message is promised
        trade_of("binance", "BTCUSDT", line)


def test_a_price_is_read_from_the_fields_of_its_hash() -> None:
    """All of them, or none: a hash that is not there gives nothing but None."""
    values = ["42150.50", "0.05234000", "1762702223123", "12345678", "false", "1762702223130"]
    assert price_of("binance", "BTCUSDT", values) == Price(
        "binance", "BTCUSDT", "42150.50", "0.05234000", 1_762_702_223_123, 12345678, False, 1_762_702_223_130
    )
    assert price_of("binance", "BTCUSDT", [None] * 6) is None
    with pytest.raises(ValueError, match="neither true nor false"):
        price_of("binance", "BTCUSDT", [*values[:4], None, values[5]])
    with pytest.raises(ValueError, match="'' is no decimal"):
        price_of("binance", "BTCUSDT", [values[0], None, *values[2:]])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://me:secret@host:6380/1?ssl_cert_reqs=none", "rediss://host:6380/1"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    """Messages and tables bear the address alone."""
    assert address_of(url) == shown
