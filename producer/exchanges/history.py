"""What an exchange's REST interface tells of the past: what to ask, and how to read the answer. Pure, no socket.

A page of trades speaks for a range of ids: those of its range that it does not bring, the exchange does not have. The
reading functions take parsed JSON whose fractions are text, for only text is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from producer.exchanges.outcome import Outcome

NOT_ASKED_FOR = "trade that was not asked for"
"""What a trade outside the asked range is passed over as: it belongs to another page, or comes by the stream."""


class Request(NamedTuple):
    """A GET request: its path and query, and what it weighs in the exchange's account."""

    path: str
    weight: int


class Page(NamedTuple):
    """An answer's elements, and the ids it speaks for, first to last: those not in it the exchange does not have."""

    outcomes: tuple[Outcome, ...]
    first: int
    last: int
    newest: int = -1
    """The highest id of all trades that the answer shows, asked for or not: so far the exchange's history reaches."""
    rejected: tuple[tuple[int, str], ...] = ()
    """Ids of those asked for whose row is there, but no valid trade, and why: such a one is not said to be gone."""


@dataclass(frozen=True, kw_only=True)
class History:
    """How an exchange is asked for trades of the past. Products are named as the exchange lists them."""

    weight_per_minute: int
    """Our budget, below what the exchange allows."""
    page: Callable[[str, int, int], Request]
    """(product, first, last) → the request for as much of first..last as one page holds, from either end."""
    read: Callable[[Any, str, str, int, int, int], Page]
    """(answer, exchange, product, first, last, latest_ms) → its page. Raises ValueError where it is no list."""
    newest: Callable[[str], Request]
    newest_of: Callable[[Any], tuple[int, int] | None]
    """The newest trade's id and time in ms; None where the answer names none."""
    since: Callable[[str, int], Request] | None = None
    """(product, time in ms) → the request for the first trade at or after it. None: page down from the newest."""
    since_of: Callable[[Any], int | None] | None = None
    """That trade's id; None where the answer names none."""


def rows_of(answer: Any) -> Sequence[Any]:
    """The answer's rows. Raises ValueError where it is no list."""
    if not isinstance(answer, list):
        raise ValueError(f"the answer is no list of trades: {answer!r:.300}")
    return answer


def page_of(
    outcomes: Sequence[Outcome], ids: Sequence[int], spoken_for: tuple[int, int], first: int, last: int
) -> Page:
    """The page of an answer's rows, of which each has an outcome and an id, where first..last was asked for."""
    return Page(
        tuple(asked_for(outcome, first, last) for outcome in outcomes),
        *spoken_for,
        max((trade.trade_id for outcome in outcomes for trade in outcome.trades), default=-1),
        tuple(
            (number, outcome.rejected)
            for number, outcome in zip(ids, outcomes, strict=True)
            if outcome.rejected is not None and first <= number <= last
        ),
    )


def asked_for(outcome: Outcome, first: int, last: int) -> Outcome:
    """The outcome of one row, passed over where its trade is outside first..last."""
    if outcome.trades and not first <= outcome.trades[0].trade_id <= last:
        return Outcome(passed_over=NOT_ASKED_FOR)
    return outcome
