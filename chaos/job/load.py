"""The trades that the job gets under chaos: a pure function of seed, rate and start, as awkward as real ones.

About twenty markets of unequal size on three exchanges. Each market lies in one partition, and publishes its trades
either one to a record or up to twenty. They come up to 250 ms out of order; some share a millisecond; now and then one
comes far too late, which must amend its bar, a copy follows, seldom with other content, or a record is no trade at all.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from typing import NamedTuple

from market.trade import Trade, batch_record_of, record_of

PARTITIONS = 4
TICK_MS = 50
DISORDER_MS = 250
TIES = 0.1
COPIES = 1e-3
LATE_COPIES = 0.2
"""Share of the copies that come seconds later, most of them behind the watermark."""
CONFLICTS = 0.05
"""Share of the copies that have another price."""
INVALID = 1e-4
VERY_LATE = 2e-4
VERY_LATE_MS = (5_000, 60_000)
HORIZON_MS = 180_000
"""No trade and no copy is published so long after its time."""
ARRAY = 20

_HOUR_MS = 3_600_000


class Market(NamedTuple):
    """Whose trades they are, and how they are published."""

    exchange: str
    symbol: str
    partition: int
    is_batched: bool


MARKETS = tuple(
    Market(exchange, symbol, (place + number) % PARTITIONS, (place + number) % 3 > 0)
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOGEUSDT", "LTCUSDT"))
    for place, exchange in enumerate(("binance", "binance-usdm", "coinbase"))
)
"""Beginning with the largest."""

_WEIGHTS = [1 / (number + 2) for number in range(len(MARKETS))]


class Record(NamedTuple):
    """A record, and when it is published."""

    due_ms: int
    """Milliseconds since the epoch."""
    partition: int
    value: bytes | None


class Load:
    """The records of one seed, tick by tick."""

    def __init__(self, seed: int, *, rate: float, start_ms: int) -> None:
        """`rate`: trades per second of all markets together."""
        self.trades = self.copies = self.conflicts = self.invalid = self.late = 0
        self._random = random.Random(f"{seed}/{rate}")
        self._rates = [rate * weight / sum(_WEIGHTS) * TICK_MS / 1000 for weight in _WEIGHTS]
        self._start_ms = start_ms
        self._ticks = 0
        self._owed = [0.0] * len(MARKETS)
        self._ids = [0] * len(MARKETS)
        self._prices = [100_000 // (number + 1) for number in range(len(MARKETS))]
        self._numbers = count()  # of two that are due at once, the one made first is published first
        self._pending: list[tuple[int, int, int, Trade | bytes | None]] = []

    @property
    def now_ms(self) -> int:
        """The time up to which records were made."""
        return self._start_ms + self._ticks * TICK_MS

    def tick(self) -> list[Record]:
        """The records of the next tick, in the order of their times."""
        begin_ms = self.now_ms
        for number in range(len(MARKETS)):
            self._owed[number] += self._rates[number]
            due = int(self._owed[number])
            self._owed[number] -= due
            self._make(number, due, begin_ms)
        beats = beat(begin_ms) if self._ticks * TICK_MS % 1000 == 0 else []
        self._ticks += 1
        return beats + self._records(self.now_ms)

    def rest(self) -> list[Record]:
        """What was held back, when no further trades are made."""
        return self._records(self.now_ms + HORIZON_MS)

    def _make(self, number: int, due: int, begin_ms: int) -> None:
        draw, market = self._random.random, MARKETS[number]
        times = sorted(begin_ms + int(draw() * TICK_MS) for _ in range(due))
        for place, time_ms in enumerate(times):
            if place and draw() < TIES:
                time_ms = times[place] = times[place - 1]
            self._prices[number] = price = max(100, self._prices[number] + int(draw() * 7) - 3)
            trade = Trade(
                market.exchange,
                market.symbol,
                f"{price // 100}.{price % 100:02}",
                f"{int(draw() * 3)}.{1 + int(draw() * 99_999_998):08}",
                time_ms,
                self._ids[number],
                draw() < 0.5,
            )
            self._ids[number] += 1
            self.trades += 1
            delay_ms = int(draw() * DISORDER_MS)
            if draw() < VERY_LATE:
                delay_ms = self._random.randint(*VERY_LATE_MS)
                self.late += 1
            self._push(time_ms + delay_ms, number, trade)
            if draw() < COPIES:
                self._copy(time_ms + delay_ms, number, trade)
            if draw() < INVALID:
                self.invalid += 1
                self._push(time_ms, number, self._random.choice(_SPOILED)(trade))

    def _copy(self, due_ms: int, number: int, trade: Trade) -> None:
        self.copies += 1
        if self._random.random() < CONFLICTS:
            self.conflicts += 1
            trade = trade._replace(price=f"{trade.price}7")
        is_late = self._random.random() < LATE_COPIES
        self._push(due_ms + self._random.randint(*((3_000, 20_000) if is_late else (0, 1_000))), number, trade)

    def _push(self, due_ms: int, number: int, content: Trade | bytes | None) -> None:
        heapq.heappush(self._pending, (due_ms, next(self._numbers), number, content))

    def _records(self, end_ms: int) -> list[Record]:
        """What is due before that time."""
        due: defaultdict[int, list[tuple[int, Trade]]] = defaultdict(list)
        records = []
        while self._pending and self._pending[0][0] < end_ms:
            due_ms, _, number, content = heapq.heappop(self._pending)
            market = MARKETS[number]
            if not isinstance(content, Trade):
                records.append(Record(due_ms, market.partition, content))
            elif market.is_batched:
                due[number].append((due_ms, content))
            else:
                records.append(Record(due_ms, market.partition, record_of(content)))
        for number, trades in due.items():
            for first in range(0, len(trades), ARRAY):
                part = trades[first : first + ARRAY]
                value = batch_record_of([trade for _, trade in part])
                records.append(Record(part[-1][0], MARKETS[number].partition, value))
        return sorted(records, key=lambda record: record.due_ms)


def beat(time_ms: int) -> list[Record]:
    """A heartbeat for each partition."""
    value = json.dumps({"exchange": MARKETS[0].exchange, "heartbeat": time_ms}).encode()
    return [Record(time_ms, partition, value) for partition in range(PARTITIONS)]


def _with(**changes: object) -> Callable[[Trade], bytes]:
    return lambda trade: json.dumps(trade._asdict() | changes).encode()


def _among(trade: Trade) -> bytes:
    """An array with a copy of the trade between two elements that are none."""
    return b'[{"exchange":"mtgox"},' + record_of(trade) + b",null]"


_SPOILED: tuple[Callable[[Trade], bytes | None], ...] = (
    lambda trade: b"",
    lambda trade: b"[]",
    lambda trade: b"no JSON",
    lambda trade: record_of(trade)[:-1],
    lambda trade: record_of(trade) * 2,
    _with(price="-1"),
    _with(price="NaN"),
    _with(quantity="0"),
    _with(quantity=10**40),
    _with(symbol="btc/usdt"),
    _with(trade_id=None),
    _with(trade_id=2**53),
    _with(timestamp=1),
    lambda trade: _with(timestamp=trade.timestamp + 24 * _HOUR_MS)(trade),
    lambda trade: json.dumps({"exchange": trade.exchange, "heartbeat": trade.timestamp + _HOUR_MS}).encode(),
    _among,
)
"""What becomes of a trade to make a record with something invalid in it; the trade itself is published too."""
