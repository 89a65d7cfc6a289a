"""Streams that many listen to: each event is made once, however many want it. What runs is asked of `serve.live`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import NamedTuple

from market.bar import Bar
from serve.binance.frames import combined, kline_event, mini_ticker_event, ticker_event
from serve.binance.klines import line_of
from serve.binance.outbox import Outbox
from serve.binance.service import Service
from serve.binance.shapes import Day
from serve.binance.streams import TICKER, Stream
from serve.running import floored

CATCH_UP = 1_000
"""Intervals that are told as finished at once, at most: the newest ones."""
HOLD_MS = 15_000
"""For so long an interval that lacks trades is not told as final: after an outage they come late, and are amended."""
SPARSE = {"binance-usdm"}
"""Exchanges that leave out numbers: of their trades nobody can say that one is missing."""


class Listener(NamedTuple):
    """How one client wants the events of one stream."""

    outbox: Outbox
    name: str
    """Of the stream, for combined events."""
    is_combined: bool
    unit_us: int


class Feed:
    """One stream of one exchange, and who listens to it."""

    def __init__(self) -> None:
        self.listeners: set[Listener] = set()

    def send(self, event: Callable[[int], str]) -> None:
        """Send an event, which is made once for each form that somebody wants: so many listeners share one text."""
        made: dict[tuple[int, str], str] = {}
        for listener in self.listeners:
            form = listener.unit_us, listener.name if listener.is_combined else ""
            frame = made.get(form)
            if frame is None:
                text = event(listener.unit_us)
                frame = made[form] = combined(listener.name, text) if listener.is_combined else text
            listener.outbox.put(frame)


class KlineFeed(Feed):
    """`@kline_…`: what runs, again and again, and each interval once more when the table has it, as final.

    An interval is told before the next one begins, so that clients who go by the order of first appearance keep it. Its
    final form comes when its seconds are in the table, a few seconds behind the first forms of the next interval; where
    nobody traded, when that is known: its feed may be silent, and not the market.
    """

    def __init__(self, service: Service, key: tuple[str, str], stream: Stream) -> None:
        super().__init__()
        self._service, self._key, self._stream = service, key, stream
        self._width_ms, self._phase_ms = stream.width_ms, stream.phase_ms
        self._final_ms = min(self._finished_ms(), self._floored(service.live.known_ms(key)))
        """Intervals that begin before this were told as final, or before anybody listened."""
        self._shown: dict[int, Bar] = {}
        self._lock = asyncio.Lock()

    async def finish(self) -> None:
        """Send the intervals that have become final. Raises `BarsAway`."""
        async with self._lock:
            await self._finish()

    async def run(self) -> None:
        """Send what runs. Raises `BarsAway`."""
        async with self._lock:
            await self._finish()
            line = await line_of(self._service.bars, self._service.live, *self._key, self._width_ms, self._phase_ms)
            bars = await line.since(self._final_ms, CATCH_UP)
            for bar in bars:
                if bar is bars[-1] or self._shown.get(bar.timestamp) != bar:
                    self._send(bar, closed=False)
            self._shown = {bar.timestamp: bar for bar in bars}

    async def _finish(self) -> None:
        end_ms = self._finished_ms()
        if end_ms <= self._final_ms:
            return
        if self._final_ms <= 0:  # there was no table yet: its past is not told
            self._final_ms = end_ms
            return
        start_ms = max(self._final_ms, end_ms - CATCH_UP * self._width_ms)
        line = await line_of(self._service.bars, self._service.live, *self._key, self._width_ms, self._phase_ms)
        end_ms = min(end_ms, self._floored(line.known_ms))
        for bar in await line.first(start_ms, end_ms - self._width_ms, CATCH_UP):
            if bar.timestamp > start_ms and self._is_held(start_ms):
                break
            if bar.missing_trades and self._is_held(bar.timestamp):
                start_ms = bar.timestamp
                break
            self._send(bar, closed=True)
            start_ms = bar.timestamp + self._width_ms
        else:
            if start_ms < end_ms and not self._is_held(start_ms):
                start_ms = end_ms
        self._final_ms = max(start_ms, self._final_ms)

    def _is_held(self, start_ms: int) -> bool:
        """Whether an interval that lacks trades may yet get them."""
        is_young = start_ms + self._width_ms > self._service.live.closed_ms - HOLD_MS
        return is_young and self._key[0] not in SPARSE

    def _finished_ms(self) -> int:
        return self._floored(self._service.live.closed_ms)

    def _floored(self, time_ms: int) -> int:
        return floored(time_ms, self._width_ms, self._phase_ms)

    def _send(self, bar: Bar, *, closed: bool) -> None:
        event_ms, interval, width_ms = self._service.now_ms(), self._stream.interval, self._width_ms
        self.send(lambda unit_us: kline_event(bar, interval, width_ms, event_ms, unit_us, closed=closed))


class DayFeed(Feed):
    """`@miniTicker` and `@ticker`: 24 hours, again and again."""

    def __init__(self, service: Service, stream: Stream) -> None:
        super().__init__()
        self._service = service
        self._event = ticker_event if stream.kind == TICKER else mini_ticker_event

    def tell(self, day: Day) -> None:
        """Send a day."""
        event_ms = self._service.now_ms()
        self.send(lambda unit_us: self._event(day, event_ms, unit_us))


class DaysFeed(Feed):
    """`!miniTicker@arr`: the days of all symbols of a venue that have changed."""

    def __init__(self, service: Service) -> None:
        super().__init__()
        self._service = service
        self._told: dict[str, object] = {}

    def tell(self, days: Iterable[Day]) -> None:
        """Send the days that are not what they were."""
        changed = [day for day in days if self._told.get(day.symbol) != (day.traded, day.last_price)]
        self._told |= {day.symbol: (day.traded, day.last_price) for day in changed}
        if changed:
            event_ms = self._service.now_ms()
            self.send(lambda unit_us: f"[{','.join(mini_ticker_event(day, event_ms, unit_us) for day in changed)}]")
