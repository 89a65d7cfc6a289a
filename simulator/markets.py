"""Which markets are simulated: what is traded, how fine, around which price, and how busily."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

BINANCE, COINBASE = "binance", "coinbase"

DECIMALS = 8
"""Binance prints every price and quantity with this many decimals."""


Whole = TypeVar("Whole", int, npt.NDArray[np.int64])
"""One whole number, or a column of them."""


class Market(NamedTuple):
    """One market. A price is counted in ticks, a quantity in lots: whole numbers, so that every sum is exact."""

    venue: str
    symbol: str
    """As the venue writes it: BTCUSDT, BTC-USD."""
    base: str
    quote: str
    price_decimals: int
    """A tick is 10^-price_decimals of the quote currency."""
    quantity_decimals: int
    """A lot is 10^-quantity_decimals of the base currency."""
    price: int
    """Around which the price swings, in ticks."""
    quantity: int
    """Of a middling trade, in lots."""
    weight: float
    """Share of the trades of all markets together, relative to the other weights."""
    swing: int
    """How far the price swings, in thousandths of an ordinary market's."""

    def value(self, price: Whole, quantity: Whole) -> Whole:
        """Price times quantity in units of 10^-8, cut, not rounded: so Binance prints `quoteQty`."""
        surplus = self.price_decimals + self.quantity_decimals - DECIMALS
        multiplier, divisor = int(10 ** max(-surplus, 0)), int(10 ** max(surplus, 0))
        return price * quantity * multiplier // divisor


def fixed(number: int, decimals: int = DECIMALS) -> str:
    """`number` units of 10^-decimals as Binance prints them, with 8 decimals."""
    whole, part = divmod(number * 10 ** (DECIMALS - decimals), 10**DECIMALS)
    return f"{whole}.{part:08d}"


def plain(number: int, decimals: int) -> str:
    """`number` units of 10^-decimals as Coinbase prints them, without zeros at the end."""
    return fixed(number, decimals).rstrip("0").rstrip(".")


# base quote price price_decimals quantity quantity_decimals weight swing
_BINANCE = """
BTC   USDT 42150.50   2 0.01     5 140   1000
ETH   USDT 2250.30    2 0.15     4 95    1200
SOL   USDT 98.40      2 2        3 60    1700
BNB   USDT 310.2      1 0.5      3 40    1000
XRP   USDT 0.6150     4 150      0 38    1300
DOGE  USDT 0.09120    5 900      0 30    1600
ADA   USDT 0.5840     4 200      1 22    1300
AVAX  USDT 38.55      2 3        2 18    1500
LINK  USDT 15.12      2 8        2 15    1300
POL   USDT 0.8400     4 150      1 12    1300
DOT   USDT 8.150      3 14       2 11    1200
LTC   USDT 72.80      2 1.2      3 10    1000
TRX   USDT 0.1048     4 800      1 9     700
SHIB  USDT 0.00001024 8 9000000  0 9     1500
PEPE  USDT 0.00000132 8 60000000 0 8     1900
USDC  USDT 1.0001     4 300      0 8     10
ETH   BTC  0.05338    5 0.1      4 8     600
UNI   USDT 7.320      3 10       2 7     1300
ATOM  USDT 10.420     3 8        2 6     1200
NEAR  USDT 3.720      3 25       1 6     1500
ARB   USDT 1.9200     4 60       1 5     1500
OP    USDT 3.710      3 30       2 5     1500
BNB   BTC  0.007360   6 0.3      3 3     600
DASH  BTC  0.000752   6 0.8      3 0.02  700
QTUM  ETH  0.001480   6 12       1 0.01  700
ZIL   BTC  0.00000054 8 2500     0 0.003 700
"""
_COINBASE = """
BTC   USD  42148.12   2 0.008    8 60    1000
ETH   USD  2250.11    2 0.12     8 35    1200
SOL   USD  98.41      2 1.5      8 22    1700
XRP   USD  0.6151     4 120      6 14    1300
DOGE  USD  0.09121    5 700      1 10    1600
ADA   USD  0.5841     4 150      8 7     1300
USDT  USD  0.99980    5 400      2 6     10
LTC   USD  72.81      2 1        8 4     1000
LINK  USD  15.123     3 6        2 4     1300
BAND  GBP  14.7775    4 9        2 0.02  900
"""


def _markets(venue: str, separator: str, table: str) -> tuple[Market, ...]:
    markets = []
    for line in table.strip().splitlines():
        base, quote, price, price_decimals, quantity, quantity_decimals, weight, swing = line.split()
        markets.append(
            Market(
                venue,
                base + separator + quote,
                base,
                quote,
                int(price_decimals),
                int(quantity_decimals),
                round(float(price) * 10 ** int(price_decimals)),
                round(float(quantity) * 10 ** int(quantity_decimals)),
                float(weight),
                int(swing),
            )
        )
    return tuple(markets)


MARKETS = _markets(BINANCE, "", _BINANCE) + _markets(COINBASE, "-", _COINBASE)
BY_SYMBOL = {(market.venue, market.symbol): market for market in MARKETS}


def rates(trades_per_s: float) -> dict[Market, float]:
    """Mean trades per second of each market, when all of them together have `trades_per_s`."""
    total = sum(market.weight for market in MARKETS)
    return {market: trades_per_s * market.weight / total for market in MARKETS}
