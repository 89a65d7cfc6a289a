"""What a request to Binance's market data asks for: each route's parameters, as values. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from market.widths import WIDTHS
from serve.binance import errors
from serve.binance.parameters import Parameters, Symbols

INTERVALS = WIDTHS
"""The intervals served, as Binance writes them, each with its width in ms. Its 3d, 1w and 1M are invalid here."""

BOOLEANS = ("true", "false", "True", "False")
"""Binance's own, and what Python's clients make of them."""

_is_permissions = re.compile(r'[A-Z0-9_]{1,30}|\["[A-Z0-9_]{1,30}"(,"[A-Z0-9_]{1,30}")*\]', re.ASCII).fullmatch


class KlinesQuery(NamedTuple):
    """`/klines` and `/uiKlines`."""

    symbol: str
    interval: str
    start_ms: int | None
    end_ms: int | None
    offset_ms: int
    limit: int

    @property
    def width_ms(self) -> int:
        """The width of the interval."""
        return INTERVALS[self.interval]

    @property
    def phase_ms(self) -> int:
        """Intervals begin at multiples of the width plus this."""
        return -self.offset_ms % self.width_ms


class TradesQuery(NamedTuple):
    """`/trades` and `/historicalTrades`."""

    symbol: str
    limit: int
    from_id: int | None = None


class TickerQuery(NamedTuple):
    """`/ticker/price` and `/ticker/24hr`."""

    symbols: Symbols
    trading: bool
    """Whether symbols are asked for that trade, as all do here."""
    mini: bool = False


class InfoQuery(NamedTuple):
    """`/exchangeInfo`."""

    symbols: Symbols
    listed: bool
    """Whether the status and the permissions asked for are those that all symbols have here."""
    permission_sets: bool


Sent = Sequence[tuple[str, str]]


def klines_query(sent: Sent) -> KlinesQuery:
    """Read a request for klines."""
    parameters = Parameters(sent, 6)
    symbol, interval = parameters.symbol(), parameters.mandatory("interval")
    start_ms, end_ms = parameters.start_ms(), parameters.end_ms()
    offset_ms, limit = parameters.offset_ms(), parameters.limit()
    parameters.finish()
    if interval not in INTERVALS:
        raise errors.invalid_interval()
    return KlinesQuery(symbol, interval, start_ms, end_ms, offset_ms, limit)


def trades_query(sent: Sent) -> TradesQuery:
    """Read a request for the newest trades."""
    parameters = Parameters(sent, 2)
    query = TradesQuery(parameters.symbol(), parameters.limit())
    parameters.finish()
    return query


def historical_trades_query(sent: Sent) -> TradesQuery:
    """Read a request for trades from an id on."""
    parameters = Parameters(sent, 3)
    query = TradesQuery(parameters.symbol(), parameters.limit(), parameters.integer("fromId"))
    parameters.finish()
    return query


def symbol_query(sent: Sent) -> str:
    """Read a request that takes a symbol and nothing else."""
    parameters = Parameters(sent, 1)
    symbol = parameters.symbol()
    parameters.finish()
    return symbol


def price_query(sent: Sent) -> TickerQuery:
    """Read a request for prices."""
    parameters = Parameters(sent, 3)
    query = TickerQuery(parameters.symbols(), parameters.status() == "TRADING")
    parameters.finish()
    return query


def day_query(sent: Sent) -> TickerQuery:
    """Read a request for the statistics of 24 hours."""
    parameters = Parameters(sent, 4)
    symbols, kind, status = parameters.symbols(), parameters.text("type"), parameters.status()
    parameters.finish()
    if kind not in (None, "FULL", "MINI"):
        raise errors.invalid_ticker_type()
    return TickerQuery(symbols, status == "TRADING", kind == "MINI")


def info_query(sent: Sent) -> InfoQuery:
    """Read a request for the symbols there are."""
    parameters = Parameters(sent, 5)
    symbols, permissions = parameters.symbols(), _permissions(parameters.text("permissions"))
    shown, status = parameters.text("showPermissionSets"), parameters.status()
    parameters.finish()
    if symbols.names is not None and (permissions is not None or parameters.has("symbolStatus")):
        raise errors.bad_combination()
    if shown is not None and shown not in BOOLEANS:
        raise errors.invalid_data("showPermissionSets")
    listed = status == "TRADING" and (permissions is None or "SPOT" in permissions)
    return InfoQuery(symbols, listed, permission_sets=shown is None or shown.lower() == "true")


def nothing_query(sent: Sent) -> None:
    """Read a request that takes no parameters."""
    Parameters(sent, 0).finish()


def unit_us(header: str | None) -> int:
    """The unit of the times in an answer, in microseconds, of the header X-MBX-TIME-UNIT."""
    if header in ("MICROSECOND", "microsecond"):
        return 1
    if header in (None, "MILLISECOND", "millisecond"):
        return 1_000
    raise errors.invalid_time_unit()


def _permissions(text: str | None) -> frozenset[str] | None:
    """`SPOT`, or a JSON array of such."""
    if text is None:
        return None
    if not _is_permissions(text):
        raise errors.invalid_data("permissions")
    return frozenset(json.loads(text) if text.startswith("[") else [text])
