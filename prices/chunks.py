"""Records of one partition → what is written to Redis at once. Pure: no clock, no connection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from market.latest import line_of
from market.trade import Rejected, Trade, read_record

MOST_TRADES = 500
MOST_SYMBOLS = 100
"""Bounds of one write: Redis does nothing else meanwhile, and takes a bounded number of arguments."""

Name = tuple[str, str]
"""An exchange and a symbol."""


class Record(Protocol):
    """What is asked of a record of Kafka's."""

    offset: int
    timestamp: int
    value: bytes | None


class Newest(NamedTuple):
    """A trade as a line, and what tells the newer of two."""

    timestamp: int
    trade_id: int
    line: str


@dataclass(slots=True)
class Chunk:
    """Some records of one partition, or a part of a long one."""

    start: int
    """Every record before this offset came earlier."""
    end: int
    """Every record before this offset is in Redis once the chunk is."""
    lines: dict[Name, list[str]] = field(default_factory=dict)
    newest: dict[Name, Newest] = field(default_factory=dict)
    trades: int = 0
    records: int = 0
    heartbeats: int = 0
    beats: dict[str, int] = field(default_factory=dict)
    """The newest of each exchange, in ms: every trade of it until then is in this chunk, or in one before it."""
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_at: int | None = None
    """Offset of the last record with an element that is no trade."""
    kafka_time: int = 0
    """Of the newest record."""

    @property
    def is_full(self) -> bool:
        """Whether the next trade belongs to the next chunk."""
        return self.trades >= MOST_TRADES or len(self.lines) >= MOST_SYMBOLS

    def add(self, trade: Trade, kafka_time: int) -> None:
        """Take a trade."""
        name = trade.exchange, trade.symbol
        line = line_of(trade, kafka_time)
        self.lines.setdefault(name, []).append(line)
        self.trades += 1
        newest = self.newest.get(name)
        if newest is None or (trade.timestamp, trade.trade_id) > newest[:2]:
            self.newest[name] = Newest(trade.timestamp, trade.trade_id, line)


def chunks(records: Iterable[Record], start: int, *, tolerance_ms: int) -> Iterator[Chunk]:
    """The chunks of some records in their order, of which `start` is the offset that was expected first.

    They follow one another without a gap, so that Redis can tell whether it has all before. What a partition does not
    hold any more between two records is a part of the chunk of the second one.
    """
    chunk = Chunk(start, start)
    for record in records:
        chunk.records += 1
        chunk.kafka_time = max(chunk.kafka_time, record.timestamp)
        for element in read_record(record.value, record.timestamp, tolerance_ms):
            if isinstance(element, Trade):
                if chunk.is_full:
                    yield chunk
                    chunk = Chunk(chunk.end, chunk.end, kafka_time=chunk.kafka_time)
                chunk.add(element, record.timestamp)
            elif isinstance(element, Rejected):
                chunk.rejected[element.reason] += 1
                chunk.rejected_at = record.offset
            else:
                chunk.heartbeats += 1
                chunk.beats[element.exchange] = max(element.heartbeat, chunk.beats.get(element.exchange, 0))
        chunk.end = record.offset + 1
    if chunk.end > chunk.start or chunk.trades:
        yield chunk
