"""Coinbase Advanced Trade's frames as trades (docs.cdp.coinbase.com: "Advanced Trade WebSocket Channels").

    {"channel":"market_trades","client_id":"","timestamp":"2025-12-31T06:00:12.516946132Z","sequence_num":1851,
     "events":[{"type":"update","trades":[{"product_id":"BTC-USD","trade_id":"929248657","price":"88355.59",
     "size":"0.00136573","time":"2025-12-31T06:00:12.44524Z","side":"SELL"}]}]}

The same market as Coinbase Exchange's by another gateway. A frame holds all trades of 250 ms, the newest first; the
first frame of a product, a `snapshot`, trades of before. `side` is taken for the maker's, as on Exchange: recorded
frames print SELL at the ask. Ids are taken for Exchange's too, whose REST interface tells the past. `sequence_num`
counts the frames of a connection over all channels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from market.trade import Reason, Trade
from producer.exchanges import coinbase
from producer.exchanges.outcome import (
    NOT_A_TIME,
    Message,
    Outcome,
    gathered,
    integer,
    judged,
    kind_of,
    numeral,
    side,
    text,
)
from producer.exchanges.protocol import Patience, Protocol

TRADES, BEATS = "market_trades", "heartbeats"
PRODUCTS_PER_CONNECTION = 100

_ON_THEIR_OWN = frozenset({"USDT-USDC", "EURC-USDC"})


def outcome_of(message: Message, exchange: str, latest_ms: int) -> Outcome:
    """What one message of the feed is."""
    channel = message.get("channel")
    if channel == TRADES:
        outcome = _batch_of(message, exchange, latest_ms)
    elif channel == BEATS:
        # By the frame's own time: `current_time`, in the event, is printed in forms that differ, some with Go's m=+….
        clock_ms = coinbase.time_ms(message.get("timestamp"))
        outcome = Outcome(passed_over=BEATS, clock_ms=None if clock_ms == NOT_A_TIME else clock_ms)
    elif message.get("type") == "error":
        outcome = coinbase.error_of(message)
    else:
        outcome = Outcome(passed_over=kind_of(channel))
    number = integer(message.get("sequence_num"))
    return outcome._replace(sequence=number if number >= 0 else None)


def market_of(message: Message) -> str | None:
    """Whether a recorded message proves itself to be from this feed: each has a channel and events."""
    is_known = isinstance(message.get("channel"), str) and isinstance(message.get("events"), list)
    return "coinbase" if is_known else None


def subscriptions(products: Sequence[str]) -> list[str]:
    """One message per channel, as the exchange wants it. Without heartbeats, a channel at rest is closed."""
    return [
        json.dumps({"type": "subscribe", "product_ids": list(products), "channel": TRADES}),
        json.dumps({"type": "subscribe", "channel": BEATS}),
    ]


def products_of(listing: Any) -> Iterator[str]:
    """The products that Exchange's `/products` lists as online, without those that are streamed as another."""
    return (
        product
        for product in coinbase.products_of(listing)
        if not product.endswith("-USDC") or product in _ON_THEIR_OWN
    )


def alias_of(product: str) -> str | None:
    """The other name of a product: `…-USDC` is streamed, and printed, as `…-USD`, but for two that are on their own."""
    alias = f"{product}C"
    return alias if product.endswith("-USD") and alias not in _ON_THEIR_OWN else None


def _batch_of(message: Message, exchange: str, latest_ms: int) -> Outcome:
    events = message.get("events")
    if not isinstance(events, list):
        return Outcome(rejected=Reason.MALFORMED)
    outcomes = [_trade_of(row, exchange, latest_ms) for event in events for row in _rows_of(event)]
    is_retold = all(event.get("type") == "snapshot" for event in events if isinstance(event, dict))
    batch = gathered(outcomes, kind=TRADES)
    return batch._replace(is_retold=is_retold and bool(batch.trades))


def _rows_of(event: Any) -> list[Any]:
    """An event's trades; what is no event stands for one trade that cannot be read."""
    rows = event.get("trades") if isinstance(event, dict) else None
    return rows if isinstance(rows, list) else [None]


def _trade_of(row: Any, exchange: str, latest_ms: int) -> Outcome:
    if not isinstance(row, dict):
        return Outcome(rejected=Reason.MALFORMED)
    trade = Trade(
        exchange=exchange,
        symbol=coinbase.symbol_of(row.get("product_id")),
        price=numeral(row.get("price")),
        quantity=numeral(row.get("size")),
        timestamp=coinbase.time_ms(row.get("time")),
        trade_id=integer(row.get("trade_id")),
        is_buyer_maker=side({"BUY": True, "SELL": False}.get(text(row.get("side")))),
    )
    return judged(trade, latest_ms)


PROTOCOL = Protocol(
    outcome_of=outcome_of,
    stream_path="/",
    listing_path="/products",
    products_of=products_of,
    subscriptions=subscriptions,
    products_per_connection=PRODUCTS_PER_CONNECTION,
    greeting_interval_s=0.5,  # of 8 messages a second
    patience=Patience(silence_s=10),  # one heartbeat each second
    history=coinbase.HISTORY,
    alias_of=alias_of,
)
