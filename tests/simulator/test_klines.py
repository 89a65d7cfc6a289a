from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.klines import Kline, filled, klines_between, klines_of, price_before
from simulator.markets import MARKETS, Market
from simulator.tape import SECOND_US, Tape

NOW_US = 1_704_067_200 * SECOND_US
MINUTE_US = 60 * SECOND_US
BY_SYMBOL = {market.symbol: market for market in MARKETS}


def straightforward(market: Market, rows: list[tuple[int, int, int, int, bool]], width_us: int) -> list[Kline]:
    """The klines of trades, one trade after the other, in Decimal: the rule as one would tell it."""
    klines = []
    for open_us in sorted({row[1] - row[1] % width_us for row in rows}):
        inside = [row for row in rows if open_us <= row[1] < open_us + width_us]
        ids = [row[0] for row in inside]
        prices = [row[2] for row in inside]
        volume = taker_volume = 0
        quote = taker_quote = Decimal(0)
        for _, _, price, quantity, buyer_maker in inside:
            exact = Decimal(price).scaleb(-market.price_decimals) * Decimal(quantity).scaleb(-market.quantity_decimals)
            cut = exact.quantize(Decimal("1e-8"), rounding=ROUND_DOWN)
            volume, quote = volume + quantity, quote + cut
            if not buyer_maker:
                taker_volume, taker_quote = taker_volume + quantity, taker_quote + cut
        klines.append(
            Kline(
                open_us,
                prices[0],
                max(prices),
                min(prices),
                prices[-1],
                volume,
                int(quote.scaleb(8)),
                len(inside),
                taker_volume,
                int(taker_quote.scaleb(8)),
                min(ids),
                max(ids),
            )
        )
    return klines


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHBTC", "SHIBUSDT", "ZILBTC", "BTC-USD"])
@pytest.mark.parametrize("width_us", [SECOND_US, MINUTE_US])
def test_klines_equal_a_straightforward_computation(symbol: str, width_us: int) -> None:
    """Every field of every kline, on coarse and fine markets."""
    market = BY_SYMBOL[symbol]
    tape = Tape(market, seed=3, rate=5.0)
    trades = tape.between(NOW_US - 3 * MINUTE_US, NOW_US + 3 * MINUTE_US)
    assert klines_of(market, trades, width_us) == straightforward(market, list(trades.rows()), width_us)


@given(now_us=st.integers(NOW_US, NOW_US + 25 * MINUTE_US))
def test_a_running_kline_holds_the_trades_until_now(now_us: int) -> None:
    """Reading in pieces changes nothing, and no trade of the future is in any kline."""
    market = BY_SYMBOL["LTCUSDT"]
    tape = Tape(market, seed=1, rate=0.3)
    pieces = klines_between(tape, NOW_US, NOW_US + 30 * MINUTE_US, MINUTE_US, now_us)
    rows = list(tape.between(NOW_US, now_us).rows())
    assert [row for piece in pieces for row in piece] == straightforward(market, rows, MINUTE_US)


def test_an_interval_without_trades_stands_at_the_close_before() -> None:
    """As Binance prints it: all four prices the previous close, everything else 0, ids -1."""

    def flat(second: int, price: int) -> Kline:
        return Kline(second * SECOND_US, price, price, price, price, 0, 0, 0, 0, 0, -1, -1)

    traded = Kline(2 * SECOND_US, 10, 12, 9, 11, 5, 50, 2, 1, 10, 7, 8)
    assert filled([traded], 0, 5 * SECOND_US, SECOND_US, 8) == [
        flat(0, 8),
        flat(1, 8),
        traded,
        flat(3, 11),
        flat(4, 11),
    ]
    assert filled([traded], 0, 4 * SECOND_US, SECOND_US, None) == [traded, flat(3, 11)]


def test_the_price_before_a_time_is_the_last_trades() -> None:
    """Also when the last trade was hours ago; before the first trade there is none."""
    tape = Tape(BY_SYMBOL["ZILBTC"], seed=1, rate=0.0005)
    earlier = list(tape.between(NOW_US - 100_000 * SECOND_US, NOW_US).rows())
    assert price_before(tape, NOW_US) == earlier[-1][2]
    assert price_before(tape, 0) is None
