"""Binance's WebSocket streams: their names, and what a client asks for. Pure: text in, text out.

(binance-spot-api-docs, "WebSocket Streams for Binance".) Unknown streams are taken without a word and stay silent, as
the exchange has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from market.widths import HOUR_MS, WIDTHS

MAX_STREAMS = 1_024
MAX_LENGTH = 100_000
"""Characters of all the names that one client may have asked for: no list of streams that exist is longer."""
TRADE, KLINE, MINI_TICKER, TICKER, ALL_MINI_TICKERS = "trade", "kline", "miniTicker", "ticker", "!miniTicker@arr"

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_is_id = re.compile("[A-Za-z0-9_-]{1,36}").fullmatch
_parts = re.compile(r"([a-z0-9]{2,20})@(trade|miniTicker|ticker|kline_([0-9]{1,2}[smhd])(@\+08:00)?)").fullmatch


class Stream(NamedTuple):
    """What a stream's name asks for."""

    kind: str
    symbol: str = ""
    interval: str = ""
    phase_ms: int = 0
    """Intervals begin at multiples of the width plus this."""

    @property
    def width_ms(self) -> int:
        """Of a kline."""
        return WIDTHS[self.interval]


def read_stream(name: str) -> Stream | None:
    """The stream of a name; None where there is none of that name here."""
    if name == ALL_MINI_TICKERS:
        return Stream(ALL_MINI_TICKERS)
    match = _parts(name)
    if not match:
        return None
    symbol, kind, interval, shifted = match[1].upper(), match[2], match[3], match[4]
    if not interval:
        return Stream(kind, symbol)
    if interval not in WIDTHS:
        return None
    return Stream(KLINE, symbol, interval, -8 * HOUR_MS % WIDTHS[interval] if shifted else 0)


class Session:
    """What one client has asked for, and the answers to its control messages."""

    def __init__(self, names: Iterable[str], *, combined: bool) -> None:
        """As the connection's address says: the streams it names, and its form."""
        self.names = dict.fromkeys(names)
        self.combined = combined

    def answer(self, text: str) -> str:
        """The reply to a control message, which takes effect at once."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError) as problem:
            where = problem if isinstance(problem, json.JSONDecodeError) else None
            line, column = (where.lineno, where.colno) if where else (1, 1)
            return _error(3, f"Invalid JSON: expected value at line {line} column {column}")
        end = f"at line 1 column {len(text)}"
        if not isinstance(message, dict):
            return _error(2, f"Invalid request: invalid type, expected an object {end}")
        if not _may_be_id(message.get("id")):
            return _error(2, "Invalid request: request ID must be an unsigned integer")
        if "method" not in message:
            return _error(2, f"Invalid request: missing field `method` {end}", message)
        method, params = message["method"], message.get("params", [])
        if method not in _METHODS:
            allowed = ", ".join(f"`{name}`" for name in _METHODS)
            return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {allowed} {end}", message)
        if method == "LIST_SUBSCRIPTIONS":
            return _result(list(self.names), message)
        if not isinstance(params, list):
            return _error(2, f"Invalid request: invalid type, expected a sequence {end}", message)
        if method.endswith("PROPERTY"):
            return self._property(method, params, message)
        if not all(isinstance(name, str) for name in params):
            return _error(2, "Invalid request: property name must be a string", message)
        return self._subscribe(method, params, message)

    def _subscribe(self, method: str, params: list[str], message: dict[str, Any]) -> str:
        if method == "UNSUBSCRIBE":
            for name in params:
                self.names.pop(name, None)
        else:
            names = self.names | dict.fromkeys(params)
            if not is_allowed(names):
                return _error(4, "Too many subscriptions", message)
            self.names = names
        return _result(None, message)

    def _property(self, method: str, params: list[Any], message: dict[str, Any]) -> str:
        expected = 2 if method == "SET_PROPERTY" else 1
        if len(params) > expected:
            return _error(2, "Invalid request: too many parameters", message)
        if not params or not isinstance(params[0], str):
            return _error(2, "Invalid request: property name must be a string", message)
        if params[0] != "combined":
            return _error(0, "Unknown property", message)
        if method == "GET_PROPERTY":
            return _result(self.combined, message)
        if len(params) < expected or not isinstance(params[1], bool):
            return _error(1, "Invalid value type: expected Boolean", message)
        self.combined = params[1]
        return _result(None, message)


def is_allowed(names: Collection[str]) -> bool:
    """Whether one client may have asked for so much."""
    return len(names) <= MAX_STREAMS and sum(map(len, names)) <= MAX_LENGTH


def _may_be_id(value: object) -> bool:
    """Signed 64-bit integer, up to 36 letters, digits, - and _, or null."""
    if isinstance(value, str):
        return _is_id(value) is not None
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63)


def _result(result: object, message: dict[str, Any]) -> str:
    return _compact({"result": result, "id": message.get("id")})


def _error(code: int, text: str, message: dict[str, Any] | None = None) -> str:
    reply: dict[str, Any] = {"error": {"code": code, "msg": text}}
    return _compact(reply | {"id": message["id"]} if message and "id" in message else reply)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
