"""The exchanges: a venue is a mapper file and a line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from market.trade import SYMBOL
from producer.exchanges import binance, coinbase
from producer.exchanges.outcome import Mapper
from producer.feeds.feed import Patience


class Clock(NamedTuple):
    """A path that answers with the exchange's time, and the reader of the answer, in ms."""

    path: str
    time_ms_of: Callable[[Any], int]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How an exchange is spoken to. Paths follow the bases of a `Venue`."""

    outcome_of: Mapper
    stream_path: str
    listing_path: str
    products_of: Callable[[Any], Iterable[str]]
    """The products in the listing's answer. Raises LookupError or TypeError where it is none."""
    subscriptions: Callable[[Sequence[str]], list[str]]
    products_per_connection: int
    greeting_interval_s: float
    """Seconds between two messages to the exchange."""
    patience: Patience
    clock: Clock | None = None
    """Where the exchange tells its time; None where its frames do."""


@dataclass(frozen=True, kw_only=True)
class Venue:
    """An exchange at an address, and the name its trades bear."""

    source: str
    exchange: str
    protocol: Protocol
    stream_base: str
    rest_base: str


BINANCE = Protocol(
    outcome_of=binance.outcome_of,
    stream_path="/stream",
    listing_path="/api/v3/exchangeInfo",
    products_of=binance.products_of,
    subscriptions=binance.subscriptions,
    products_per_connection=binance.STREAMS_PER_CONNECTION,
    greeting_interval_s=binance.CONTROL_INTERVAL_S,
    patience=Patience(silence_s=120),  # a market may rest; a dead connection fails to answer pings sooner
    clock=Clock("/api/v3/time", binance.clock_of),
)
COINBASE = Protocol(
    outcome_of=coinbase.outcome_of,
    stream_path="/",
    listing_path="/products",
    products_of=coinbase.products_of,
    subscriptions=coinbase.subscriptions,
    products_per_connection=coinbase.PRODUCTS_PER_CONNECTION,
    greeting_interval_s=1.0,
    patience=Patience(silence_s=10),  # every product sends a heartbeat each second
)


def venues_of(source: str, *, simulator: str) -> tuple[Venue, ...]:
    """The venues of one source; `simulator` is where the simulated ones listen, as host:port."""
    if source == "binance":
        return (_venue(source, "binance", BINANCE, "wss://stream.binance.com:9443", "https://api.binance.com"),)
    if source == "coinbase":
        exchange = "wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"
        return (_venue(source, "coinbase", COINBASE, *exchange),)
    simulated = f"ws://{simulator}", f"http://{simulator}"
    return (
        _venue(source, "sim-binance", BINANCE, *simulated),
        _venue(source, "sim-coinbase", COINBASE, *simulated),
    )


def protocol_of(exchange: str) -> Protocol:
    """The protocol that the frames of an exchange are written in."""
    return COINBASE if exchange.endswith("coinbase") else BINANCE


def symbol_of(name: str) -> str:
    """A product as our symbol: `BTC-USD`, `BTCUSD` and `btcusd` are one. Empty when it is none."""
    symbol = re.sub("[-/_ ]", "", name).upper()
    return symbol if re.fullmatch(SYMBOL, symbol) else ""


def listed(products: Iterable[str]) -> dict[str, str]:
    """An exchange's products by symbol. Of two that read the same, the first stands: one symbol is one market."""
    by_symbol: dict[str, str] = {}
    for product in products:
        if symbol := symbol_of(product):
            by_symbol.setdefault(symbol, product)
    return by_symbol


def chosen(wanted: Sequence[str], listings: Mapping[str, Mapping[str, str]]) -> tuple[dict[str, list[str]], list[str]]:
    """The products to take from each source, and what is to be said of the entries that name none.

    A bare entry is taken from every source that lists it, `binance:BTCUSDT` from that one.
    """
    products: dict[str, list[str]] = {source: [] for source in listings}
    complaints = []
    for entry in wanted:
        named, _, name = entry.rpartition(":")
        sources = [source for source in listings if not named or source == named.lower()]
        symbol = symbol_of(name)
        takers = [source for source in sources if symbol in listings[source]]
        for source in takers:
            product = listings[source][symbol]
            if product not in products[source]:
                products[source].append(product)
        if not sources:
            complaints.append(f"{entry}: {named} is not among the sources ({', '.join(listings)}); skipped")
        elif not takers:
            complaints.append(f"{entry}: not traded at {' or '.join(sources)}; skipped")
    return products, complaints


def _venue(source: str, exchange: str, protocol: Protocol, stream_base: str, rest_base: str) -> Venue:
    return Venue(source=source, exchange=exchange, protocol=protocol, stream_base=stream_base, rest_base=rest_base)
