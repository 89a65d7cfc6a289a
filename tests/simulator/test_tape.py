from __future__ import annotations

import random
import subprocess
import sys
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.markets import BINANCE, COINBASE, MARKETS, Market, fixed, plain, rates
from simulator.release import LONGEST_US, Ticker, event_times
from simulator.tape import EPOCH_S, SECOND_US, Tape, Trades

NOW_US = 1_704_067_200 * SECOND_US  # 2024-01-01T00:00:00Z, the border of a minute, an hour, a day and a year
BTC = next(market for market in MARKETS if market.symbol == "BTCUSDT")
QUIET = next(market for market in MARKETS if market.symbol == "ZILBTC")


def tape(market: Market = BTC, *, seed: int = 1, rate: float = 30.0) -> Tape:
    return Tape(market, seed=seed, rate=rate)


def rows(trades: Trades) -> list[tuple[int, int, int, int, bool]]:
    return list(trades.rows())


@given(
    cuts=st.lists(st.integers(0, 150 * SECOND_US), max_size=6),
    start_us=st.integers(NOW_US - 150 * SECOND_US, NOW_US),
    rate=st.sampled_from([0.01, 3.0, 30.0]),
)
def test_any_split_of_a_window_gives_the_same_trades(cuts: list[int], start_us: int, rate: float) -> None:
    """Asking for a window in pieces, of a fresh tape each time, gives what asking at once gives."""
    borders = sorted({0, 150 * SECOND_US, *cuts})
    pieces = [tape(rate=rate).between(start_us + left, start_us + right) for left, right in pairwise(borders)]
    assert [row for piece in pieces for row in rows(piece)] == rows(
        tape(rate=rate).between(start_us, start_us + 150 * SECOND_US)
    )


def test_a_trade_is_the_same_in_another_process() -> None:
    """A restarted simulator gives an id the content it had: nothing depends on the process."""
    code = (
        "from simulator.markets import MARKETS; from simulator.tape import Tape\n"
        f"print(list(Tape(MARKETS[0], seed=1, rate=30.0).numbered({10**9}, {10**9 + 5}).rows()))"
    )
    root = Path(__file__).parents[2]
    printed = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert printed.stdout.strip() == str(rows(tape(MARKETS[0]).numbered(10**9, 10**9 + 5)))


def test_ids_are_contiguous_and_times_never_decrease() -> None:
    """Over the borders of seconds, minutes and hours every id follows the one before, not earlier in time."""
    trades = tape().between(NOW_US - 4000 * SECOND_US, NOW_US + 4000 * SECOND_US)
    assert set(np.diff(trades.ids)) == {1}
    assert np.diff(trades.times_us).min() == 0


@pytest.mark.parametrize(("rate", "span_s"), [(0.0001, 1_000_000), (0.02, 20_000), (30.0, 600)])
def test_trades_by_id_are_the_trades_by_time(rate: float, span_s: int) -> None:
    """Whichever way a trade is asked for, it is the same one, in busy and in nearly silent markets."""
    whole = rows(tape(rate=rate).between(NOW_US - span_s * SECOND_US, NOW_US))
    first, last = whole[0][0], whole[-1][0] + 1
    assert rows(tape(rate=rate).numbered(first, last)) == whole
    chooser = random.Random(5)
    for _ in range(30):
        left = chooser.randrange(first, last)
        right = chooser.randrange(left, last) + 1
        assert rows(tape(rate=rate).numbered(left, right)) == whole[left - first : right - first]


def test_counting_the_trades_before_a_time_gives_the_next_id() -> None:
    """`count_before` is the id of the first trade at or after the time."""
    some = rows(tape().between(NOW_US - 90 * SECOND_US, NOW_US))
    for number, time_us, *_ in some[::50]:
        earlier = [row for row in some if row[1] < time_us]
        assert tape().count_before(time_us) == (earlier[-1][0] + 1 if earlier else number)


def test_the_first_trade_has_id_0_and_nothing_is_before_it() -> None:
    """A market begins in 2010 with id 0; before that there is nothing, by time or by id."""
    first = rows(tape().between(0, (EPOCH_S + 60) * SECOND_US))[0]
    assert first[0] == 0
    assert tape().count_before(EPOCH_S * SECOND_US) == 0
    assert rows(tape().numbered(-10, 1)) == [first]
    assert rows(tape().numbered(-10, 0)) == []


def test_another_seed_is_another_market() -> None:
    """Seeds differ in times and prices."""
    window = NOW_US, NOW_US + 60 * SECOND_US
    one, other = tape(seed=1).between(*window), tape(seed=2).between(*window)
    assert set(one.times_us.tolist()).isdisjoint(other.times_us.tolist()[:100])


def test_trades_arrive_as_in_a_real_market() -> None:
    """There are quiet seconds, bursts of twenty times the mean, and trades of the same millisecond and microsecond."""
    trades = tape().between(NOW_US, NOW_US + 3600 * SECOND_US)
    per_second = np.bincount((trades.times_us - NOW_US) // SECOND_US, minlength=3600)
    assert 28 < per_second.mean() < 32
    assert (per_second == 0).sum() > 100
    assert per_second.max() > 20 * 30 * 0.7
    same_ms, same_us = (np.mean(np.diff(trades.times_us // unit) == 0) for unit in (1000, 1))
    assert same_ms > 0.4
    assert same_us > 0.1


def test_prices_and_quantities_are_plausible() -> None:
    """Every market's prices stay within a tenth of its base, move, and quantities spread over orders of magnitude."""
    for market in MARKETS:
        trades = tape(market, rate=2.0).between(NOW_US, NOW_US + 2000 * SECOND_US)
        assert trades.prices.min() > 0.9 * market.price - 2, market.symbol
        assert trades.prices.max() < 1.1 * market.price + 2, market.symbol
        assert len(set(trades.prices.tolist())) > 1, market.symbol
        assert 1 <= trades.quantities.min() < market.quantity < trades.quantities.max(), market.symbol
        assert 0.4 < trades.buyer_makers.mean() < 0.6, market.symbol


def test_one_currency_costs_about_the_same_on_both_venues() -> None:
    """BTC-USD follows BTCUSDT, as arbitrage has it."""
    dollars = next(market for market in MARKETS if market.symbol == "BTC-USD")
    for hours in range(0, 48, 5):
        window = NOW_US + hours * 3600 * SECOND_US, NOW_US + (hours * 3600 + 20) * SECOND_US
        here, there = (np.median(tape(market).between(*window).prices) for market in (BTC, dollars))
        assert abs(here / there - 1) < 0.001


def test_the_markets_share_the_rate() -> None:
    """There are many markets on both venues; BTCUSDT has a tenth to a fifth of the trades, some nearly none."""
    shares = rates(500.0)
    assert sum(shares.values()) == pytest.approx(500.0)
    assert 50 <= shares[BTC] <= 100
    assert sum(market.venue == BINANCE for market in shares) >= 20
    assert sum(market.venue == COINBASE for market in shares) >= 8
    assert sum(rate < 0.05 for rate in shares.values()) >= 3


def test_a_whole_market_of_20000_trades_per_second_is_made_in_time() -> None:
    """A second of all markets at 20,000 trades/s takes well under a second to make."""
    tapes = [tape(market, rate=rate) for market, rate in rates(20_000.0).items()]
    began_s = time.process_time()
    count = sum(len(one.between(NOW_US, NOW_US + 5 * SECOND_US).ids) for one in tapes)
    assert count / (time.process_time() - began_s) > 20_000


@given(st.integers(0, 10**17), st.integers(0, 8))
def test_numbers_are_printed_exactly(number: int, decimals: int) -> None:
    """Binance prints 8 decimals, Coinbase no zeros at the end; both are the exact number."""
    exact = Decimal(number).scaleb(-decimals)
    assert Decimal(fixed(number, decimals)) == exact
    assert Decimal(plain(number, decimals)) == exact
    assert len(fixed(number, decimals).partition(".")[2]) == 8
    assert "." not in plain(number, decimals) or not plain(number, decimals).endswith(("0", "."))


def test_the_quote_value_is_cut_at_8_decimals() -> None:
    """ETHBTC has 9 decimals in price times quantity: 0.00003 * 0.0003 is 9e-9, of which nothing is left."""
    pair = next(market for market in MARKETS if market.symbol == "ETHBTC")
    assert (pair.price_decimals, pair.quantity_decimals) == (5, 4)
    assert pair.value(3, 3) == 0
    assert pair.value(11, 1) == 1  # 1.1e-8
    assert BTC.value(4_215_050, 1_000) == 42_150_500_000  # 42150.50 * 0.01000 = 421.505


def test_event_times_lag_as_recorded() -> None:
    """As in the recordings: a middle lag of about 1 ms, 1 in 100 around 0.2 s, some in the next second, none back."""
    times_us = np.arange(NOW_US, NOW_US + 600 * SECOND_US, 997)
    events_us = event_times(times_us)
    lags_us = events_us - times_us
    assert np.diff(events_us).min() >= 0
    assert lags_us.min() >= 0
    assert lags_us.max() <= LONGEST_US
    assert 500 <= np.median(lags_us) <= 2_000
    assert 150_000 < np.percentile(lags_us, 99) < LONGEST_US
    assert 0.005 < np.mean(events_us // SECOND_US != times_us // SECOND_US) < 0.04


@pytest.mark.parametrize("rate", [0.005, 30.0])
def test_every_trade_is_told_once_however_time_is_cut(rate: float) -> None:
    """Ticks of any length tell every trade exactly once, in the order of the ids."""
    chooser = random.Random(7)
    ticker, told, at_us = Ticker(tape(rate=rate)), [], NOW_US
    while at_us < NOW_US + 60 * SECOND_US:
        until_us = at_us + chooser.choice([15_000, 15_000, 400_000, 7_000_000])
        told += ticker.told(at_us, until_us).trades.ids.tolist()
        if told:
            assert ticker.last_told(until_us).ids.tolist() == [told[-1]]
        at_us = until_us
    everything = tape(rate=rate).between(NOW_US - SECOND_US, at_us + SECOND_US)
    events_us = event_times(everything.times_us)
    assert told == everything.ids[(events_us > NOW_US) & (events_us <= at_us)].tolist()


def test_the_last_trade_of_a_quiet_market_may_be_long_ago() -> None:
    """`last_told` finds the last trade over hours of silence."""
    ticker = Ticker(tape(QUIET, rate=0.0001))
    count = tape(QUIET, rate=0.0001).count_before(NOW_US)
    assert ticker.last_told(NOW_US).ids.tolist() == [count - 1]
