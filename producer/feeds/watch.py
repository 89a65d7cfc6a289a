"""What silence and clocks can tell: which symbols to ask about, and how far off an exchange's clock is. Pure.

`…_s` are seconds of one clock of ours that never goes back.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import floor
from typing import NamedTuple

SILENCE_S = 60.0
LONGEST_SILENCE_S = 600.0
SUSPICION_S = 5.0

DRIFT = 1e-4
"""How fast two clocks may drift apart: 100 µs per second is a bad quartz."""
_KEPT = 8


class Quiet:
    """Which symbols have been silent for so long that the exchange is to be asked whether it has traded them.

    A stream can stop inside a live connection, and an unknown symbol is acknowledged and never heard of. But a market
    may rest: each time that the exchange has nothing new to tell, the next question comes later.
    """

    def __init__(
        self, *, silence_s: float = SILENCE_S, longest_s: float = LONGEST_SILENCE_S, suspicion_s: float = SUSPICION_S
    ) -> None:
        self._silence_s = silence_s
        self._longest_s = longest_s
        self._suspicion_s = suspicion_s
        self._heard_s: dict[str, float] = {}
        self._asked: dict[str, tuple[float, float]] = {}  # since when we wait, and for how long

    def heard(self, symbol: str, now_s: float) -> None:
        """The symbol traded. Called for each trade, so it does next to nothing."""
        self._heard_s[symbol] = now_s

    def suspect(self, symbols: Iterable[str], now_s: float) -> None:
        """These may have traded unheard, as after a reconnect, or may be dead from the start: ask about them soon."""
        for symbol in symbols:
            self._heard_s.setdefault(symbol, float("-inf"))
            self._asked[symbol] = now_s, self._suspicion_s

    def due(self, now_s: float) -> list[str]:
        """The symbols to ask about now. Each is named again when its time has passed once more, answered or not."""
        due = []
        for symbol, heard_s in self._heard_s.items():
            since_s, wait_s = self._waits(symbol, heard_s)
            if now_s - since_s >= wait_s:
                due.append(symbol)
                self._asked[symbol] = now_s, max(wait_s, self._silence_s)
        return due

    def answered(self, symbol: str, missed: bool, now_s: float) -> None:
        """The exchange has answered; `missed`: it has traded the symbol, and did not tell us."""
        asked_s, wait_s = self._asked.get(symbol, (float("-inf"), self._silence_s))
        if missed or self._heard_s.setdefault(symbol, float("-inf")) >= asked_s:
            self._asked[symbol] = now_s, self._silence_s
        else:
            self._asked[symbol] = now_s, min(wait_s * 2, self._longest_s)

    def silent_for_s(self, symbol: str, now_s: float) -> float:
        """How long the symbol has not traded, as far as we have heard; infinite: it never has."""
        return now_s - self._heard_s.get(symbol, float("-inf"))

    def _waits(self, symbol: str, heard_s: float) -> tuple[float, float]:
        asked_s, wait_s = self._asked.get(symbol, (float("-inf"), self._silence_s))
        return (heard_s, self._silence_s) if heard_s >= asked_s else (asked_s, wait_s)


class _Reading(NamedTuple):
    offset_ms: float
    error_ms: float
    read_s: float

    def error_at(self, now_s: float) -> float:
        """It gets worse with age: the clocks drift apart."""
        return self.error_ms + max(now_s - self.read_s, 0.0) * DRIFT * 1000


class Skew:
    """An exchange's clock less ours, by the times at which we asked it and had its answer.

    The answer was written at some moment between the two, so that the middle is off by half the round trip at most.
    The best of the last readings counts. One that contradicts it shows that a clock was set: then the older ones are
    worth nothing. Ours is the clock that never goes back, and its zero is arbitrary: only `time_ms` has a meaning, and
    `ahead_ms` against a wall clock.
    """

    def __init__(self, keep: int = _KEPT) -> None:
        self._readings: deque[_Reading] = deque(maxlen=keep)

    def add(self, sent_s: float, received_s: float, server_ms: int) -> None:
        """The exchange told its time, in whole ms, in an answer to a request. Raises ValueError for times turned round.

        Its clock has been anywhere in that ms, so half of one is added to what it told and to the error.
        """
        if received_s < sent_s:
            raise ValueError(f"received at {received_s} s, before it was sent at {sent_s} s")
        middle_s, half_ms = (sent_s + received_s) / 2, (received_s - sent_s) * 500
        reading = _Reading(server_ms + 0.5 - middle_s * 1000, half_ms + 0.5, received_s)
        best = self._best(received_s)
        if best and abs(reading.offset_ms - best.offset_ms) > reading.error_ms + best.error_at(received_s):
            self._readings.clear()
        self._readings.append(reading)

    def offset_ms(self, now_s: float) -> float | None:
        """The exchange's clock less ours; None before the first reading."""
        best = self._best(now_s)
        return best and best.offset_ms

    def error_ms(self, now_s: float) -> float | None:
        """By how much that may be wrong, either way."""
        best = self._best(now_s)
        return best and best.error_at(now_s)

    def time_ms(self, now_s: float) -> float | None:
        """The exchange's time, give or take the error."""
        best = self._best(now_s)
        return best and now_s * 1000 + best.offset_ms

    def earliest_ms(self, now_s: float) -> int | None:
        """A time that the exchange's clock has reached for certain: the safe side for a heartbeat."""
        best = self._best(now_s)
        return best and floor(now_s * 1000 + best.offset_ms - best.error_at(now_s))

    def ahead_ms(self, now_s: float, wall_ms: float) -> float | None:
        """How far the exchange's clock is ahead of a wall clock that shows `wall_ms` now: a metric, not a truth."""
        time_ms = self.time_ms(now_s)
        return None if time_ms is None else time_ms - wall_ms

    def _best(self, now_s: float) -> _Reading | None:
        return min(self._readings, key=lambda reading: reading.error_at(now_s), default=None)
