"""How much the exchanges take: Binance's weight of a minute with its bans, and Coinbase's token bucket.

All clients count as one, as all requests from one address do. Pure: `now_s` is a clock that never goes back.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LONGEST_BAN_S = 3 * 86_400.0
"""Bans "scale in duration for repeat offenders, from 2 minutes to 3 days" (binance-spot-api-docs, "IP Limits")."""

OK, TOO_MANY, BANNED = 200, 429, 418


class Verdict(NamedTuple):
    """What becomes of a request."""

    status: int
    used: int
    """The weight of this minute's requests, this one included: the header X-MBX-USED-WEIGHT-1M."""
    retry_after_s: int
    """In which more requests will be refused; 0 for a request that is answered."""


class WeightMeter:
    """Binance's limit: beyond so much weight in a minute 429, and who goes on asking nevertheless is banned.

    Refused requests weigh too. The general limit of 61,000 requests in 5 minutes cannot be reached below the other.
    """

    def __init__(self, *, limit: int, minute_s: float, patience: int, ban_s: float) -> None:
        """`patience`: how many requests of a minute are answered by 429 before a ban, which lasts `ban_s` at first."""
        self.limit = limit
        self._minute_s, self._patience, self._ban_s = minute_s, patience, ban_s
        self._ends_s = self._banned_until_s = -math.inf
        self._used = self._refused = 0

    def add(self, weight: int, now_s: float) -> Verdict:
        """Count a request. The minute is one from the first request on, not the clock's."""
        if now_s >= self._ends_s:
            self._ends_s, self._used, self._refused = now_s + self._minute_s, 0, 0
        self._used += weight
        if now_s >= self._banned_until_s:
            if self._used <= self.limit:
                return Verdict(OK, self._used, 0)
            self._refused += 1
            if self._refused <= self._patience:
                return Verdict(TOO_MANY, self._used, math.ceil(self._ends_s - now_s))
            self._banned_until_s = now_s + self._ban_s
            self._ban_s = min(2 * self._ban_s, LONGEST_BAN_S)
        return Verdict(BANNED, self._used, math.ceil(self._banned_until_s - now_s))


class TokenBucket:
    """Coinbase's limit, "a lazy-fill token bucket": so many requests a second, half as many more in a burst."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens = self._burst = 1.5 * per_s
        self._filled_s = 0.0

    def take(self, now_s: float) -> bool:
        """Whether a request is answered, which costs a token."""
        self._tokens = min(self._tokens + (now_s - self._filled_s) * self._per_s, self._burst)
        self._filled_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
