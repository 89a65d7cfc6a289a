"""A trade as text: seven lines for a person, one line of JSON for a program. Pure, and exact to the last digit."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

from market.trade import Trade

_DOLLARS = ("USD", "USDT", "USDC", "FDUSD", "TUSD", "BUSD")
"""Quote currencies that are dollars, or mean to be worth one."""


def block(trade: Trade, number: int) -> str:
    """The trade for a person, as message `number`."""
    return "\n".join(
        [
            f"RAW TRADE DATA - Message #{number}",
            f"Symbol: {trade.symbol}",
            f"Price: {price(trade)}",
            f"Quantity: {trade.quantity}",
            f"Timestamp: {time(trade.timestamp)}",
            f"Trade ID: {trade.trade_id}",
            f"Buyer Maker: {trade.is_buyer_maker}",
            "",
        ]
    )


def line(trade: Trade) -> str:
    """The trade for a program: one JSON object, with the fields of its Kafka record."""
    return json.dumps(trade._asdict(), separators=(",", ":"))


def price(trade: Trade) -> str:
    """`$42,150.50`: thousands apart, at least two decimals, never rounded; without the sign where it is no dollar."""
    whole, _, decimals = f"{Decimal(trade.price):,f}".partition(".")
    sign = "$" if trade.symbol.endswith(_DOLLARS) else ""
    return f"{sign}{whole}.{decimals.rstrip('0').ljust(2, '0')}"


def time(time_ms: int) -> str:
    """ISO 8601 in UTC, with microseconds."""
    moment = datetime.fromtimestamp(time_ms // 1000, UTC).replace(microsecond=time_ms % 1000 * 1000)
    return moment.isoformat(timespec="microseconds")
