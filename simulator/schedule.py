"""Which faults there are at a time, and how often each has struck. Pure: `now_s` is a clock that never goes back."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from simulator.faults import Fault
from simulator.frames import Frame, draw

_BANS = ("rest_429", "rest_418")
_PICKED = 1 / 8
"""How likely a frame's symbol becomes the random one, so that it need not be that of the very first frame."""
_LINGER_S = 1.0
"""Ids stay withheld so long after the first id behind them, as another connection may get them later."""


class Running:
    """A fault that has been posted, and what it has done so far."""

    def __init__(self, number: int, fault: Fault, posted_s: float, totals: Counter[str]) -> None:
        self.number, self.fault = number, fault
        self.begin_s = posted_s + fault.at_s
        self.end_s = math.inf if fault.for_s is None else self.begin_s + fault.for_s
        self.struck = 0
        self.symbol = fault.symbol
        """What it concerns; None also before a random one is picked."""
        self.first_id: int | None = None
        """Of drop_ids: the first one withheld."""
        self.passed = False
        """Of drop_ids: whether the ids are past."""
        self.bans: dict[str, float] = {}
        """Of rest_429 and rest_418: until when each venue's client has to wait."""
        self._drawn = 0
        self._totals = totals

    @property
    def over(self) -> bool:
        """Whether it has struck as often as it shall."""
        if self.fault.kind == "drop_ids" or self.fault.kind in _BANS:
            return False  # these end by the time
        if self.fault.count is not None:
            return self.struck >= self.fault.count
        return self.fault.once and self.struck > 0

    def strike(self, times: int = 1) -> None:
        """Note that it has struck."""
        self.struck += times
        self._totals[self.fault.kind] += times

    def strikes_next(self) -> bool:
        """Whether it strikes the next handshake or request, which count as one another's equals; notes it."""
        self._drawn += 1
        return self._strikes(str(self._drawn))

    def strikes(self, frame: Frame) -> bool:
        """Whether it strikes a frame with trades; notes it."""
        return (self.symbol is None or self.symbol in frame.symbols) and self._strikes(frame.text)

    def _strikes(self, what: str) -> bool:
        probability = self.fault.probability
        if self.over or (probability is not None and draw(self.fault.seed, self.fault.kind, what) >= probability):
            return False
        self.strike()
        return True

    def pick(self, frame: Frame) -> None:
        """Of a random symbol: perhaps take this frame's."""
        if self.symbol is None and frame.trades and draw(self.fault.seed, "symbol", frame.text) < _PICKED:
            self.symbol = frame.trades[0][0]

    def begin_ids(self, frame: Frame) -> None:
        """Of drop_ids: withhold from the first of the symbol's trades in this frame on, if nothing is withheld yet."""
        numbers = [number for symbol, number in frame.trades if symbol == self.symbol]
        if self.first_id is None and numbers and not frame.recalls:
            self.first_id = min(numbers)

    def silences(self, symbol: str, _number: int) -> bool:
        """Of silent_symbol: whether a trade is not sent now."""
        return symbol == self.symbol

    def withholds(self, symbol: str, number: int) -> bool:
        """Of drop_ids: whether a trade is never sent."""
        fault = self.fault
        if fault.probability is not None:
            return fault.symbol in (None, symbol) and draw(fault.seed, "id", f"{symbol}/{number}") < fault.probability
        if self.first_id is None or symbol != self.symbol:
            return False
        count = fault.count or 1
        self.passed = self.passed or number >= self.first_id + count
        return self.first_id <= number < self.first_id + count


class Schedule:
    """The faults of a simulator, also those of an endless script."""

    def __init__(self) -> None:
        self.struck: Counter[str] = Counter()
        """How often each kind has struck since the start."""
        self._active: tuple[Running, ...] = ()
        self._coming: list[Running] = []
        self._next_s = math.inf
        """When the next fault begins or ends."""
        self._script: Iterator[Fault] = iter(())
        self._script_began_s = 0.0
        self._script_next: Running | None = None
        self._posted = 0

    def add(self, faults: Iterable[Fault], now_s: float) -> list[Running]:
        """Let these come; their times count from now."""
        added = [self._running(fault, now_s) for fault in faults]
        for running in added:
            insort(self._coming, running, key=lambda coming: coming.begin_s)
        self._next_s = now_s
        return added

    def follow(self, script: Iterator[Fault], now_s: float) -> None:
        """Let these come too, however many they are, in the order of their times, which count from now."""
        self._script, self._script_began_s = script, now_s
        self._pull()

    def clear(self) -> None:
        """End all, and the script."""
        self._active, self._coming, self._script, self._script_next = (), [], iter(()), None
        self._next_s = math.inf

    def active(self, now_s: float) -> tuple[Running, ...]:
        """Those there are now, in the order in which they began."""
        if now_s >= self._next_s:
            self._refresh(now_s)
        return self._active

    def swept(self, now_s: float) -> None:
        """Note that all connections have had the chance to be struck: what strikes once and has struck is over."""
        for running in self._active:
            if running.passed:
                self.end(running, now_s + _LINGER_S)
            if running.over:
                self._next_s = now_s

    def end(self, running: Running, at_s: float) -> None:
        """Let a fault end at a time, or earlier if it does so already."""
        running.end_s = min(running.end_s, at_s)
        self._next_s = min(self._next_s, at_s)

    def shown(self, now_s: float) -> list[dict[str, Any]]:
        """The active ones and the coming ones, as they were written, and how often each has struck."""
        active = self.active(now_s)
        return [show(running, now_s) for running in (*active, *self._coming)]

    def _refresh(self, now_s: float) -> None:
        active = list(self._active)
        while self._coming and self._coming[0].begin_s <= now_s:
            begun = self._coming.pop(0)
            active.append(begun)
            if begun is self._script_next:
                self._pull()
        self._active = tuple(running for running in active if now_s < running.end_s and not running.over)
        coming_s = self._coming[0].begin_s if self._coming else math.inf
        self._next_s = min([coming_s, *(running.end_s for running in self._active)])

    def _pull(self) -> None:
        fault = next(self._script, None)
        self._script_next = None if fault is None else self._running(fault, self._script_began_s)
        if self._script_next:
            insort(self._coming, self._script_next, key=lambda coming: coming.begin_s)
            self._next_s = min(self._next_s, self._script_next.begin_s)

    def _running(self, fault: Fault, posted_s: float) -> Running:
        self._posted += 1
        return Running(self._posted, fault, posted_s, self.struck)


def show(running: Running, now_s: float) -> dict[str, Any]:
    """A fault as it was written, with its number, its state, and how often it has struck."""
    state = "active" if running.begin_s <= now_s else "coming"
    return {**running.fault.spec, "number": running.number, "state": state, "struck": running.struck}
