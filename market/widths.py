"""The widths of bars that are served, by the names that exchanges give them.

Each is a multiple of the seconds that the table holds, and divides a day: intervals begin at multiples of their width,
so that none reaches over midnight (UTC), and a day of seconds makes whole intervals of every width.
"""

from __future__ import annotations

from collections.abc import Mapping

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
LATEST_MS = 253_402_300_799_999
"""The end of the year 9999: no time that is asked for is later."""

WIDTHS: Mapping[str, int] = {
    "1s": SECOND_MS,
    "1m": MINUTE_MS,
    "3m": 3 * MINUTE_MS,
    "5m": 5 * MINUTE_MS,
    "15m": 15 * MINUTE_MS,
    "30m": 30 * MINUTE_MS,
    "1h": HOUR_MS,
    "2h": 2 * HOUR_MS,
    "4h": 4 * HOUR_MS,
    "6h": 6 * HOUR_MS,
    "8h": 8 * HOUR_MS,
    "12h": 12 * HOUR_MS,
    "1d": DAY_MS,
}


def start_of(time_ms: int, width_ms: int) -> int:
    """The start of the interval of this width in which a time lies."""
    return time_ms - time_ms % width_ms


def next_start(time_ms: int, width_ms: int) -> int:
    """The start of the first interval of this width that begins at a time or after it."""
    return time_ms + -time_ms % width_ms
