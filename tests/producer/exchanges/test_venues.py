"""Which endpoints a source means, and which products the symbols mean."""

from __future__ import annotations

import pytest

from producer.exchanges.venues import chosen, listed, symbol_of, venues_of


@pytest.mark.parametrize("name", ["BTC-USD", "BTCUSD", "btcusd", "btc-usd", "BTC/USD", "btc_usd"])
def test_every_spelling_of_a_symbol_is_understood(name: str) -> None:
    """Separators and case do not matter."""
    assert symbol_of(name) == "BTCUSD"


@pytest.mark.parametrize("name", ["", "-", "B", "币安人生USDT", "A" * 21])
def test_what_cannot_be_a_symbol_is_none(name: str) -> None:
    """Names outside A-Z and 0-9, or of another length, are no symbols."""
    assert symbol_of(name) == ""


LISTINGS = {
    "binance": listed(["BTCUSDT", "ETHUSDT", "BTCEUR"]),
    "coinbase": listed(["BTC-USD", "ETH-USD", "BTC-EUR"]),
}


def test_bare_symbols_go_to_every_source_that_lists_them() -> None:
    """A symbol that both list is taken from both, under each one's own name for it."""
    products, complaints = chosen(["btc-eur", "BTCUSDT"], LISTINGS)
    assert products == {"binance": ["BTCEUR", "BTCUSDT"], "coinbase": ["BTC-EUR"]}
    assert complaints == []


def test_a_named_source_takes_the_symbol_alone_and_once() -> None:
    """`binance:BTCEUR` is not read from Coinbase; said twice, it is read once."""
    products, complaints = chosen(["binance:BTCEUR", "binance:btc-eur"], LISTINGS)
    assert products == {"binance": ["BTCEUR"], "coinbase": []}
    assert complaints == []


def test_unknown_symbols_and_sources_are_reported_and_skipped() -> None:
    """What nobody lists takes nothing else down."""
    products, complaints = chosen(["XXX-USD", "kraken:BTC-USD", "coinbase:BTCUSDT", "ETH-USD", "?"], LISTINGS)
    assert products == {"binance": [], "coinbase": ["ETH-USD"]}
    assert complaints == [
        "XXX-USD: not traded at binance or coinbase; skipped",
        "kraken:BTC-USD: kraken is not among the sources (binance, coinbase); skipped",
        "coinbase:BTCUSDT: not traded at coinbase; skipped",
        "?: not traded at binance or coinbase; skipped",
    ]


def test_of_two_products_that_read_the_same_only_one_is_taken() -> None:
    """A symbol is one market: two of them never mix under one name."""
    assert listed(["AB-CUSD", "ABC-USD"]) == {"ABCUSD": "AB-CUSD"}


def test_real_sources_have_the_exchanges_endpoints() -> None:
    """The documented public endpoints, under the names that the records bear."""
    found = [
        (v.exchange, v.stream_base, v.rest_base)
        for s in ("binance", "coinbase")
        for v in venues_of(s, simulator="127.0.0.1:1")
    ]
    assert found == [
        ("binance", "wss://stream.binance.com:9443", "https://api.binance.com"),
        ("coinbase", "wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"),
    ]


def test_the_simulator_is_two_exchanges_at_one_address() -> None:
    """Simulated trades bear names of their own and come from the simulator's address alone."""
    found = [(v.exchange, v.stream_base, v.rest_base) for v in venues_of("simulator", simulator="sim:28080")]
    assert found == [
        ("sim-binance", "ws://sim:28080", "http://sim:28080"),
        ("sim-coinbase", "ws://sim:28080", "http://sim:28080"),
    ]
