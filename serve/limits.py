"""How often one address may ask: a bucket of tokens for each, that fills again with time. Times are of any clock that
only goes on."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")

BURST_S = 2.0
"""A pause is made up for with so many seconds' worth of requests at once."""
_ROUNDING = 1e-9
"""Of a token, at most: who has waited as long as was said may ask, whatever fractions add up to."""
ADDRESSES = 10_000


class ByAddress(Generic[T]):
    """What is known of each address. Of more than so many, the one that was heard of longest ago is forgotten."""

    def __init__(self, most: int = ADDRESSES) -> None:
        self._most = most
        self._known: OrderedDict[str, T] = OrderedDict()

    def get(self, address: str, default: T) -> T:
        """What is known of an address."""
        return self._known.get(address, default)

    def put(self, address: str, what: T) -> None:
        """This is known now of an address that was just heard of."""
        self._known[address] = what
        self._known.move_to_end(address)
        if len(self._known) > self._most:
            self._known.popitem(last=False)


class Limits:
    """The buckets."""

    def __init__(self, per_s: float, addresses: int = ADDRESSES) -> None:
        """`per_s` requests per second; 0: any number."""
        self._per_s = per_s
        self._most = max(per_s * BURST_S, 1.0)
        self._buckets: ByAddress[tuple[float, float]] = ByAddress(addresses)

    def wait_s(self, address: str, now_s: float) -> float:
        """0 where the address may ask now, and has then asked; else how long it has to wait."""
        if not self._per_s:
            return 0.0
        tokens, then_s = self._buckets.get(address, (self._most, now_s))
        tokens = min(tokens + (now_s - then_s) * self._per_s, self._most)
        allowed = tokens >= 1 - _ROUNDING
        self._buckets.put(address, (tokens - 1 if allowed else tokens, now_s))
        return 0.0 if allowed else (1 - tokens) / self._per_s
