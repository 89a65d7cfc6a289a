"""Coinbase Advanced Trade's WebSocket feed (docs.cdp.coinbase.com, "Advanced Trade WebSocket"): the same markets again.

Pure: text in, text out. One channel per message; trades gathered for up to 250 ms, the newest first; `side` is the
maker's, `trade_id` a string. All frames of a connection but its errors are numbered by `sequence_num`. As in recorded
sessions, what a subscription finds (a snapshot) comes before it is acknowledged.
"""

from __future__ import annotations

import json

from simulator.clock import iso
from simulator.markets import COINBASE, MARKETS, Market, plain
from simulator.push import Wanted
from simulator.release import Ticker, Told
from simulator.tape import EPOCH_S, SECOND_US

TRADES, BEATS = "market_trades", "heartbeats"
"""The channels served. The exchange has more; here they are refused."""
BATCH_US = 250_000
"""Trades are gathered for so long."""
SNAPSHOT_TRADES = 10
REFUSAL = '{"type":"error","message":"failure to subscribe"}'
"""It does not tell what was wrong, and nothing of the message is subscribed."""

_MARKETS = {market.symbol: market for market in MARKETS if market.venue == COINBASE}


class Session:
    """What one client has asked for, and the frames for it."""

    def __init__(self) -> None:
        self.subscriptions: dict[str, dict[str, None]] = {}
        """Channel → products, in the order in which they came."""
        self._sequence = 0

    @property
    def wanted(self) -> Wanted:
        """The subscribed markets, as items for `batches`."""
        return Wanted({_MARKETS[product]: trade_items for product in self.subscriptions.get(TRADES, ())})

    def take(self, text: str) -> list[Market] | None:
        """Take a message, which takes effect at once: the markets that it adds, None for one that is refused."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(message, dict) or message.get("type") not in ("subscribe", "unsubscribe"):
            return None
        channel, products = message.get("channel"), _products(message)
        if products is None or channel not in (TRADES, BEATS):
            return None
        known = self.subscriptions.get(channel, {})
        if message["type"] == "unsubscribe":
            left = {product: None for product in known if products and product not in products}
            self.subscriptions[channel] = left if channel == TRADES else {}
            self.subscriptions = {name: products for name, products in self.subscriptions.items() if products}
            return []
        if channel == BEATS:
            self.subscriptions[BEATS] = {BEATS: None}
            return []
        if not products:
            return None
        self.subscriptions[TRADES] = known | dict.fromkeys(products)
        return [_MARKETS[product] for product in dict.fromkeys(products) if product not in known]

    def snapshot(self, ticker: Ticker, until_us: int, now_us: int) -> str:
        """The last trades told by then."""
        last = ticker.last_told(until_us).ids.tolist()
        trades = ticker.tape.numbered(last[0] + 1 - SNAPSHOT_TRADES, last[0] + 1) if last else ticker.last_told(0)
        items = trade_items(ticker.tape.market, Told(trades, trades.times_us))
        return self._trades("snapshot", [item.partition(" ")[2] for item in items], now_us)

    def acknowledgement(self, now_us: int) -> str:
        """All that is subscribed now, which answers every message that is not refused."""
        subscriptions = {channel: list(products) for channel, products in self.subscriptions.items()}
        return self._frame("subscriptions", json.dumps({"subscriptions": subscriptions}, separators=(",", ":")), now_us)

    def batches(self, items: list[str], now_us: int) -> list[str]:
        """Items of `trade_items` as frames, one for each product."""
        gathered: dict[str, list[str]] = {}
        for item in items:
            product, _, trade = item.partition(" ")
            gathered.setdefault(product, []).append(trade)
        return [self._trades("update", trades, now_us) for trades in gathered.values()]

    def beats(self, after_us: int, until_us: int) -> list[str]:
        """A heartbeat for each full second between two times, if they are subscribed. Their counter goes up by one."""
        if BEATS not in self.subscriptions:
            return []
        frames = []
        for second in range(after_us // SECOND_US + 1, until_us // SECOND_US + 1):
            up = f"{until_us // SECOND_US - EPOCH_S}.{until_us % SECOND_US:06d}854"
            current = f"{iso(until_us)[:-1].replace('T', ' ')}606 +0000 UTC m=+{up}"
            event = f'{{"current_time":"{current}","heartbeat_counter":{second - EPOCH_S}}}'
            frames.append(self._frame(BEATS, event, until_us))
        return frames

    def _trades(self, kind: str, oldest_first: list[str], now_us: int) -> str:
        return self._frame(TRADES, f'{{"type":"{kind}","trades":[{",".join(reversed(oldest_first))}]}}', now_us)

    def _frame(self, channel: str, event: str, now_us: int) -> str:
        number = self._sequence
        self._sequence += 1
        time = f"{iso(now_us)[:-1]}{number * 37 % 1000:03d}".rstrip("0").rstrip(".")
        head = f'{{"channel":"{channel}","client_id":"","timestamp":"{time}Z","sequence_num":{number}'
        return f'{head},"events":[{event}]}}'


def trade_items(market: Market, told: Told) -> list[str]:
    """One item for each trade: its product, a space, and the trade as it stands in a frame."""
    return [
        f'{market.symbol} {{"product_id":"{market.symbol}","trade_id":"{number}"'
        f',"price":"{plain(price, market.price_decimals)}","size":"{plain(quantity, market.quantity_decimals)}"'
        f',"time":"{iso(time_us, short=True)}","side":"{"BUY" if buyer_maker else "SELL"}"}}'
        for number, time_us, price, quantity, buyer_maker in told.trades.rows()
    ]


def _products(message: dict[str, object]) -> list[str] | None:
    """The products that a message names, None with one that is not listed. `…-USDC` is streamed as `…-USD`."""
    named = message.get("product_ids", [])
    if not isinstance(named, list) or not all(isinstance(product, str) for product in named):
        return None
    products = [product[:-1] if product.endswith("-USDC") else product for product in named]
    return products if all(product in _MARKETS for product in products) else None
