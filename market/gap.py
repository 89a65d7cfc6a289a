"""A gap: trades that an exchange has counted and the topic does not hold, as a record of the gaps topic.

    {"exchange":"binance","symbol":"BTCUSDT","first_trade_id":12345,"last_trade_id":12399,"status":"lost",
     "cause":"the exchange no longer serves these trades","found":1762702223123,"after":1762702220001,
     "before":1762702223100}

A range is reported `open` when it could not be filled while newer trades waited for it, and later, in one piece or in
several, `filled` or `lost`. What is open is what was open, less what was filled or lost since; a lost trade that came
after all is `filled` too. `filled` is written when the trades are safe in the topic.

Where a record begins and what went before cannot be had, the one id before its first trade is `lost`, with a cause that
begins "the record begins here": it marks the edge, for how much is missing before it nobody knows. As long as the
exchange has not said what went before, that id is `open`, with such a cause; a producer that starts then asks again.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from market.trade import EXCHANGES, TRADE_ID_LIMIT, is_symbol

STATUSES = ("open", "filled", "lost")
"""open: being back-filled. filled: its trades have followed. lost: they cannot be had, or will not; the cause says."""

EDGE = "the record begins here"
"""What the cause of an edge begins with."""

TOPIC_SUFFIX = "-gaps"
"""The gaps of topic `crypto-trades` are in `crypto-trades-gaps`."""


class Gap(NamedTuple):
    """A range of trade ids of one exchange and symbol, both ends included."""

    exchange: str
    symbol: str
    first_trade_id: int
    last_trade_id: int
    status: str
    cause: str
    """Why the trades were missed, or why they cannot be had."""
    found: int
    """When it was found, milliseconds since the epoch."""
    after: int | None = None
    """Time of the last known trade before the range, where there is one."""
    before: int | None = None
    """Time of the first known trade after the range, where there is one."""


def gap_record(gap: Gap) -> bytes:
    """The value of a gap's Kafka record; its key is the symbol."""
    return json.dumps(gap._asdict(), separators=(",", ":")).encode()


def read_gap(value: bytes | None) -> Gap | None:
    """The gap of one record; None for what is none."""
    try:
        content = json.loads(value or b"")
        gap = Gap(**content)
    except (ValueError, TypeError, RecursionError):
        return None
    return gap if _is_valid(gap) else None


def _is_valid(gap: Gap) -> bool:
    ids, times = (gap.first_trade_id, gap.last_trade_id), (gap.found, gap.after, gap.before)
    return (
        gap.exchange in EXCHANGES
        and gap.status in STATUSES
        and is_symbol(gap.symbol)
        and isinstance(gap.cause, str)
        and all(type(number) is int for number in ids)
        and 0 <= gap.first_trade_id <= gap.last_trade_id < TRADE_ID_LIMIT
        and type(gap.found) is int
        and all(time is None or type(time) is int for time in times)
    )
