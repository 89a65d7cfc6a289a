"""What the faults make of one connection: of its frames, and of itself. Pure: texts in, texts and a fate out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import NamedTuple

from simulator.frames import (
    Frame,
    farewell,
    no_json,
    read_frame,
    truncated,
    unknown,
    with_number,
    with_offset,
    with_other_unit,
    with_zero_last_trade_id,
    without,
)
from simulator.markets import COINBASE
from simulator.schedule import Running

SWAP_S = 0.25
"""No swapped frame is held back longer."""
CUT, SILENCE, CLOSE = "cut", "silence", "close"
_SLOW = "ErrSlowConsume"


class Fate(NamedTuple):
    """How a connection ends."""

    how: str
    """CUT, SILENCE or CLOSE."""
    code: int = 0
    reason: str = ""


class Wire:
    """One connection, as the faults see it."""

    def __init__(self, venue: str, opened_s: float, *, combined: bool) -> None:
        """`combined`: whether it began with Binance's combined streams."""
        self._venue, self._opened_s, self._combined = venue, opened_s, combined
        self.extra_bytes = 0
        """Sent in oversized frames, which are nobody's backlog."""
        self._sent: dict[int, int] = {}
        """Frames sent since each fault that counts them began."""
        self._told: set[int] = set()
        """The shutdowns that the client knows of."""
        self._late: list[tuple[float, int, str]] = []
        self._held = 0
        self._swapped: dict[str, tuple[float, str]] = {}
        self._closes_s = math.inf

    @property
    def holds(self) -> bool:
        """Whether frames are held back."""
        return bool(self._late or self._swapped)

    def outgoing(self, texts: Iterable[str], faults: Iterable[Running], now_s: float) -> tuple[list[str], Fate | None]:
        """What is sent now in place of these frames, and whether it is cut off behind them."""
        mine = self._mine(faults)
        changing = [running for running in mine if running.fault.kind in _CHANGING]
        if changing or self._swapped:
            out: list[str] = []
            for text in texts:
                out += self._altered(read_frame(text), changing, now_s)
        else:
            out = list(texts)
        return self._until_cut(out, mine)

    def due(self, faults: Iterable[Running], now_s: float) -> tuple[list[str], Fate | None]:
        """What was held back until now, and whether the connection is cut off behind it."""
        out: list[str] = []
        while self._late and self._late[0][0] <= now_s:
            out.append(heappop(self._late)[2])
        for symbol, (due_s, text) in list(self._swapped.items()):
            if due_s <= now_s:
                del self._swapped[symbol]
                out.append(text)
        return self._until_cut(out, self._mine(faults))

    def swept(
        self, faults: Iterable[Running], now_s: float, *, unread_bytes: int, exchange_ms: int
    ) -> tuple[list[str], Fate | None]:
        """What is said beside the frames, and what becomes of the connection."""
        words: list[str] = []
        for running in self._mine(faults):
            fault = running.fault
            if fault.kind == "silence" or (fault.kind == "cut" and "frame" not in fault.own):
                running.strike()
                return words, Fate(SILENCE if fault.kind == "silence" else CUT)
            if fault.kind == "server_shutdown" and running.number not in self._told:
                running.strike()
                self._told.add(running.number)
                self._closes_s = min(self._closes_s, now_s + fault.own["delay_s"])
                words.append(farewell(self._combined, exchange_ms))
            elif fault.kind == "short_life" and now_s >= max(self._opened_s, running.begin_s) + fault.own["life_s"]:
                running.strike()
                return words, Fate(CLOSE, 1001)
            elif fault.kind == "slow_reader" and unread_bytes > fault.own["bytes"]:
                running.strike()
                if self._venue == COINBASE:
                    words.append(f'{{"type":"error","message":"{_SLOW}"}}')
                return words, Fate(CLOSE, 1008, _SLOW)
        return words, Fate(CLOSE, 1001) if now_s >= self._closes_s else None

    def takes_form(self, texts: list[str]) -> None:
        """Learn from the last frame whether the streams are combined: the client may have changed it."""
        if texts and texts[-1].startswith(('{"stream":', '{"e":')):
            self._combined = texts[-1].startswith('{"stream":')

    def _mine(self, faults: Iterable[Running]) -> list[Running]:
        return [running for running in faults if self._venue in running.fault.venues]

    def _altered(self, frame: Frame, faults: list[Running], now_s: float) -> list[str]:
        kept = _kept(frame, faults)
        if kept is None:
            return []
        frame, text = kept, kept.text
        for running in faults:
            changed = _shifted(running, frame, text)
            if changed != text:
                running.strike()
                text = changed
        if not frame.trades:
            return [text]
        symbol = frame.trades[0][0]
        before: list[str] = []
        copies, delay_s, swaps = 1, 0.0, False
        for running in faults:
            kind, seed = running.fault.kind, running.fault.seed
            if kind not in _STRIKING or (kind == "swap" and symbol in self._swapped) or not running.strikes(frame):
                continue
            if kind == "duplicate_ids":
                copies += 1
            elif kind == "swap":
                swaps = True
            elif kind == "late":
                delay_s = max(delay_s, running.fault.own["delay_s"])
            elif kind == "unknown_event":
                before.append(unknown(frame))
            elif kind == "oversized":
                size = int(running.fault.own["bytes"])
                self.extra_bytes += size
                before.append(unknown(frame, size))
            elif kind == "malformed":
                text = no_json(seed, text)
            elif kind == "truncated":
                text = truncated(seed, text)
            elif kind == "wrong_unit":
                text = with_other_unit(text)
            else:
                text = with_number(text)
        if delay_s:
            for _ in range(copies):
                self._held += 1
                heappush(self._late, (now_s + delay_s, self._held, text))
            return before
        if swaps:
            self._swapped[symbol] = now_s + SWAP_S, text
            return before + [text] * (copies - 1)
        _, swapped = self._swapped.pop(symbol, (0.0, None))
        return before + [text] * copies + ([] if swapped is None else [swapped])

    def _until_cut(self, out: list[str], faults: list[Running]) -> tuple[list[str], Fate | None]:
        for running in faults:
            fault = running.fault
            if fault.kind == "cut" and "frame" in fault.own and not running.over:
                left = int(fault.own["frame"]) - self._sent.get(running.number, 0)
                if len(out) >= left:
                    running.strike()
                    return out[:left], Fate(CUT)
                self._sent[running.number] = self._sent.get(running.number, 0) + len(out)
        return out, None


_STRIKING = frozenset(
    (
        *("duplicate_ids", "swap", "late", "unknown_event", "oversized"),
        *("malformed", "truncated", "wrong_unit", "number"),
    )
)
"""Those that strike frames with trades one by one."""
_CHANGING = _STRIKING | {"drop_ids", "silent_symbol", "clock_offset", "zero_last_trade_id"}
"""Those for which frames have to be read."""


def _kept(frame: Frame, faults: list[Running]) -> Frame | None:
    """The frame without what is withheld, None where nothing is left of it."""
    kept: Frame | None = frame
    for running in faults:
        kind, before = running.fault.kind, kept
        if kept is None or kind not in ("silent_symbol", "drop_ids"):
            continue
        if running.fault.probability is None:
            running.pick(kept)
        if kind == "drop_ids":
            running.begin_ids(kept)
            kept = without(kept, running.withholds)
        elif running.symbol in kept.symbols:
            kept = without(kept, running.silences) if kept.trades else None
        if before is not kept and before is not None:
            running.strike(len(before.trades) - len(kept.trades if kept else ()) or 1)
    return kept


def _shifted(running: Running, frame: Frame, text: str) -> str:
    """A frame under the faults that change what all frames of a time say."""
    if running.fault.kind == "clock_offset":
        return with_offset(frame, text, int(running.fault.own["ms"]))
    if running.fault.kind == "zero_last_trade_id" and frame.heartbeat:
        return with_zero_last_trade_id(text)
    return text
