"""The definition of a bar, held to worked examples and to an exchange's own klines."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from market.bar import Bar, bars_of, current, rolled_up
from market.trade import Trade
from tests import recordings
from tests.bars.strategies import trades
from tests.recordings import coinbase_bars, kline_of


def trade(time_ms: int, trade_id: int, price: str, quantity: str = "1", *, maker: bool = False) -> Trade:
    return Trade("binance", "BTCUSDT", price, quantity, time_ms, trade_id, maker)


def test_a_bar_by_hand() -> None:
    """Every field of a bar of three trades is what pencil and paper say."""
    trades = [
        trade(1_700_000_000_999, 12, "30000.03", "0.00000003"),
        trade(1_700_000_000_001, 10, "30000.01", "0.5"),
        trade(1_700_000_000_001, 11, "29999.99", "0.25", maker=True),
    ]
    assert bars_of(trades) == [
        Bar(
            exchange="binance",
            symbol="BTCUSDT",
            timestamp=1_700_000_000_000,
            open=Decimal("30000.01"),
            high=Decimal("30000.03"),
            low=Decimal("29999.99"),
            close=Decimal("30000.03"),
            volume=Decimal("0.75000003"),
            # 15000.005 + 7499.9975 + 0.0009000009, the last cut at 8 decimals
            quote_volume=Decimal("22500.00340000"),
            # 22500.0034 / 0.75000003 = 30000.003333333199999...
            vwap=Decimal("30000.00333333"),
            trade_count=3,
            taker_buy_volume=Decimal("0.50000003"),
            taker_buy_quote_volume=Decimal("15000.00590000"),
            first_trade_id=10,
            last_trade_id=12,
            missing_trades=0,
        )
    ]


def test_ties_in_time_are_broken_by_the_id() -> None:
    """Trades of one millisecond open and close a bar by their ids, in whichever order they come."""
    trades = [trade(1_700_000_000_500, number, f"{number}") for number in (3, 1, 2)]
    (bar,) = bars_of(trades)
    assert (bar.open, bar.close) == (1, 3)


def test_a_missing_id_is_counted() -> None:
    """Ids between the first and the last that no trade bears are counted."""
    (bar,) = bars_of([trade(1_700_000_000_000, 5, "1"), trade(1_700_000_000_000, 9, "1")])
    assert bar.missing_trades == 3


def test_seconds_without_trades_have_no_bar() -> None:
    """Between two trades a minute apart stands no bar."""
    bars = bars_of([trade(1_700_000_000_000, 1, "1"), trade(1_700_000_060_000, 2, "1")])
    assert [bar.timestamp for bar in bars] == [1_700_000_000_000, 1_700_000_060_000]


@given(st.integers(1, 10**18), st.integers(1, 10**19), st.integers(1, 10**18))
def test_vwap_is_rounded_half_up_once(price: int, quantity: int, other: int) -> None:
    """vwap lies within half a step of the exact quotient, and on a tie above it."""
    steps = Decimal("1e-8")
    trades = [
        trade(1_700_000_000_000, 1, f"{price * steps:f}", f"{quantity * steps:f}"),
        trade(1_700_000_000_000, 2, f"{other * steps:f}", "1"),
    ]
    (bar,) = bars_of(trades)
    error = Fraction(bar.vwap) - Fraction(bar.quote_volume) / Fraction(bar.volume)
    assert -Fraction(steps) / 2 < error <= Fraction(steps) / 2


def test_the_highest_revision_is_the_current_bar() -> None:
    """Of the rows of one second, the one with the highest revision counts, wherever it stands."""
    (bar,) = bars_of([trade(1_700_000_000_000, 1, "1")])
    amended = Bar(**{name: getattr(bar, name) for name in bar.__slots__} | {"revision": 1, "trade_count": 2})
    assert current([amended, bar]) == [amended]


@given(trades(), st.sampled_from((1_000, 2_000, 3_000, 60_000, 604_800_000)), st.sampled_from((0, 1_000, 345_600_000)))
def test_wider_bars_are_those_of_the_trades(some: list[Trade], width_ms: int, phase_ms: int) -> None:
    """Seconds rolled up to any width, from any order, are what the trades give at that width; with a phase, shifted."""
    moved = [trade._replace(timestamp=trade.timestamp - phase_ms) for trade in some]
    expected = [replace(bar, timestamp=bar.timestamp + phase_ms) for bar in bars_of(moved, width_ms)]
    assert rolled_up(reversed(bars_of(some)), width_ms, phase_ms) == expected


def test_a_wider_bar_is_amended_where_a_second_of_it_is() -> None:
    """Its revision is the highest of those of its seconds."""
    bars = bars_of([trade(1_700_000_040_000 + 1_000 * second, second, "1") for second in range(3)])
    (minute,) = rolled_up([bars[0], replace(bars[1], revision=2), replace(bars[2], revision=1)], 60_000)
    assert minute.revision == 2
    assert rolled_up(bars, 60_000)[0].revision == 0


def test_recorded_seconds_roll_up_to_recorded_minutes() -> None:
    """A day of Coinbase's seconds, as others recorded them, gives all of its minutes in five fields."""
    seconds, minutes = (coinbase_bars(name) for name in ("second", "minute"))
    assert (len(seconds), len(minutes)) == (4_063, 1_419)
    fields = ("timestamp", "open", "high", "low", "close", "volume")
    rolled = rolled_up(seconds, 60_000)
    assert [[getattr(bar, name) for name in fields] for bar in rolled] == [
        [getattr(bar, name) for name in fields] for bar in minutes
    ]


def test_weeks_begin_on_mondays_by_their_phase() -> None:
    """With the four days from the epoch's Thursday to a Monday, a week holds Monday to Sunday."""
    day = 86_400_000
    monday = 1_762_128_000_000  # 2025-11-03T00:00Z
    bars = bars_of([trade(monday - 1, 1, "1"), trade(monday, 2, "2"), trade(monday + 7 * day - 1, 3, "3")])
    weeks = rolled_up(bars, 7 * day, 4 * day)
    assert [(week.timestamp, week.trade_count) for week in weeks] == [(monday - 7 * day, 1), (monday, 2)]


def test_the_exchanges_own_klines() -> None:
    """Five recorded minutes of USD-M trades give the exchange's klines in all nine fields."""
    bars = {bar.timestamp: kline_of(bar) for bar in bars_of(recordings.usdm_trades(), width_ms=60_000)}
    klines = recordings.usdm_klines()
    assert len(klines) == 5
    assert {start: bars[start] for start in klines} == klines
