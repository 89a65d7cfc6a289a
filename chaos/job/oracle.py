"""What the job must make of a topic: a plain reading of every record, by the definitions in `market/`.

Of the elements that bear one (exchange, symbol, trade id), the first of its partition counts. Bars are made as the
reading goes on, so that five million trades need little memory: a second is made into its bar when the partition has
come so much further (`horizon_ms`) that none of its trades can follow; one that does is an `OracleError`.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

import pyarrow as pa

from market.bar import WIDTH_MS, Bar, bars_of
from market.trade import Rejected, Trade, read_record

BarKey = tuple[str, str, int]
"""Exchange, symbol, start of the second in ms."""
Position = tuple[int, int, int]
"""Where an element stands in the topic: partition, offset, index in its record."""

ARCHIVED = pa.schema(
    [
        ("offset", pa.int64()),
        ("index", pa.int32()),
        ("exchange", pa.string()),
        ("symbol", pa.string()),
        ("timestamp", pa.int64()),
        ("trade_id", pa.int64()),
        ("price", pa.decimal128(18, 8)),
        ("quantity", pa.decimal128(19, 8)),
        ("is_buyer_maker", pa.bool_()),
    ]
)
"""A row of the archive, as it is compared; `timestamp` in ms."""


class OracleError(RuntimeError):
    """The topic holds what the load never makes, so that nothing can be judged by it."""


class Refused(NamedTuple):
    """What `rejected_trades` says of an element."""

    reason: str
    raw: bytes | None


class Oracle:
    """Takes the records of one partition, in order. `finish` when all are taken."""

    def __init__(self, partition: int, *, tolerance_ms: int, horizon_ms: int) -> None:
        """`tolerance_ms` is the job's FUTURE_TOLERANCE."""
        self.partition = partition
        self.bars: dict[BarKey, Bar] = {}
        self.rejected: dict[Position, Refused] = {}
        self.conflicts: dict[Position, BarKey] = {}
        """Valid elements with another content than the one that counts, and the second of that one."""
        self.records = self.elements = self.trades = self.heartbeats = 0
        """`elements`: valid ones, copies included; `trades`: each once."""
        self._tolerance_ms, self._horizon_ms = tolerance_ms, horizon_ms
        self._open: dict[BarKey, dict[int, Trade]] = {}
        self._seen: defaultdict[tuple[str, str], _Numbers] = defaultdict(_Numbers)
        self._newest_ms = self._looked_ms = 0
        self._rows = _Rows()

    def take(self, offset: int, kafka_ms: int, value: bytes | None) -> None:
        """The next record. Raises `OracleError`."""
        self.records += 1
        for index, element in enumerate(read_record(value, kafka_ms, self._tolerance_ms)):
            if isinstance(element, Trade):
                self.elements += 1
                self._rows.add(offset, index, element)
                self._take(offset, index, element)
            elif isinstance(element, Rejected):
                self.rejected[self.partition, offset, index] = Refused(element.reason, value)
            else:
                self.heartbeats += 1
                self._newest_ms = max(self._newest_ms, element.heartbeat)
        if self._newest_ms - self._looked_ms >= WIDTH_MS:
            self._looked_ms = self._newest_ms
            self._make_bars(self._newest_ms - self._horizon_ms)

    def finish(self) -> pa.Table:
        """Makes the last bars; the rows of the archive, in order."""
        self._make_bars(self._newest_ms + self._horizon_ms)
        return self._rows.table()

    def _take(self, offset: int, index: int, trade: Trade) -> None:
        start_ms = trade.timestamp - trade.timestamp % WIDTH_MS
        key = trade.exchange, trade.symbol, start_ms
        if key in self.bars or start_ms + WIDTH_MS <= self._newest_ms - self._horizon_ms:
            raise OracleError(
                f"partition {self.partition}, offset {offset}: {trade} comes later than any load makes it"
            )
        if self._seen[trade.exchange, trade.symbol].add(trade.trade_id):
            self.trades += 1
            self._open.setdefault(key, {})[trade.trade_id] = trade
            return
        first = self._open.get(key, {}).get(trade.trade_id)
        if first is None:
            raise OracleError(f"partition {self.partition}, offset {offset}: {trade} was there with another second")
        if _content(trade) != _content(first):
            self.conflicts[self.partition, offset, index] = key

    def _make_bars(self, end_ms: int) -> None:
        done = [key for key in self._open if key[2] + WIDTH_MS <= end_ms]
        for key in done:
            (self.bars[key],) = bars_of(self._open.pop(key).values())


class _Numbers:
    """A set of trade ids, most of them contiguous: a bit each."""

    def __init__(self) -> None:
        self._blocks: defaultdict[int, bytearray] = defaultdict(lambda: bytearray(8192))

    def add(self, number: int) -> bool:
        """Whether it is new."""
        block, place = self._blocks[number >> 16], (number & 0xFFFF) >> 3
        bit = 1 << (number & 7)
        is_new = not block[place] & bit
        block[place] |= bit
        return is_new


class _Rows:
    """Rows of the archive, column by column."""

    def __init__(self) -> None:
        self._numbers = {name: array("q") for name in ("offset", "index", "timestamp", "trade_id")}
        self._texts: dict[str, list[str]] = {name: [] for name in ("exchange", "symbol", "price", "quantity")}
        self._sides: list[bool] = []

    def add(self, offset: int, index: int, trade: Trade) -> None:
        numbers, texts = self._numbers, self._texts
        numbers["offset"].append(offset)
        numbers["index"].append(index)
        numbers["timestamp"].append(trade.timestamp)
        numbers["trade_id"].append(trade.trade_id)
        texts["exchange"].append(trade.exchange)
        texts["symbol"].append(trade.symbol)
        texts["price"].append(trade.price)
        texts["quantity"].append(trade.quantity)
        self._sides.append(trade.is_buyer_maker)

    def table(self) -> pa.Table:
        columns = {name: pa.array(memoryview(numbers)) for name, numbers in self._numbers.items()}
        columns |= {name: pa.array(texts, pa.string()) for name, texts in self._texts.items()}
        columns["is_buyer_maker"] = pa.array(self._sides, pa.bool_())
        return pa.table({name: columns[name].cast(ARCHIVED.field(name).type) for name in ARCHIVED.names})


def _content(trade: Trade) -> tuple[Decimal, Decimal, int, bool]:
    return Decimal(trade.price), Decimal(trade.quantity), trade.timestamp, trade.is_buyer_maker
