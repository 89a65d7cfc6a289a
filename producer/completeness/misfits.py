"""Which outcomes of a page are not what was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from producer.completeness.plan import Part
from producer.exchanges.history import Page
from producer.exchanges.outcome import Outcome

OTHER_COUNT = "trade of another count"
"""What a trade is passed over as whose time does not fit between those of its neighbours."""
_MISFIT_MS = 10_000


def is_from(first: int, outcome: Outcome) -> bool:
    """Whether an outcome is not a trade from before the beginning."""
    return not outcome.trades or outcome.trades[0].trade_id >= first


def misfits_of(page: Page, parts: Iterable[Part]) -> set[int]:
    """The ids of trades whose times do not fit between those that are known around their part."""
    trades = [trade for outcome in page.outcomes for trade in outcome.trades]
    return {
        trade.trade_id
        for part in parts
        for trade in trades
        if part.first <= trade.trade_id <= part.last
        and (
            (part.after_ms is not None and trade.timestamp < part.after_ms - _MISFIT_MS)
            or (part.before_ms is not None and trade.timestamp > part.before_ms + _MISFIT_MS)
        )
    }


def passed_over(outcome: Outcome, misfits: set[int]) -> Outcome:
    """The outcome, where its trade is not one of these."""
    is_misfit = bool(outcome.trades) and outcome.trades[0].trade_id in misfits
    return Outcome(passed_over=OTHER_COUNT) if is_misfit else outcome
