"""Recordings, played through the same mappers into Kafka at a chosen speed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from market.trade import Heartbeat, Trade
from producer.ledger import Ledger
from producer.progress import shown
from producer.publishing.publish import Publisher
from producer.recordings import Reading, RecordingError, entries

log = logging.getLogger(__name__)

CLOSE_AFTER_MS = 60_000
"""How far behind the last trade the closing heartbeat lies: beyond every watermark delay that makes sense."""

_NO_BOUND_MS = 2**63  # old recordings hold no future, and nothing in one waits for our clock
_TURN = 256  # entries between two looks at signals and timers


class Barrier:
    """Where a replay has to wait for its acknowledgements, lest the partitions drift apart in event time.

    Symbols lie in different partitions. If one ran ahead, its times would advance the watermark, and the others' trades
    would be late. With a single symbol there is nothing to drift apart.
    """

    def __init__(self) -> None:
        self._symbols: set[tuple[str, str]] = set()
        self._second = -1

    def before(self, trade: Trade) -> bool:
        """Whether everything sent so far must be acknowledged before this trade is sent."""
        first = len(self._symbols)
        self._symbols.add((trade.exchange, trade.symbol))
        second = trade.timestamp // 1000
        entered = second > self._second
        self._second = max(self._second, second)
        return (entered and len(self._symbols) > 1) or (first == 1 and len(self._symbols) == 2)


class Pace:
    """When an entry is due: as far after the file's first one as it was recorded, divided by the speed."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._start: tuple[float, int] | None = None

    def delay_s(self, time_ms: int | None, now_s: float) -> float:
        """Seconds to wait for an entry recorded at `time_ms`; speed 0 has no pauses."""
        if not self._speed or time_ms is None:
            return 0.0
        if self._start is None:
            self._start = now_s, time_ms
        began_s, first_ms = self._start
        return began_s + (time_ms - first_ms) / 1000 / self._speed - now_s


async def replay(
    paths: Sequence[Path],
    *,
    publisher: Publisher,
    ledger: Ledger,
    speed: float,
    close: bool,
    exchange: str | None,
    symbol: str | None,
) -> None:
    """Publish the trades of some files in the given order, and return when all are acknowledged.

    `close` ends with a heartbeat far enough ahead that every bar closes. Raises `RecordingError` before the first
    record if a file is not there, else after the last one that could be read; then nothing is closed.
    """
    for path in paths:
        if not path.is_file():
            raise RecordingError(f"{path} is not a file; nothing was replayed")
    barrier = Barrier()
    latest: dict[str, int] = {}
    for path in paths:
        log.info("replaying %s at %s", path, f"{speed:g} times its pace" if speed else "full speed")
        pace, reading, trades = Pace(speed), Reading(path), 0
        source = entries(path, exchange=exchange, symbol=symbol, latest_ms=_NO_BOUND_MS, reading=reading)
        with shown(path, reading) as advance:
            for number, entry in enumerate(source):
                if number % _TURN == 0:
                    advance(trades, max(latest.values(), default=0))
                    await asyncio.sleep(0)
                delay_s = pace.delay_s(entry.time_ms, time.monotonic()) if speed else 0.0
                if delay_s > 0:
                    await asyncio.sleep(delay_s)
                for trade in ledger.enter(entry.exchange, entry.outcome, entry.raw):
                    if barrier.before(trade):
                        await publisher.acknowledged()
                    has_left = publisher.trade(trade)
                    trades += 1
                    latest[trade.exchange] = max(latest.get(trade.exchange, 0), trade.timestamp)
                    if has_left and publisher.full:
                        await publisher.room()
    await publisher.acknowledged()
    if close:
        for name, time_ms in latest.items():
            publisher.closing_heartbeat(Heartbeat(name, time_ms + CLOSE_AFTER_MS))
        await publisher.acknowledged()
