"""The tape: every trade of a market, as a pure function of seed, rate, market and time.

Nothing is remembered and nothing is drawn from a generator, so any trade can be had by its time or by its id, in any
order, and a restarted exchange continues where it would have been: no id ever gets another content. (Another seed or
another rate is another market.) How a trade comes about:

    hours      the market's rate gives the number of trades before any hour
    → minutes  → seconds: each splits its trades over its 60 parts by hashed weights, so there are bursts and silence
    → times    a second's trades fall into clusters, as a large order is filled in many trades at one moment
    → prices   whole-number noise of several periods around the market's price, and the side and depth of each trade
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from simulator.markets import Market

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[Any]
"""Of np.uint64, which the type of a shift or a remainder does not keep."""
Bools = npt.NDArray[np.bool_]

SECOND_US = 1_000_000
EPOCH_S = 1_262_304_000
"""2010-01-01T00:00:00Z: the first trade of every market, with id 0."""

_MINUTE_WEIGHTS = np.array([2 + number % 5 for number in range(1000)] + [30] * 24)
_SECOND_WEIGHTS = np.array([0] * 90 + [8 + number % 40 for number in range(830)] + [80] * 98 + [600] * 6)
_BURST = 600  # about twenty times the mean: every few minutes one second is that busy

_NOISE = ((6 * 3_600_000, 25_000), (1_800_000, 5_000), (120_000, 900), (10_000, 200), (1_000, 60))
"""The price's noise: a period in ms and how far it swings in millionths."""


class Trades(NamedTuple):
    """Consecutive trades of one market in the order of their ids, as columns."""

    ids: Ints
    times_us: Ints
    """Microseconds since the epoch; never decreasing."""
    prices: Ints
    """In ticks."""
    quantities: Ints
    """In lots."""
    buyer_makers: Bools

    def part(self, first: int, last: int) -> Trades:
        """The trades at the positions first ≤ position < last."""
        return Trades(
            self.ids[first:last],
            self.times_us[first:last],
            self.prices[first:last],
            self.quantities[first:last],
            self.buyer_makers[first:last],
        )

    def rows(self) -> zip[tuple[int, int, int, int, bool]]:
        """The trades one by one: id, time in µs, price in ticks, quantity in lots, whether the buyer was the maker."""
        return zip(*(column.tolist() for column in self), strict=True)


class _Spans(NamedTuple):
    """Hours, minutes or seconds that have trades, ascending: number since the epoch, first trade id, trades."""

    starts: Ints
    first_ids: Ints
    counts: Ints


class Tape:
    """The trades of one market, for ever."""

    def __init__(self, market: Market, *, seed: int, rate: float) -> None:
        """`rate`: mean trades per second."""
        self.market = market
        self._per_1000_hours = max(1, round(rate * 3_600_000))
        self._seed = seed

    def between(self, start_us: int, end_us: int) -> Trades:
        """The trades with start ≤ time < end, in microseconds since the epoch."""
        trades = self._seconds(start_us // SECOND_US, -(-end_us // SECOND_US))
        first, last = np.searchsorted(trades.times_us, (start_us, end_us))
        return trades.part(int(first), int(last))

    def numbered(self, first: int, last: int) -> Trades:
        """The trades with first ≤ id < last."""
        first = max(first, 0)
        if last <= first:
            return self._seconds(0, 0)
        trades = self._seconds(self._second_of(first), self._second_of(last - 1) + 1)
        offset = int(trades.ids[0])
        return trades.part(first - offset, last - offset)

    def count_before(self, time_us: int) -> int:
        """How many trades there are before a time, which is the id of the first trade at or after it."""
        second = max(time_us // SECOND_US, EPOCH_S)
        hour_s = second - second % 3600
        before = int(self._first_id(np.array([hour_s // 3600]))[0]) + int(self._spans(hour_s, second).counts.sum())
        return before + int(np.searchsorted(self._seconds(second, second + 1).times_us, time_us))

    def _first_id(self, hours: Ints) -> Ints:
        return np.maximum(hours - EPOCH_S // 3600, 0) * self._per_1000_hours // 1000

    def _second_of(self, trade_id: int) -> int:
        hour_s = EPOCH_S + ((trade_id + 1) * 1000 - 1) // self._per_1000_hours * 3600
        spans = self._spans(hour_s, hour_s + 3600)
        return int(spans.starts[np.searchsorted(spans.first_ids, trade_id, side="right") - 1])

    def _spans(self, start_s: int, end_s: int) -> _Spans:
        """The seconds in [start, end) that have trades. Empty hours and minutes are dropped on the way down."""
        hours = np.arange(max(start_s, EPOCH_S) // 3600, max(-(-end_s // 3600), EPOCH_S // 3600))
        first_ids = self._first_id(hours)
        spans = _nonempty(_Spans(hours, first_ids, self._first_id(hours + 1) - first_ids), 0, end_s)
        spans = self._split(spans, "minute", _MINUTE_WEIGHTS, start_s // 60, -(-end_s // 60))
        return self._split(spans, "second", _SECOND_WEIGHTS, start_s, end_s)

    def _split(self, spans: _Spans, name: str, weights: Ints, start: int, end: int) -> _Spans:
        """Each span's trades over its 60 parts, those of [start, end) that get any."""
        parts = spans.starts[:, None] * 60 + np.arange(60)
        shares = weights[self._hash(name, parts) % len(weights)].cumsum(axis=1)
        ends = spans.counts[:, None] * shares // shares[:, -1:]
        counts = np.diff(ends, axis=1, prepend=0)
        first_ids = spans.first_ids[:, None] + ends - counts
        return _nonempty(_Spans(parts.ravel(), first_ids.ravel(), counts.ravel()), start, end)

    def _seconds(self, start_s: int, end_s: int) -> Trades:
        """The trades of whole seconds: start ≤ second < end."""
        spans = self._spans(start_s, end_s)
        count = int(spans.counts.sum())
        first_id = int(spans.first_ids[0]) if count else 0
        ids = np.arange(first_id, first_id + count)
        times_us = self._times_us(spans, ids)
        hashes = self._hash("trade", ids)
        buyer_makers = hashes & 1 == 1
        return Trades(
            ids, times_us, self._prices(times_us, hashes, buyer_makers), self._quantities(hashes), buyer_makers
        )

    def _times_us(self, spans: _Spans, ids: Ints) -> Ints:
        bursts = _SECOND_WEIGHTS[self._hash("second", spans.starts) % len(_SECOND_WEIGHTS)] == _BURST
        clusters = np.repeat(np.where(bursts, 3, 1 + spans.counts // 4), spans.counts).astype(np.uint64)
        apart_us = np.repeat(np.where(bursts, 571, 143), spans.counts)
        seconds = np.repeat(spans.starts, spans.counts)
        hashes = self._hash("time", ids)
        cluster = seconds * 2**24 + _small(hashes >> 8, clusters)
        offsets_us = _small(self._hash("cluster", cluster), 995_000) + _small(hashes, 8) * apart_us
        return np.sort(seconds * SECOND_US + offsets_us)

    def _prices(self, times_us: Ints, hashes: Hashes, buyer_makers: Bools) -> Ints:
        """A taker who sells gets the best bid or less, one who buys pays the best ask or more."""
        market, times_ms = self.market, times_us // 1000
        noise = np.zeros(len(times_ms), np.int64)
        for period_ms, millionths in _NOISE:
            steps, offsets = np.divmod(times_ms, period_ms)
            level, following = (self._level(period_ms, steps + ahead) for ahead in (0, 1))
            noise += (level * (period_ms - offsets) + following * offsets) // period_ms * millionths
        bids = market.price + market.price * noise // 2**15 * market.swing // 10**9
        depth = _small(hashes >> 8, 32) ** 2 * (market.price // 6_000) * np.where(hashes >> 16 & 1023 == 0, 20, 1)
        below = depth * market.swing // 1000 >> 11
        return np.maximum(np.where(buyer_makers, bids - below, bids + 1 + below), 1)

    def _level(self, period_ms: int, steps: Ints) -> Ints:
        """Noise at whole steps, in [-2^15, 2^15): one currency's price moves alike in all its markets."""
        level: Ints = _small(_hashed(f"{self._seed}/{self.market.base}/{period_ms}", steps), 2**16) - 2**15
        return level

    def _quantities(self, hashes: Hashes) -> Ints:
        """From a hundredth to a hundredfold of the market's middling quantity, evenly by magnitude."""
        doublings = _small(hashes >> 32, 8) + _small(hashes >> 40, 8)
        lots: Ints = self.market.quantity * (64 + _small(hashes >> 48, 64)) << doublings >> 13
        return np.maximum(lots, 1)

    def _hash(self, name: str, numbers: Ints) -> Hashes:
        return _hashed(f"{self._seed}/{self.market.venue}/{self.market.symbol}/{name}", numbers)


def _nonempty(spans: _Spans, start: int, end: int) -> _Spans:
    kept = (spans.counts > 0) & (spans.starts >= start) & (spans.starts < end)
    return _Spans(*(column[kept] for column in spans))


def _small(hashes: Hashes, below: Any) -> Ints:
    small: Ints = (hashes % below).astype(np.int64)
    return small


def _hashed(name: str, numbers: Ints) -> Hashes:
    """64 well-mixed bits (the finaliser of splitmix64) of each number, other ones for each name."""
    bits: Hashes = numbers.astype(np.uint64) * 0x9E3779B97F4A7C15 + _key(name)
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EB
    bits ^= bits >> 31
    return bits


@cache
def _key(name: str) -> np.uint64:
    return np.uint64(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little"))
