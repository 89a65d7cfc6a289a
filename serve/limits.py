"""How often one address may ask: a bucket of tokens for each, that fills again with time."""

from __future__ import annotations

from collections import OrderedDict

BURST_S = 2.0
"""A pause is made up for with so many seconds' worth of requests at once."""
_ROUNDING = 1e-9
"""Of a token, at most: who has waited as long as was said may ask, whatever fractions add up to."""
ADDRESSES = 10_000
"""Addresses that are remembered; of more, the one that asked longest ago is forgotten."""


class Limits:
    """The buckets. Times are of any clock that only goes on."""

    def __init__(self, per_s: float) -> None:
        """`per_s` requests per second; 0: any number."""
        self._per_s = per_s
        self._most = max(per_s * BURST_S, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str, now_s: float) -> float:
        """0 where the address may ask now, and has then asked; else how long it has to wait."""
        if not self._per_s:
            return 0.0
        tokens, then_s = self._buckets.get(address, (self._most, now_s))
        tokens = min(tokens + (now_s - then_s) * self._per_s, self._most)
        allowed = tokens >= 1 - _ROUNDING
        self._buckets[address] = (tokens - 1 if allowed else tokens, now_s)
        self._buckets.move_to_end(address)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self._per_s
