"""Which seconds were amended after they were over, in the order in which that became known. Pure.

Entries are numbered. A page that was away asks for those that came after the last one that it was told of, and where
they are no longer known, it is told to read everything anew.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterable
from itertools import islice

from market.bar import WIDTH_MS, Bar

MOST = 10_000

Key = tuple[str, str]
"""An exchange and a symbol."""


class Journal:
    """The newest entries."""

    def __init__(self, most: int = MOST) -> None:
        self.boot = secrets.token_hex(4)
        """Of this journal alone: what another process has numbered means nothing here."""
        self.epoch = 0
        """Grows when something may have been missed, or the table is another one."""
        self.sequence = 0
        """How many entries there were, ever."""
        self._entries: deque[tuple[Key, int]] = deque(maxlen=most)
        self._end_ms = 0

    def begin(self, end_ms: int) -> None:
        """Nothing that was told counts any more. The seconds before `end_ms` are over."""
        self.epoch += 1
        self._entries.clear()
        self._end_ms = end_ms

    def note(self, bars: Iterable[Bar]) -> None:
        """A commit: of its bars, those that are not the first ones of a second that had not been over."""
        end_ms = self._end_ms
        for bar in bars:
            if bar.revision or bar.timestamp < self._end_ms:
                self._entries.append(((bar.exchange, bar.symbol), bar.timestamp))
                self.sequence += 1
            end_ms = max(end_ms, bar.timestamp + WIDTH_MS)
        self._end_ms = end_ms

    def since(self, boot: str, epoch: int, sequence: int, key: Key) -> list[int] | None:
        """The starts of a symbol's seconds that were amended after that; None where that is not known."""
        missed = self.sequence - sequence
        if boot != self.boot or epoch != self.epoch or not 0 <= missed <= len(self._entries):
            return None
        if not missed:
            return []
        newest = islice(self._entries, len(self._entries) - missed, None)
        return [second for other, second in newest if other == key]
