"""Trades as hypothesis makes them: few seconds, few symbols, many ties."""

from __future__ import annotations

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
