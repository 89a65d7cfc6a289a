"""When to try again what failed: soon at first, then ever less often, and never less than every two seconds."""

from __future__ import annotations

import time

SHORTEST_S, LONGEST_S = 0.1, 2.0


class Retry:
    """What fails, and since when. A new one stands for success."""

    def __init__(self) -> None:
        self.error = ""
        self._began = time.monotonic()
        self._pause_s = 0.0
        self._due = 0.0

    @property
    def has_failed(self) -> bool:
        """Whether there was a failure."""
        return self._pause_s > 0

    @property
    def seconds(self) -> float:
        """Since the first failure."""
        return time.monotonic() - self._began

    def is_due(self) -> bool:
        """Whether it is time for the next attempt."""
        return time.monotonic() >= self._due

    def failed(self, error: str = "") -> None:
        """Once more; wait, each time longer."""
        now = time.monotonic()
        if not self.has_failed:
            self._began = now
        self._pause_s = min(max(SHORTEST_S, 2 * self._pause_s), LONGEST_S)
        self._due = now + self._pause_s
        self.error = error or self.error
