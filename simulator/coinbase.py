"""Coinbase Exchange's WebSocket feed (docs.cdp.coinbase.com/exchange): frames and subscriptions.

Pure: text in, text out. `side` is the maker's; `sequence` counts all events of the order book, so those of two trades
are never neighbours; `time` is printed with a varying number of digits.
"""

from __future__ import annotations

import json
from typing import Any

from simulator.clock import iso
from simulator.markets import COINBASE, MARKETS, Market, plain
from simulator.push import Wanted
from simulator.release import Ticker, Told

CHANNELS = ("matches", "heartbeat")
"""The channels served. The exchange has more; here they are invalid."""
_MARKETS = {market.symbol: market for market in MARKETS if market.venue == COINBASE}

Subscriptions = dict[str, dict[str, None]]
"""Channel → products, in the order in which they came."""


class Session:
    """What one client has asked for, and the answers to its messages."""

    def __init__(self) -> None:
        self.subscriptions: Subscriptions = {}

    @property
    def wanted(self) -> Wanted:
        """The channels as formats."""
        return Wanted(
            {_MARKETS[product]: match_frames for product in self.subscriptions.get("matches", ())},
            {_MARKETS[product]: heartbeat_frames for product in self.subscriptions.get("heartbeat", ())},
        )

    def answer(self, text: str) -> tuple[str, list[Market]]:
        """The reply to a message, which takes effect at once, and the markets whose last match follows the reply.

        A message with one mistake in it changes nothing at all.
        """
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return _error("Malformed JSON", None), []
        kind = message.get("type") if isinstance(message, dict) else None
        if kind not in ("subscribe", "unsubscribe"):
            return _error("Failed to subscribe", "Type has to be either subscribe or unsubscribe"), []
        named, reason = _named(message)
        if reason:
            return _error(f"Failed to {kind}", reason), []
        if kind == "unsubscribe":
            self._drop(named)
            return self._reply(), []
        known = set(self.subscriptions.get("matches", ()))
        for channel, products in named.items():
            self.subscriptions.setdefault(channel, {}).update(products)
        return self._reply(), [_MARKETS[name] for name in named.get("matches", ()) if name not in known]

    def _drop(self, named: Subscriptions) -> None:
        for channel, products in named.items():
            left = self.subscriptions.get(channel, {})
            self.subscriptions[channel] = {product: None for product in left if products and product not in products}
        self.subscriptions = {channel: products for channel, products in self.subscriptions.items() if products}

    def _reply(self) -> str:
        channels = [{"name": name, "product_ids": list(products)} for name, products in self.subscriptions.items()]
        return _compact({"type": "subscriptions", "channels": channels})


def _named(message: dict[str, Any]) -> tuple[Subscriptions, str | None]:
    """The products that a message names for each channel, or what is wrong with it."""
    common, channels = message.get("product_ids", []), message.get("channels")
    if not isinstance(channels, list) or not channels:
        return {}, "No channels provided"
    named: Subscriptions = {}
    for entry in channels:
        channel = entry if isinstance(entry, dict) else {"name": entry}
        name, products = channel.get("name"), channel.get("product_ids", common)
        if name not in CHANNELS:
            return {}, f"{name} is not a valid channel"
        if not isinstance(products, list):
            return {}, "product_ids must be an array"
        for product in products:
            if not isinstance(product, str) or product not in _MARKETS:
                return {}, f"{product} is not a valid product"
        if not products and message["type"] == "subscribe":
            return {}, "No products provided"
        named.setdefault(name, {}).update(dict.fromkeys(products))
    return named, None


def match_frames(market: Market, told: Told, kind: str = "match") -> list[str]:
    """Trades, one frame each."""
    return [
        f'{{"type":"{kind}","trade_id":{number},"maker_order_id":"{_order_id(number, 1)}"'
        f',"taker_order_id":"{_order_id(number, 2)}","side":"{side(buyer_maker)}"'
        f',"size":"{plain(quantity, market.quantity_decimals)}","price":"{plain(price, market.price_decimals)}"'
        f',"product_id":"{market.symbol}","sequence":{_sequence(number)},"time":"{trade_time(number, time_us)}"}}'
        for number, time_us, price, quantity, buyer_maker in told.trades.rows()
    ]


def last_match(ticker: Ticker, until_us: int) -> list[str]:
    """The last trade told by then, which may be long ago."""
    trades = ticker.last_told(until_us)
    return match_frames(ticker.tape.market, Told(trades, trades.times_us), "last_match")


def heartbeat_frames(ticker: Ticker, _seconds: range, until_us: int) -> list[tuple[int, str]]:
    """The product's state at a time: the id of the last trade told, behind all trades told by then."""
    last = ticker.last_told(until_us).ids.tolist()
    if not last:
        return []
    number = last[0]
    frame = (
        f'{{"type":"heartbeat","last_trade_id":{number},"product_id":"{ticker.tape.market.symbol}"'
        f',"sequence":{_sequence(number) + 2},"time":"{iso(until_us)}"}}'
    )
    return [(until_us, frame)]


def side(buyer_maker: bool) -> str:
    """The maker's side."""
    return "buy" if buyer_maker else "sell"


def trade_time(number: int, time_us: int) -> str:
    """A trade's time: every other one without the zeros at its end."""
    return iso(time_us, short=number % 2 == 1)


def _sequence(number: int) -> int:
    return 8 * number + number * 2_654_435_761 % 4


def _order_id(number: int, party: int) -> str:
    bits = (number * 2 + party) * 0x9E3779B97F4A7C15F39CC0605CEDC835 & (1 << 128) - 1
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _error(message: str, reason: str | None) -> str:
    error = {"type": "error", "message": message}
    return _compact(error if reason is None else error | {"reason": reason})


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
