"""Where the trades of each symbol have come to: so that whoever begins to listen gets those that come after. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from market.latest import Price
from market.trade import TRADE_ID_LIMIT, Trade
from serve.live.records import Key


class Place(NamedTuple):
    """Which trade of a symbol it is. Ids may begin anew, with later times; a time may be wrong, and ids go on."""

    trade_id: int
    timestamp: int

    def is_within(self, other: Place) -> bool:
        """Whether neither its id nor its time tells that it is newer than the other."""
        return self.trade_id <= other.trade_id and self.timestamp <= other.timestamp


def place_of(trade: Trade | Price) -> Place:
    """The place of a trade."""
    return Place(trade.trade_id, trade.timestamp)


def age(one: Trade | Price | Place) -> tuple[int, int]:
    """By which trades are sorted."""
    return one.timestamp, one.trade_id


class Places(Mapping[Key, Place]):
    """The newest trade of each symbol that has been heard of."""

    def __init__(self) -> None:
        self._newest: dict[Key, Place] = {}
        self.are_all = False
        """Whether a symbol that is not here has no trade."""

    def __getitem__(self, key: Key) -> Place:
        return self._newest[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._newest)

    def __len__(self) -> int:
        return len(self._newest)

    def before(self, key: Key, now_ms: int) -> Place:
        """What is not newer than this has come already. Where that cannot be known, the clock decides."""
        nothing = Place(-1, -1) if self.are_all else Place(TRADE_ID_LIMIT, now_ms)
        return self._newest.get(key, nothing)

    def begin(self, key: Key, first: Trade) -> None:
        """A symbol is heard of for the first time, by this trade, which is going to come."""
        self._newest[key] = Place(first.trade_id - 1, first.timestamp)

    def come(self, key: Key, trades: Iterable[Trade | Price]) -> None:
        """Some trades have come."""
        places = [*map(place_of, trades), *([self._newest[key]] if key in self._newest else [])]
        self._newest[key] = max(places, key=age)
