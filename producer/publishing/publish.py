"""Trades and heartbeats as Kafka records, each watched until Kafka has acknowledged it.

kafka-python accepts records without a bound, never blocks, and reports a failure only to the record's future (version
3.0). So the bound, the window of records in flight, and the end of the program at the first record that is finally
lost are kept here. Acknowledgements arrive on kafka-python's own thread; everything else runs in the event loop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Never

from kafka import KafkaProducer
from kafka.errors import KafkaError
from kafka.producer.future import RecordMetadata

from market.trade import Heartbeat, Trade
from producer import ProducerError
from producer.publishing.batches import Batches

log = logging.getLogger(__name__)

RECORDS_IN_FLIGHT = 10_000
BYTES_IN_FLIGHT = 16 * 2**20

_encode = json.JSONEncoder(separators=(",", ":")).encode


class LostRecordsError(ProducerError):
    """Kafka has not taken records that we had accepted. The message says how many, why, and what to do."""


class _Record(NamedTuple):
    value: bytes
    trades: int
    """How many trades it holds; 0 for a heartbeat."""


class Publisher:
    """Hands trades to Kafka in order, and knows which of them are safe. Needs a running event loop."""

    def __init__(self, producer: KafkaProducer, topic: str, *, batch_size: int, linger_ms: int) -> None:
        self.published = 0
        """Trades that Kafka has acknowledged."""
        self._producer = producer
        self._topic = topic
        self._single = batch_size == 1
        self._batches = Batches(batch_size, linger_ms / 1000)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._progress = asyncio.Event()
        self._waiters = 0
        self._lock = threading.Lock()  # guards what follows: both threads change it
        self._sequence = 0
        self._window: dict[int, _Record] = {}  # records in flight, by the order of sending
        self._bytes = 0
        self._records: Counter[int] = Counter()  # acknowledged, by partition
        self._waking = False
        self._lost: BaseException | None = None

    @property
    def unacknowledged(self) -> int:
        """Trades in our hands: in flight, or waiting for their batch to fill."""
        with self._lock:
            return sum(record.trades for record in self._window.values()) + len(self._batches)

    @property
    def full(self) -> bool:
        """Whether the bound of records in flight is reached: wait for `room` before the next trade."""
        return len(self._window) >= RECORDS_IN_FLIGHT or self._bytes >= BYTES_IN_FLIGHT or self._lost is not None

    def trade(self, trade: Trade) -> None:
        """Take a trade; it leaves in its batch."""
        if self._single:
            self._send(trade.symbol, [trade])
            return
        batch = self._batches.add(trade, self._loop.time())
        if batch:
            self._send(trade.symbol, batch)
        elif self._timer is None:
            self._arm()

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat to every partition of the topic."""
        value = _encode(heartbeat._asdict()).encode()
        try:
            partitions = sorted(self._producer.partitions_for(self._topic))
        except KafkaError as error:
            self._on_lost(error)
            return
        for partition in partitions:
            self._hand_over(_Record(value, 0), partition=partition)

    def closing_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat that lies ahead of its time to the partition that has got the most records.

        Where a reader takes only a part of a long topic at a time, and of each partition in proportion to its length,
        that partition comes last to its end. A time ahead that is read earlier would make all other trades late.
        """
        ((partition, _),) = self._records.most_common(1)
        self._hand_over(_Record(_encode(heartbeat._asdict()).encode(), 0), partition=partition)

    async def room(self) -> None:
        """Wait until a fair part of the bound is free. Raises `LostRecordsError`."""
        await self._until(
            lambda: len(self._window) <= RECORDS_IN_FLIGHT * 3 // 4 and self._bytes <= BYTES_IN_FLIGHT * 3 // 4
        )

    async def acknowledged(self) -> None:
        """Wait until Kafka has everything that was taken before this call. Raises `LostRecordsError`."""
        self._release(self._batches.drain())
        mark = self._sequence
        await self._until(lambda: self._oldest() > mark)

    async def watch(self) -> Never:
        """Wait for a loss, and raise it as `LostRecordsError`."""
        await self._until(lambda: False)
        raise AssertionError("the condition is never met")

    async def close(self, timeout_s: float) -> None:
        """Send what waits, wait for the acknowledgements and close. Raises `LostRecordsError` for what is left."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.acknowledged()
        except TimeoutError:
            raise LostRecordsError(
                f"{self.unacknowledged} trades were not acknowledged within {timeout_s:g} s of stopping and may be "
                "lost: is Kafka up? A replay can be run again; readers drop what they know"
            ) from None
        finally:
            if self._timer:
                self._timer.cancel()
            with suppress(KafkaError):  # it raises when records are left over, which has been said above
                await asyncio.to_thread(self._producer.close, timeout=1)

    def _arm(self) -> None:
        due_s = self._batches.next_due_s()
        self._timer = None if due_s is None else self._loop.call_at(due_s, self._on_time)

    def _on_time(self) -> None:
        self._release(self._batches.due(self._loop.time()))
        self._arm()

    def _release(self, batches: Sequence[list[Trade]]) -> None:
        for batch in batches:
            self._send(batch[0].symbol, batch)

    def _send(self, symbol: str, trades: list[Trade]) -> None:
        content: Any = trades[0]._asdict() if self._single else [trade._asdict() for trade in trades]
        self._hand_over(_Record(_encode(content).encode(), len(trades)), key=symbol.encode())

    def _hand_over(self, record: _Record, *, key: bytes | None = None, partition: int | None = None) -> None:
        with self._lock:
            self._sequence += 1
            number = self._sequence
            self._window[number] = record
            self._bytes += len(record.value)
        try:
            future = self._producer.send(self._topic, value=record.value, key=key, partition=partition)
        except (KafkaError, ValueError) as error:
            self._on_lost(error)
            return
        future.add_callback(partial(self._on_acknowledged, number))
        future.add_errback(self._on_lost)

    def _on_acknowledged(self, number: int, metadata: RecordMetadata) -> None:
        with self._lock:
            record = self._window.pop(number)
            self._records[metadata.partition] += 1
            self._bytes -= len(record.value)
            self.published += record.trades
        self._wake()

    def _on_lost(self, error: BaseException) -> None:
        """A record that will not be delivered stays in the window: it counts as un-acknowledged to the end."""
        with self._lock:
            first, self._lost = self._lost is None, error
        if first:
            log.error("Kafka did not take a record: %r", error)
        self._wake()

    def _oldest(self) -> int:
        """Number of the oldest record in flight, or of the next one to be sent."""
        with self._lock:
            return next(iter(self._window), self._sequence + 1)

    async def _until(self, condition: Callable[[], bool]) -> None:
        self._waiters += 1
        try:
            while True:
                self._progress.clear()
                if self._lost is not None:
                    raise LostRecordsError(
                        f"Kafka did not take {self.unacknowledged} trades ({self._lost!r}). Mend Kafka and start "
                        "again, a replay from its beginning: readers drop what they know"
                    )
                if condition():
                    return
                await self._progress.wait()
        finally:
            self._waiters -= 1

    def _wake(self) -> None:
        """Let waiters look again: one call into the event loop, however many acknowledgements come before it runs."""
        with self._lock:
            wake = self._waiters > 0 and not self._waking
            self._waking = self._waking or wake
        if wake:
            self._loop.call_soon_threadsafe(self._on_wake)

    def _on_wake(self) -> None:
        with self._lock:
            self._waking = False
        self._progress.set()
