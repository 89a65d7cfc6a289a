"""The events of Binance's WebSocket streams, as JSON text. Pure.

(binance-spot-api-docs, "WebSocket Streams for Binance".) Times are in units of `unit_us` µs; `event_ms` is our clock.
"""

from __future__ import annotations

import json

from market.bar import Bar
from market.trade import Trade
from serve.binance.shapes import ZERO, Day, change_of, close_time, fixed, times


def combined(name: str, payload: str) -> str:
    """An event as combined streams have it."""
    return f'{{"stream":"{name}","data":{payload}}}'


def trade_event(trade: Trade, event_ms: int, unit_us: int) -> str:
    """One trade."""
    return (
        f'{{"e":"trade","E":{times(event_ms, unit_us)},"s":"{trade.symbol}","t":{trade.trade_id},'
        f'"p":"{fixed(trade.price)}","q":"{fixed(trade.quantity)}","T":{times(trade.timestamp, unit_us)},'
        f'"m":{"true" if trade.is_buyer_maker else "false"},"M":true}}'
    )


def kline_event(bar: Bar, interval: str, width_ms: int, event_ms: int, unit_us: int, *, closed: bool) -> str:
    """A kline; `closed`: it is the table's, and final."""
    return (
        f'{{"e":"kline","E":{times(event_ms, unit_us)},"s":"{bar.symbol}","k":{{"t":{times(bar.timestamp, unit_us)},'
        f'"T":{close_time(bar, width_ms, unit_us)},"s":"{bar.symbol}","i":"{interval}","f":{bar.first_trade_id},'
        f'"L":{bar.last_trade_id},"o":"{fixed(bar.open)}","c":"{fixed(bar.close)}","h":"{fixed(bar.high)}",'
        f'"l":"{fixed(bar.low)}","v":"{fixed(bar.volume)}","n":{bar.trade_count},"x":{"true" if closed else "false"},'
        f'"q":"{fixed(bar.quote_volume)}","V":"{fixed(bar.taker_buy_volume)}",'
        f'"Q":"{fixed(bar.taker_buy_quote_volume)}","B":"0"}}}}'
    )


def mini_ticker_event(day: Day, event_ms: int, unit_us: int) -> str:
    """24 hours in short."""
    bar = day.traded
    return _compact(
        {
            "e": "24hrMiniTicker",
            "E": times(event_ms, unit_us),
            "s": day.symbol,
            "c": ZERO if day.last_price is None else fixed(day.last_price),
            "o": fixed(bar.open) if bar else ZERO,
            "h": fixed(bar.high) if bar else ZERO,
            "l": fixed(bar.low) if bar else ZERO,
            "v": fixed(bar.volume) if bar else ZERO,
            "q": fixed(bar.quote_volume) if bar else ZERO,
        }
    )


def ticker_event(day: Day, event_ms: int, unit_us: int) -> str:
    """24 hours at length. Trades tell nothing of the order book: its fields are those of an empty one."""
    bar, change = day.traded, change_of(day)
    return _compact(
        {
            "e": "24hrTicker",
            "E": times(event_ms, unit_us),
            "s": day.symbol,
            "p": fixed(change.price),
            "P": change.percent(3),
            "w": fixed(bar.vwap) if bar else ZERO,
            "x": ZERO if day.before is None else fixed(day.before),
            "c": ZERO if day.last_price is None else fixed(day.last_price),
            "Q": ZERO if day.last_quantity is None else fixed(day.last_quantity),
            **dict.fromkeys(("b", "B", "a", "A"), ZERO),
            "o": fixed(bar.open) if bar else ZERO,
            "h": fixed(bar.high) if bar else ZERO,
            "l": fixed(bar.low) if bar else ZERO,
            "v": fixed(bar.volume) if bar else ZERO,
            "q": fixed(bar.quote_volume) if bar else ZERO,
            "O": times(day.open_ms, unit_us),
            "C": times(day.close_ms, unit_us),
            "F": bar.first_trade_id if bar else -1,
            "L": bar.last_trade_id if bar else -1,
            "n": bar.trade_count if bar else 0,
        }
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
