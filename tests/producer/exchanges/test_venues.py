"""Which endpoints a source means, and which products the symbols mean."""

from __future__ import annotations

import pytest

from producer.exchanges.venues import BINANCE, chosen, listed, mapper_of, symbol_of, venues_of


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


@pytest.mark.parametrize("entry", ["BTC-USDT", "BTCUSDT", "btcusdt", "binance:btc-usdt", "Binance:BTC/USDT"])
def test_an_entry_is_understood_however_it_is_written(entry: str) -> None:
    """A symbol in any spelling, with its source or without, is the product that the exchange lists."""
    assert chosen([entry], LISTINGS) == ({"binance": ["BTCUSDT"], "coinbase": []}, [])


def test_two_sources_of_one_exchange_both_take_the_symbol() -> None:
    """Redundancy: Coinbase Exchange and Advanced are read side by side, or one of them alone for an entry naming it."""
    both = {"coinbase": listed(["BTC-USD", "ETH-USD"]), "coinbase-advanced": listed(["BTC-USD", "ETH-USD"])}
    assert chosen(["BTCUSD", "coinbase-advanced:eth-usd"], both) == (
        {"coinbase": ["BTC-USD"], "coinbase-advanced": ["BTC-USD", "ETH-USD"]},
        [],
    )


def test_a_product_asked_for_by_its_alias_is_taken_under_its_own_name_and_that_is_said() -> None:
    """`BTC-USDC` of Coinbase Advanced is streamed as BTC-USD: taken once, and nobody waits for bars of BTCUSDC."""
    protocol = venues_of("coinbase-advanced", simulator="")[0].protocol
    listing = [{"id": name} for name in ("BTC-USD", "BTC-USDC", "USDT-USD", "USDT-USDC")]
    found = listed(protocol.products_of(listing), protocol.alias_of)
    assert chosen(["BTC-USDC", "BTC-USD", "USDT-USDC"], {"coinbase-advanced": found}) == (
        {"coinbase-advanced": ["BTC-USD", "USDT-USDC"]},
        ["BTC-USDC: coinbase-advanced streams it as BTC-USD; its trades bear BTCUSD"],
    )


def test_a_product_stands_before_anothers_alias() -> None:
    """Where an exchange lists a product of that name itself, the name means that one."""
    assert listed(["A-USD", "A-USDC"], lambda product: f"{product}C") == {
        "AUSD": "A-USD",
        "AUSDC": "A-USDC",
        "AUSDCC": "A-USDC",
    }


def test_of_two_products_that_read_the_same_only_one_is_taken() -> None:
    """A symbol is one market: two of them never mix under one name."""
    assert listed(["AB-CUSD", "ABC-USD"]) == {"ABCUSD": "AB-CUSD"}


def test_real_sources_have_the_exchanges_endpoints() -> None:
    """The documented public endpoints, under the names that the records bear."""
    found = [
        (v.exchange, v.stream_base, v.rest_base)
        for s in ("binance", "coinbase", "coinbase-advanced")
        for v in venues_of(s, simulator="127.0.0.1:1")
    ]
    assert found == [
        ("binance", "wss://stream.binance.com:9443", "https://api.binance.com"),
        ("coinbase", "wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"),
        ("coinbase", "wss://advanced-trade-ws.coinbase.com", "https://api.exchange.coinbase.com"),
    ]


def test_the_simulator_is_two_exchanges_at_one_address() -> None:
    """Simulated trades bear names of their own and come from the simulator's address alone."""
    found = [(v.exchange, v.stream_base, v.rest_base) for v in venues_of("simulator", simulator="sim:28080")]
    assert found == [
        ("sim-binance", "ws://sim:28080", "http://sim:28080"),
        ("sim-coinbase", "ws://sim:28080", "http://sim:28080"),
    ]


def test_only_binance_connections_have_an_end() -> None:
    """Binance cuts after 24 hours: another connection takes over half an hour before. Coinbase sets no end."""
    protocols = [venues_of(source, simulator="")[0].protocol for source in ("binance", "coinbase", "coinbase-advanced")]
    assert [protocol.life_s for protocol in protocols] == [84_600, None, None]


def test_recorded_frames_of_either_coinbase_feed_have_their_mapper() -> None:
    """A recording of Coinbase may be from either of its feeds: each frame shows from which."""
    mapper = mapper_of("coinbase")
    assert mapper({"channel": "heartbeats", "events": [], "sequence_num": 5}, "coinbase", 0).sequence == 5
    assert mapper({"type": "ticker"}, "coinbase", 0).passed_over == "ticker"
    assert mapper_of("binance-usdm") is BINANCE.outcome_of
