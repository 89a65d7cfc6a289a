"""The exchange's clock: the wall clock, or one that starts where it is told and runs faster or slower."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

DEFAULT_START = "2024-01-01T00:00:00Z"
"""Where the clock of a sped-up exchange starts unless told otherwise."""


class Clock:
    """Exchange time in microseconds since the epoch."""

    def __init__(self, *, start_us: int | None = None, speed: float = 1.0) -> None:
        """Without a start and at speed 1 it is the wall clock; otherwise it starts when it is made."""
        if start_us is None and speed != 1.0:
            start_us = parse_us(DEFAULT_START)
        self.speed = speed
        self._start_us = start_us
        self._made_s = time.monotonic()

    def now_us(self) -> int:
        """The exchange's time now."""
        if self._start_us is None:
            return time.time_ns() // 1000
        return self._start_us + round((time.monotonic() - self._made_s) * self.speed * 1e6)


def parse_us(text: str) -> int:
    """An ISO time (UTC where it names no zone) as microseconds since the epoch. Raises `ValueError`."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1e6)


def iso(time_us: int, *, short: bool = False) -> str:
    """A time as ISO text in UTC with 6 digits of the second; `short`: without zeros at the end."""
    seconds, fraction = divmod(time_us, 1_000_000)
    text = f"{_iso_second(seconds)}.{fraction:06d}"
    return (text.rstrip("0").rstrip(".") if short else text) + "Z"


@lru_cache(maxsize=64)
def _iso_second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
