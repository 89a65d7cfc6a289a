"""The budget of requests to one exchange: a token bucket of request weight. Pure."""

from __future__ import annotations

_BURST_OF_A_MINUTE = 1 / 4
_NOTHING_LEFT_S = 10.0
_GRAIN = 1e-6  # of weight: below it nothing is lacking, or rounding would make the last wait endless


class Budget:
    """What may be spent now: it fills steadily, up to a small reserve, and is set right by what the exchange counts.

    The reserve is one second's worth: an exchange that counts by the second allows no more. One that tells what it has
    counted in the running minute counts by the minute, and there a quarter of the minute's worth may go at once.
    `now_s` is any clock that never goes back.
    """

    def __init__(self, weight_per_minute: int, now_s: float) -> None:
        self.used: int | None = None
        """What the exchange has counted for our address in its running minute, where it tells it."""
        self._per_minute = weight_per_minute
        self._per_s = weight_per_minute / 60
        self._reserve = max(self._per_s, 1.0)
        self._left = self._reserve
        self._as_of_s = now_s
        self._unanswered = 0

    def wait_s(self, weight: int, now_s: float) -> float:
        """Seconds until so much may be spent; 0: now. What weighs more than the reserve waits until that is full."""
        self._fill(now_s)
        lacking = min(weight, self._reserve) - self._left
        return lacking / self._per_s if lacking > _GRAIN else 0.0

    def spend(self, weight: int, now_s: float) -> None:
        """A request goes out."""
        self._fill(now_s)
        self._left -= weight
        self._unanswered += weight

    def answered(self, weight: int, used: int | None, now_s: float) -> None:
        """It has been answered, or has failed; `used`: what the exchange says it has counted in this minute."""
        self._fill(now_s)
        self._unanswered -= weight
        if used is None:
            return
        if self.used is None:
            longer = self._per_minute * _BURST_OF_A_MINUTE
            self._left += max(longer - self._reserve, 0.0)
            self._reserve = max(longer, self._reserve)
        self.used = used
        rest = self._per_minute - used - self._unanswered
        # Others may use the same address. Where nothing is left, only the next minute helps, and nobody tells when it
        # begins: look for it now and then, with little.
        self._left = min(self._left, rest) if rest > 0 else -self._per_s * _NOTHING_LEFT_S

    def _fill(self, now_s: float) -> None:
        self._left = min(self._left + (now_s - self._as_of_s) * self._per_s, self._reserve)
        self._as_of_s = now_s
