"""What the topic has to hold: the simulator's tape, trade by trade, in the form that a trade has in the topic.

The tape is a pure function of seed, rate, market and time, so nothing has to be recorded while the run goes on.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from simulator.markets import BINANCE, MARKETS, Market, fixed, plain, rates
from simulator.tape import SECOND_US, Tape

_BLOCK = 1024
_BLOCKS = 256
"""Blocks of trades that are kept: some for each market, so that trades in turn are not made again each time."""


class Key(NamedTuple):
    """A market as the topic names it."""

    exchange: str
    symbol: str


def key_of(market: Market) -> Key:
    """`BTC-USD` of the simulated Coinbase is BTCUSD of sim-coinbase."""
    return Key(f"sim-{market.venue}", market.symbol.replace("-", ""))


class Truth:
    """The trades of all markets of a simulator with this seed and rate."""

    def __init__(self, *, seed: int, rate: float) -> None:
        """`rate`: mean trades per second of all markets together."""
        self.tapes = {key_of(market): Tape(market, seed=seed, rate=share) for market, share in rates(rate).items()}
        self._blocks: OrderedDict[tuple[Key, int], list[dict[str, Any]]] = OrderedDict()

    def trade(self, key: Key, number: int) -> dict[str, Any]:
        """The trade with this id, as the topic has to hold it."""
        place = key, number // _BLOCK
        if place in self._blocks:
            self._blocks.move_to_end(place)
        else:
            first = place[1] * _BLOCK
            self._blocks[place] = self.trades(key, first, first + _BLOCK)
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        return self._blocks[place][number % _BLOCK]

    def trades(self, key: Key, first: int, end: int) -> list[dict[str, Any]]:
        """The trades with first ≤ id < end."""
        tape = self.tapes[key]
        market = tape.market
        text = fixed if market.venue == BINANCE else plain  # each exchange prints its numbers in its own way
        return [
            {
                "exchange": key.exchange,
                "symbol": key.symbol,
                "price": text(price, market.price_decimals),
                "quantity": text(quantity, market.quantity_decimals),
                "timestamp": time_us // 1000,
                "trade_id": number,
                "is_buyer_maker": buyer_maker,
            }
            for number, time_us, price, quantity, buyer_maker in tape.numbered(first, end).rows()
        ]

    def ids_before(self, time_us: int) -> dict[Key, int]:
        """For each market how many trades it had before a time, which is the id of the next one."""
        return {key: tape.count_before(time_us) for key, tape in self.tapes.items()}


def rate_for(least: float, *, seed: int, start_us: int, seconds: float) -> float:
    """The lowest rate from `least` upwards at which the markets make `least` trades a second in this very time.

    The tape's minutes are unequal, as a real market's are: a mean rate promises nothing for one of them.
    """
    end_us = start_us + round(seconds * SECOND_US)
    for tenths in range(10, 100):
        rate = least * tenths / 10
        truth = Truth(seed=seed, rate=rate)
        made = sum(truth.ids_before(end_us).values()) - sum(truth.ids_before(start_us).values())
        if made >= least * seconds:
            return rate
    raise ValueError(f"seed {seed} has too few trades in {seconds:g} s from {start_us} µs on, at any rate")


MARKET_KEYS = tuple(key_of(market) for market in MARKETS)
