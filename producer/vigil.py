"""Which symbols may have traded unheard: after a break of the connection, by a jump in its count, or by long silence.

They are asked about over REST, unless they are heard of first. Until then a heartbeat would promise too much.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Never

from producer.feeds.watch import Quiet
from producer.streams import Streams

_LOOK_S = 1.0


class Vigil:
    """The watch over the streams of one exchange."""

    def __init__(self, streams: Streams, *, probe: Callable[[str], Awaitable[bool]], deaf: Callable[[], bool]) -> None:
        """`probe` asks the exchange about a symbol, and says whether trades were missed; `deaf`: it is we who do not
        listen now."""
        self.suspects: set[str] = set()
        """Symbols that may have traded unheard."""
        self._streams = streams
        self._probe = probe
        self._deaf = deaf
        self._quiet = Quiet()
        self._breaks = streams.breaks()

    def heard(self, symbol: str, now_s: float) -> None:
        """A trade of the symbol came by a stream: if others came before it, their absence shows now."""
        self._quiet.heard(symbol, now_s)
        if self.suspects:
            self.suspects.discard(symbol)

    def is_unheard(self, symbol: str) -> bool:
        """Whether nothing has ever been heard of it."""
        return self._quiet.silent_for_s(symbol, time.monotonic()) == float("inf")

    def suspect(self, number: int) -> None:
        """Anything that a feed brings may have traded unheard."""
        symbols = self._streams.symbols(number)
        self.suspects.update(symbols)
        self._quiet.suspect(symbols, time.monotonic())

    def expect(self, symbols: list[str]) -> None:
        """Ask about these soon, unless they are heard of: a stream may be dead from the start."""
        self._quiet.suspect(symbols, time.monotonic())

    def notice_breaks(self) -> bool:
        """Whether a connection was broken since the last look. What came meanwhile shows at the next trade, if any."""
        before, self._breaks = self._breaks, self._streams.breaks()
        broken = [number for number, (was, now) in enumerate(zip(before, self._breaks, strict=True)) if now > was]
        for number in broken:
            self.suspect(number)
        return bool(broken)

    async def run(self) -> Never:
        """Ask about who is silent or under suspicion, for ever; make anew what does not bring what it should."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.notice_breaks()
            if self._deaf():
                continue
            for symbol in self._quiet.due(time.monotonic()):
                missed = await self._probe(symbol)
                self._quiet.answered(symbol, missed, time.monotonic())
                self.suspects.discard(symbol)
                if missed:
                    self._streams.renew(symbol)
