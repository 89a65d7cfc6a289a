"""Binance's spot WebSocket protocol, as its documentation and recorded frames have it: frames and control messages.

Pure: text in, text out. (binance-spot-api-docs, "WebSocket Streams for Binance".)
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from simulator.klines import Kline, filled, klines_of, price_before
from simulator.markets import BINANCE, MARKETS, Market, fixed
from simulator.push import SecondFormat, TradeFormat, Wanted
from simulator.release import Ticker, Told
from simulator.tape import SECOND_US

MAX_STREAMS = 1024
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
_MARKETS = {market.symbol.lower(): market for market in MARKETS if market.venue == BINANCE}


class Session:
    """What one client has asked for, and the answers to its control messages."""

    def __init__(self, streams: list[str], *, combined: bool, microseconds: bool) -> None:
        """As the connection's address says: the streams it names, its form, and its `timeUnit`."""
        self.streams = dict.fromkeys(streams)
        self.combined = combined
        self._unit_us = 1 if microseconds else 1000

    @property
    def wanted(self) -> Wanted:
        """The streams that exist. All others are taken without a word, and stay silent: so does the exchange."""
        wanted = Wanted()
        for stream in self.streams:
            symbol, _, kind = stream.partition("@")
            market = _MARKETS.get(symbol)
            if market and kind == "trade":
                wanted.trades[market] = trade_format(self.combined, self._unit_us)
            elif market and kind == "kline_1s":
                wanted.seconds[market] = kline_format(self.combined, self._unit_us)
        return wanted

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
        number = message.get("id")
        if not _is_id(number):
            return _error(2, "Invalid request: request ID must be an unsigned integer")
        if "method" not in message:
            return _error(2, f"Invalid request: missing field `method` {end}", message)
        method, params = message["method"], message.get("params", [])
        if method not in _METHODS:
            allowed = ", ".join(f"`{name}`" for name in _METHODS)
            return _error(2, f"Invalid request: unknown variant `{method}`, expected one of {allowed} {end}", message)
        if method == "LIST_SUBSCRIPTIONS":
            return _result(list(self.streams), message)
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
                self.streams.pop(name, None)
        elif len(self.streams | dict.fromkeys(params)) > MAX_STREAMS:
            return _error(4, "Too many subscriptions", message)
        else:
            self.streams |= dict.fromkeys(params)
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


def _is_id(number: object) -> bool:
    """Signed 64-bit integer, up to 36 letters, digits, - and _, or null."""
    if isinstance(number, str):
        return len(number) <= 36 and number.replace("-", "").replace("_", "").isalnum()
    return number is None or (isinstance(number, int) and not isinstance(number, bool) and abs(number) < 2**63)


def _result(result: object, message: dict[str, Any]) -> str:
    return _compact({"result": result, "id": message.get("id")})


def _error(code: int, text: str, message: dict[str, Any] | None = None) -> str:
    reply: dict[str, Any] = {"error": {"code": code, "msg": text}}
    return _compact(reply | {"id": message["id"]} if message and "id" in message else reply)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


@lru_cache
def trade_format(combined: bool, unit_us: int) -> TradeFormat:
    """How trades are printed: raw or combined, times in units of `unit_us` microseconds."""

    def frames(market: Market, told: Told) -> list[str]:
        stream = f"{market.symbol.lower()}@trade"
        head, tail = _envelope(stream) if combined else ("", "")
        price_decimals, quantity_decimals = market.price_decimals, market.quantity_decimals
        return [
            f'{head}{{"e":"trade","E":{event_us // unit_us},"s":"{market.symbol}","t":{number}'
            f',"p":"{fixed(price, price_decimals)}","q":"{fixed(quantity, quantity_decimals)}"'
            f',"T":{time_us // unit_us},"m":{"true" if buyer_maker else "false"},"M":true}}{tail}'
            for event_us, (number, time_us, price, quantity, buyer_maker) in zip(
                told.events_us.tolist(), told.trades.rows(), strict=True
            )
        ]

    return frames


@lru_cache
def kline_format(combined: bool, unit_us: int) -> SecondFormat:
    """How the finished kline of each second is printed, 1 to 6 ms after its end. A quiet second has one too."""

    def frames(ticker: Ticker, seconds: range, _until_us: int) -> list[tuple[int, str]]:
        tape, market = ticker.tape, ticker.tape.market
        start_us, end_us = (seconds[0] - 1) * SECOND_US, seconds[-1] * SECOND_US
        klines = klines_of(market, tape.between(start_us, end_us), SECOND_US)
        rows = filled(klines, start_us, end_us, SECOND_US, price_before(tape, start_us))
        head, tail = _envelope(f"{market.symbol.lower()}@kline_1s") if combined else ("", "")
        events = [row.open_us + SECOND_US + 1000 * (1 + row.open_us // SECOND_US % 6) for row in rows]
        return [
            (event_us, head + _kline_frame(market, row, event_us, unit_us) + tail)
            for event_us, row in zip(events, rows, strict=True)
        ]

    return frames


def _kline_frame(market: Market, kline: Kline, event_us: int, unit_us: int) -> str:
    def price(ticks: int) -> str:
        return fixed(ticks, market.price_decimals)

    return _compact(
        {
            "e": "kline",
            "E": event_us // unit_us,
            "s": market.symbol,
            "k": {
                "t": kline.open_us // unit_us,
                "T": (kline.open_us + SECOND_US - 1) // unit_us,
                "s": market.symbol,
                "i": "1s",
                "f": kline.first_id,
                "L": kline.last_id,
                "o": price(kline.open),
                "c": price(kline.close),
                "h": price(kline.high),
                "l": price(kline.low),
                "v": fixed(kline.volume, market.quantity_decimals),
                "n": kline.trade_count,
                "x": True,
                "q": fixed(kline.quote_volume),
                "V": fixed(kline.taker_volume, market.quantity_decimals),
                "Q": fixed(kline.taker_quote_volume),
                "B": "0",
            },
        }
    )


def _envelope(stream: str) -> tuple[str, str]:
    return f'{{"stream":"{stream}","data":', "}"
