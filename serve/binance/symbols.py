"""Which exchange answers for a symbol, and what the symbol trades against what. Pure.

The bare routes answer for the first source that lists a symbol; those of a venue for its exchange, or for the simulator
of it. What is answered for one symbol is of one exchange.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from market.trade import EXCHANGES

BARE = ""
VENUES: dict[str, tuple[str, ...]] = {
    BARE: EXCHANGES,
    "/binance": ("binance", "sim-binance"),
    "/coinbase": ("coinbase", "sim-coinbase"),
}
"""Where the routes of a venue begin, and its exchanges in the order in which they are asked. USD-M futures have the
symbols of spot and another protocol: the bare routes alone know them, after spot."""

_COINBASE_QUOTES = ("USDT", "USDC", "EURC", "USD", "EUR", "GBP", "BTC", "ETH", "DAI")
_BINANCE_QUOTES = (
    *("FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "USDE", "USD1", "EURI", "AEUR", "DOGE"),
    *("BTC", "ETH", "BNB", "TRX", "XRP", "SOL", "DAI", "EUR", "GBP", "TRY", "BRL", "JPY", "AUD", "ARS", "COP"),
    *("CZK", "IDR", "IDRT", "MXN", "PLN", "RON", "RUB", "UAH", "ZAR", "USD", "PAX", "VAI", "NGN", "BIDR", "BVND"),
)


def source_of(venue: str, having: Collection[str]) -> str | None:
    """The exchange that answers for a symbol, of those that have it."""
    return next((exchange for exchange in VENUES[venue] if exchange in having), None)


def sources_of(venue: str, listed: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Every symbol of a venue, in alphabetical order, with the exchange that answers; `listed`: who has which."""
    found = {symbol: source_of(venue, listed[symbol]) for symbol in sorted(listed)}
    return {symbol: exchange for symbol, exchange in found.items() if exchange}


def with_others(listed: Mapping[str, Sequence[str]], seen: Iterable[tuple[str, str]]) -> dict[str, Sequence[str]]:
    """A listing with further (exchange, symbol) in it, such as of those that have a price and no bar yet."""
    both = {symbol: list(exchanges) for symbol, exchanges in listed.items()}
    for exchange, symbol in seen:
        having = both.setdefault(symbol, [])
        if exchange not in having:
            having.append(exchange)
    return dict(both.items())


def assets_of(exchange: str, symbol: str) -> tuple[str, str]:
    """What is traded, and against what. A symbol does not tell where it is parted: the longest known quote counts."""
    quotes = _COINBASE_QUOTES if exchange.endswith("coinbase") else _BINANCE_QUOTES
    for quote in sorted(quotes, key=len, reverse=True):
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    length = min(3, len(symbol) - 1)
    return symbol[:-length], symbol[-length:]
