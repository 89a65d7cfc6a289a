"""Trades as hypothesis makes them: few seconds, few symbols, many ties."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import strategies as st

from market.trade import Trade

START_MS = 1_723_161_599_000


def _numeral(digits: int) -> st.SearchStrategy[str]:
    """Numbers above zero with up to that many digits before the point and 8 behind, small and large alike."""
    return st.one_of(st.integers(1, 10**4), st.integers(1, 10 ** (digits + 8) - 1)).map(
        lambda number: f"{number // 10**8}.{number % 10**8:08}"
    )


@st.composite
def trades(draw: st.DrawFn, most: int = 60) -> list[Trade]:
    """Trades in any order, each id of a symbol once; prices of few values, so that they repeat."""
    prices = draw(st.lists(_numeral(10), min_size=1, max_size=5))
    numbers = draw(st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=most, unique=True))
    return [
        Trade(
            draw(st.sampled_from(("binance", "coinbase"))),
            draw(st.sampled_from(("BTCUSDT", "ETHUSD"))),
            draw(st.sampled_from(prices)),
            draw(_numeral(11)),
            START_MS + draw(st.one_of(st.integers(0, 3_999), st.sampled_from((999, 1000, 1001)))),
            number,
            draw(st.booleans()),
        )
        for number in numbers
    ]


@st.composite
def repeating(draw: st.DrawFn, most: int = 40) -> list[Trade]:
    """Trades as `trades` makes them, some several times: as they were, or in the same second with other content."""
    some = draw(trades(most))
    again = draw(st.lists(st.sampled_from(some), max_size=most))
    for trade in again:
        second = trade.timestamp - trade.timestamp % 1000
        other = trade._replace(price="1.5", timestamp=second + draw(st.integers(0, 999)))
        some.insert(draw(st.integers(0, len(some))), draw(st.sampled_from((trade, trade, other))))
    return some


def identity(trade: Trade) -> tuple[str, str, int]:
    """What no two trades of an exchange share."""
    return trade.exchange, trade.symbol, trade.trade_id


def firsts(some: Iterable[Trade]) -> dict[tuple[str, str, int], Trade]:
    """The trades that count, by their identity: of each the first, in the order of the topic."""
    found: dict[tuple[str, str, int], Trade] = {}
    for trade in some:
        found.setdefault(identity(trade), trade)
    return found


def exact_copies(some: Iterable[Trade]) -> list[Trade]:
    """The same, each trade that repeats an identity with the content of the first."""
    kept = list(some)
    first = firsts(kept)
    return [first[identity(trade)] for trade in kept]
