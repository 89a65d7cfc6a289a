"""The exchanges: a venue is a mapper file, which ends with its protocol, and a line here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from market.trade import SYMBOL
from producer.exchanges import advanced, binance, coinbase
from producer.exchanges.outcome import Mapper, Message, Outcome
from producer.exchanges.protocol import Clock, Patience, Protocol

__all__ = [
    "ADVANCED",
    "BINANCE",
    "COINBASE",
    "Clock",
    "Patience",
    "Protocol",
    "Venue",
    "chosen",
    "listed",
    "mapper_of",
    "symbol_of",
    "venues_of",
]


@dataclass(frozen=True, kw_only=True)
class Venue:
    """An exchange at an address, and the name its trades bear."""

    source: str
    exchange: str
    protocol: Protocol
    stream_base: str
    rest_base: str


BINANCE, COINBASE, ADVANCED = binance.PROTOCOL, coinbase.PROTOCOL, advanced.PROTOCOL

_REAL = {
    "binance": ("binance", BINANCE, "wss://stream.binance.com:9443", "https://api.binance.com"),
    "coinbase": ("coinbase", COINBASE, "wss://ws-feed.exchange.coinbase.com", "https://api.exchange.coinbase.com"),
    # The same trades by another gateway: they bear the same name, and either source makes up for the other.
    "coinbase-advanced": (
        "coinbase",
        ADVANCED,
        "wss://advanced-trade-ws.coinbase.com",
        "https://api.exchange.coinbase.com",
    ),
}
"""Each source's exchange, protocol, and the bases of its stream and its REST interface."""


def venues_of(source: str, *, simulator: str) -> tuple[Venue, ...]:
    """The venues of one source; `simulator` is where the simulated ones listen, as host:port."""
    if source != "simulator":
        return (_venue(source, *_REAL[source]),)
    simulated = f"ws://{simulator}", f"http://{simulator}"
    return (
        _venue(source, "sim-binance", BINANCE, *simulated),
        _venue(source, "sim-coinbase", COINBASE, *simulated),
    )


def mapper_of(exchange: str) -> Mapper:
    """The mapper of an exchange's recorded frames, whichever of its feeds they are from."""
    return _coinbase_frame if exchange.endswith("coinbase") else BINANCE.outcome_of


def symbol_of(name: str) -> str:
    """A product as our symbol: `BTC-USD`, `BTCUSD` and `btcusd` are one. Empty when it is none."""
    symbol = re.sub("[-/_ ]", "", name).upper()
    return symbol if re.fullmatch(SYMBOL, symbol) else ""


def listed(products: Iterable[str], alias_of: Callable[[str], str | None] = lambda product: None) -> dict[str, str]:
    """An exchange's products by symbol, and by their aliases' symbols where no product has that one.

    Of two that read the same, the first stands: one symbol is one market.
    """
    by_symbol: dict[str, str] = {}
    aliases: dict[str, str] = {}
    for product in products:
        if symbol := symbol_of(product):
            by_symbol.setdefault(symbol, product)
        if symbol := symbol_of(alias_of(product) or ""):
            aliases.setdefault(symbol, product)
    return aliases | by_symbol


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
            if symbol_of(product) != symbol:
                complaints.append(f"{entry}: {source} streams it as {product}; its trades bear {symbol_of(product)}")
        if not sources:
            complaints.append(f"{entry}: {named} is not among the sources ({', '.join(listings)}); skipped")
        elif not takers:
            complaints.append(f"{entry}: not traded at {' or '.join(sources)}; skipped")
    return products, complaints


def _coinbase_frame(message: Message, exchange: str, latest_ms: int) -> Outcome:
    protocol = ADVANCED if advanced.market_of(message) else COINBASE
    return protocol.outcome_of(message, exchange, latest_ms)


def _venue(source: str, exchange: str, protocol: Protocol, stream_base: str, rest_base: str) -> Venue:
    return Venue(source=source, exchange=exchange, protocol=protocol, stream_base=stream_base, rest_base=rest_base)
