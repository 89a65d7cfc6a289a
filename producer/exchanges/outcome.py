"""What one frame of an exchange turns out to be, and the small readers that all mappers share.

A mapper is pure: a frame's text in, an `Outcome` out; no socket, no clock. Every frame becomes exactly one of: trades,
a rejection with its reason, or something passed over by its kind. Nothing disappears.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from market.trade import INTEGER, Reason, Trade, problem_of

Message = dict[str, Any]
"""A frame's JSON object."""

NOT_A_TIME = -1
"""Stands for a time that cannot be read: the one rule of valid trades rejects it, with its reason."""

UNKNOWN = "unknown"


class Outcome(NamedTuple):
    """What one frame held: one of `trades`, `rejected` and `passed_over` is set."""

    trades: tuple[Trade, ...] = ()
    rejected: str | None = None
    """Why the frame, which should be a trade, is none."""
    passed_over: str | None = None
    """The kind of a frame that is no trade."""
    clock_ms: int | None = None
    """The exchange's clock, where the frame tells it: everything that happened before has been sent."""
    is_retold: bool = False
    """The trade is told as one that went before: it may be older than everything that is read."""
    complaint: str | None = None
    """What the exchange says is wrong with what we asked for."""
    newest: tuple[str, int] | None = None
    """A symbol, and the id of the newest trade that the exchange has counted for it."""
    farewell: bool = False
    """The server says that it goes away soon: another connection should take over before."""
    refused_product: str | None = None
    """The product for which the exchange refused a whole subscription."""
    refused_some: bool = False
    """The exchange refused a whole subscription for products that it does not name."""
    sequence: int | None = None
    """The frame's number in its connection: the next one's is higher by one, or frames were lost."""
    rejections: tuple[str, ...] = ()
    """Why further elements of the frame, which should be trades, are none: beside `trades`, or beyond `rejected`."""

    @property
    def elements(self) -> int:
        """How many things the frame held: each is counted once, as a trade, as rejected or as passed over."""
        return len(self.trades) + len(self.rejections) + (not self.trades)


Mapper = Callable[[Message, str, int], Outcome]
"""(message, exchange, latest_ms) → outcome; `latest_ms` is the latest time that a trade may bear."""


def read(frame: str | bytes, mapper: Mapper, *, exchange: str, latest_ms: int) -> Outcome:
    """The outcome of one frame of `exchange`."""
    message = message_of(frame)
    return Outcome(rejected=Reason.MALFORMED) if message is None else mapper(message, exchange, latest_ms)


def message_of(frame: str | bytes) -> Message | None:
    """The frame's JSON object, or None. Fractions stay text: only text is exact."""
    try:
        message = json.loads(frame, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def judged(trade: Trade, latest_ms: int) -> Outcome:
    """The trade, or the reason for which it is none."""
    problem = problem_of(trade, latest_ms)
    return Outcome(rejected=problem) if problem else Outcome(trades=(trade,))


def gathered(outcomes: Sequence[Outcome], *, kind: str) -> Outcome:
    """Several trades, rejected or not, as the outcome of the frame of this kind that holds them, in id order."""
    trades = sorted((trade for outcome in outcomes for trade in outcome.trades), key=lambda trade: trade.trade_id)
    reasons = tuple(outcome.rejected for outcome in outcomes if outcome.rejected is not None)
    if trades:
        return Outcome(trades=tuple(trades), rejections=reasons)
    return Outcome(rejected=reasons[0], rejections=reasons[1:]) if reasons else Outcome(passed_over=kind)


def kind_of(value: object) -> str:
    """A frame's kind as the exchange names it; what cannot be a name is `unknown`, for kinds are counted and shown."""
    return value if isinstance(value, str) and re.fullmatch("!?[A-Za-z0-9_]{1,40}", value) else UNKNOWN


def complaint_of(fields: Message, *names: str) -> str:
    """Some fields of an error as text. What nests is not shown: it could be too deep to be written."""
    shown = {name: value if isinstance(value := fields.get(name), str | int | None) else UNKNOWN for name in names}
    return json.dumps(shown)[:500]


def numeral(value: object) -> str:
    """A price or quantity as the exchange printed it; empty, which no field allows, for what is neither."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)


def integer(value: object) -> int:
    """A whole number, written as a number or as text; -1, which no field allows, for everything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and re.fullmatch(INTEGER, value) else -1


def text(value: object) -> str:
    """A name as the exchange printed it; empty, which no field allows, for everything else."""
    return value if isinstance(value, str) else ""


def side(value: object) -> bool:
    """True or false; what is neither passes through, to be rejected with its reason."""
    return cast(bool, value if isinstance(value, bool) else None)
