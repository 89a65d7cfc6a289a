"""A request to Binance's REST interface, and its mistakes (binance-spot-api-docs, "REST API" and "Error codes")."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from simulator.markets import BINANCE, BY_SYMBOL, Market
from simulator.tape import SECOND_US, Tape

WIDTHS_US = {"1s": SECOND_US, "1m": 60 * SECOND_US}
"""The intervals served. Binance has more; here they are invalid."""

_SYMBOL = "^[A-Z0-9-_.]{1,20}$"
_SYMBOLS = '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'
_INTEGER = "^[0-9]{1,20}$"
_MAX_ROWS, _DEFAULT_ROWS = 1000, 500
_MICROSECONDS = 10**14
"""A time from here on is in microseconds: in milliseconds it would be in the year 5138."""


class BinanceError(Exception):
    """A request that Binance answers with status 400, its code and its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.body = {"code": code, "msg": message}


@dataclass(frozen=True)
class Query:
    """A request: its parameters, the markets, and the exchange's time at its arrival."""

    params: Mapping[str, str]
    tapes: Mapping[Market, Tape]
    now_us: int
    unit_us: int = 1000
    """Of the times in the answer, in microseconds."""

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse parameters that come twice, and those that are not among the names of the route's."""
        sent = [name for name, _ in self.params.items()]  # an aiohttp query names here alone what came twice
        known = [name for name in sent if name in names]
        if len(set(sent)) < len(sent):
            raise BinanceError(-1101, "Duplicate values for a parameter detected.")
        if len(sent) > len(names):
            raise BinanceError(-1101, f"Too many parameters; expected '{len(names)}' and received '{len(sent)}'.")
        if len(known) < len(sent):
            text = f"Not all sent parameters were read; read '{len(known)}' parameter(s) but was sent '{len(sent)}'."
            raise BinanceError(-1104, text)

    def market(self) -> Market:
        """The market that `symbol` names."""
        return _listed(self._mandatory("symbol"))

    def markets(self) -> list[Market]:
        """The markets that `symbol` or `symbols` (a JSON array) names, without either all."""
        if "symbol" in self.params and "symbols" in self.params:
            raise BinanceError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in self.params:
            return [self.market()]
        if "symbols" in self.params:
            return [_listed(symbol) for symbol in _symbols(self.params["symbols"])]
        return [market for market in self.tapes if market.venue == BINANCE]

    def width_us(self) -> int:
        """The width that `interval` names."""
        width_us = WIDTHS_US.get(self._mandatory("interval"))
        if width_us is None:
            raise BinanceError(-1120, "Invalid interval.")
        return width_us

    def integer(self, name: str) -> int | None:
        """A parameter that is a whole number, None where it was not sent."""
        text = self.params.get(name)
        if text is None:
            return None
        if not text:
            raise BinanceError(-1105, f"Parameter '{name}' was empty.")
        if not re.fullmatch(_INTEGER, text):
            raise BinanceError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{_INTEGER}'.")
        return int(text)

    def limit(self) -> int:
        """How many rows are asked for; more than 1000 are never given."""
        limit = self.integer("limit")
        if limit == 0:
            raise BinanceError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(limit or _DEFAULT_ROWS, _MAX_ROWS)

    def time_us(self, name: str) -> int | None:
        """A time, sent in milliseconds or, as one can tell, in microseconds: its beginning."""
        time = self.integer(name)
        return time * 1000 if time is not None and time < _MICROSECONDS else time

    def after_us(self, name: str) -> int | None:
        """A time to be included: what follows the millisecond, or the microsecond, that was sent."""
        time = self.integer(name)
        if time is None:
            return None
        return (time + 1) * 1000 if time < _MICROSECONDS else time + 1

    def _mandatory(self, name: str) -> str:
        text = self.params.get(name)
        if not text:
            raise BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")
        return text


def _listed(symbol: str) -> Market:
    """The market of a symbol."""
    if not re.fullmatch(_SYMBOL, symbol):
        raise BinanceError(-1100, f"Illegal characters found in parameter 'symbol'; legal range is '{_SYMBOL}'.")
    market = BY_SYMBOL.get((BINANCE, symbol))
    if market is None:
        raise BinanceError(-1121, "Invalid symbol.")
    return market


def _symbols(text: str) -> list[str]:
    try:
        symbols = json.loads(text)
    except (ValueError, RecursionError):
        symbols = None
    if not isinstance(symbols, list) or not symbols or not all(isinstance(symbol, str) for symbol in symbols):
        raise BinanceError(-1100, f"Illegal characters found in parameter 'symbols'; legal range is '{_SYMBOLS}'.")
    return symbols
