"""Trades, heartbeats and gaps as Kafka records, each watched until Kafka has it."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Never

from kafka.errors import KafkaError

from market.gap import TOPIC_SUFFIX, Gap, gap_record
from market.trade import Heartbeat, Trade, batch_record_of, read_record, record_of
from producer import ProducerError
from producer.publishing.backlog import Memory
from producer.publishing.batches import Batches
from producer.publishing.delivery import Delivery
from producer.publishing.record import Record
from producer.publishing.session import Session
from producer.publishing.spill import Spill

log = logging.getLogger(__name__)

RECORDS_IN_FLIGHT = 10_000
STALL_S = 5.0
_DISK_PART = 1 / 3
"""Of the time for closing: for the last records of a run to reach the disk."""
_GRACE_S = 1.0
"""Beyond the time for closing: for a disk that is slow, or for a session that has nothing left to send."""
_ANY_TIME_MS = 2**60  # what was taken once was valid, be its time ever so late


class LostRecordsError(ProducerError):
    """The end has come before Kafka, or the disk, had all records that we had accepted. The message says how many."""


class Publisher:
    """Hands trades to Kafka in order, and knows which of them are safe. Needs a running event loop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Session]],
        session: Session,
        topic: str,
        *,
        batch_size: int,
        linger_ms: int,
        records_in_flight: int = RECORDS_IN_FLIGHT,
        spill: Spill | None = None,
        stall_s: float = STALL_S,
        on_refused: Callable[[Sequence[Trade]], None] | None = None,
    ) -> None:
        """`session` is the first one that `connect` has made; others are made when one fails.

        When Kafka takes nothing for `stall_s`, records go to the spill. Without one, what was taken waits in memory,
        and the publisher stays full until Kafka is back.

        `on_refused` gets the trades of each record that Kafka does not take for its size. It is called from the event
        loop, and may hand over records, such as those of gaps.
        """
        self.dropped_heartbeats = 0
        """Heartbeats that came while Kafka was away: they would be stale when it is back."""
        self._topic = topic
        self._gaps_topic = topic + TOPIC_SUFFIX
        self._spill = spill
        self._delivery = Delivery(
            connect,
            session,
            spill or Memory(),
            records_in_flight=records_in_flight,
            stall_s=stall_s,
            on_refused=self._tell_refused,
        )
        self._on_refused = on_refused
        self._loop = asyncio.get_running_loop()
        self._single = batch_size == 1
        self._batches = Batches(batch_size, linger_ms / 1000, self._loop.time)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def published(self) -> int:
        """Trades that Kafka has acknowledged; a quarter of a second late at most."""
        return self._delivery.window.published

    @property
    def refused(self) -> int:
        """Trades in records that Kafka does not take for their size."""
        return self._delivery.window.refused

    @property
    def unreadable(self) -> int:
        """Trades that the spill has not given back."""
        return self._spill.lost_trades if self._spill else 0

    @property
    def unacknowledged(self) -> int:
        """Trades in our hands: in a batch, on their way, or in the spill."""
        return self._delivery.trades + self._batches.waiting

    @property
    def spilled(self) -> int:
        """Those of them that wait on disk."""
        return self._spill.trades if self._spill else 0

    @property
    def records_in_flight(self) -> int:
        """Records sent to Kafka and not known to be acknowledged."""
        return len(self._delivery.window)

    @property
    def sessions(self) -> int:
        """Connections to Kafka so far: all but the first are failures of the one before."""
        return self._delivery.sessions

    @property
    def connected(self) -> bool:
        """Whether there is a connection to Kafka that has not failed."""
        return not self._delivery.away

    @property
    def full(self) -> bool:
        """Whether the bound is reached: wait for `room` before the next trade."""
        return self._delivery.full

    def trade(self, trade: Trade) -> bool:
        """Take a trade; it leaves in its batch. True: a record has left with it, and it is time to look at `full`."""
        if self._single:
            self._delivery.hand_over(Record(self._topic, None, trade.symbol.encode(), record_of(trade), 1))
            return True
        batch = self._batches.add(trade)
        if batch:
            self._send(batch)
            return True
        if self._timer is None:
            self._arm()
        return False

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat to every partition of the topic; not while Kafka is away, for it would come stale."""
        session = self._delivery.straight
        if session is None:
            self.dropped_heartbeats += 1
            return
        try:
            partitions = sorted(session.partitions_for(self._topic))
        except KafkaError as error:
            self.dropped_heartbeats += 1
            self._delivery.give_up(session, repr(error))
            return
        for partition in partitions:
            self._beat(heartbeat, partition)

    def closing_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Send a heartbeat that lies ahead of its time to the partition that has got the most records.

        Where a reader takes only a part of a long topic at a time, and of each partition in proportion to its length,
        that partition comes last to its end. A time ahead that is read earlier would make all other trades late.
        """
        written = {
            where.partition: count
            for where, count in self._delivery.window.written.items()
            if where.topic == self._topic
        }
        self._beat(heartbeat, max(written, key=lambda partition: written[partition]))

    def gap(self, gap: Gap) -> None:
        """Send the record of a gap to the topic of gaps."""
        self._delivery.hand_over(Record(self._gaps_topic, None, gap.symbol.encode(), gap_record(gap), 0))

    async def room(self) -> None:
        """Wait until a fair part of the bound is free."""
        await self._delivery.room()

    async def acknowledged(self) -> None:
        """Wait until Kafka has everything that was taken before this call, whichever way it went."""
        self._release(self._batches.drain())
        await self._delivery.settled()

    async def watch(self) -> Never:
        """Wait for an error that ends the program, and raise it. Kafka's failures are none."""
        await self._delivery.watch()

    async def close(self, timeout_s: float) -> None:
        """Send what waits, wait for the acknowledgements, keep in the spill what does not get any, and end.

        All of that takes `timeout_s`, and a second more at most, whatever Kafka and the disk do. Raises
        `LostRecordsError` for what is neither in Kafka nor on disk.
        """
        flushed_s = self._loop.time() + timeout_s * (1 - _DISK_PART if self._spill else 1)
        ended_s = self._loop.time() + timeout_s + _GRACE_S
        self._release(self._batches.drain())
        if self._timer:
            self._timer.cancel()
        try:
            async with asyncio.timeout_at(flushed_s):
                await self._delivery.idle(or_away=self._spill is not None)
        except TimeoutError:
            pass
        await self._delivery.stop(_GRACE_S)
        kept = 0
        if self._spill:
            try:
                async with asyncio.timeout_at(ended_s):
                    await self._spill.sync()
            except TimeoutError:
                pass
            kept = self._spill.durable_trades
            self._spill.close()
            if kept:
                log.warning("%d trades wait in %s; the next start publishes them", kept, self._spill.folder)
        lost = self._delivery.trades - kept
        if lost:
            raise LostRecordsError(
                f"{lost} trades were not acknowledged within {timeout_s:g} s of stopping and may be "
                "lost: is Kafka up? A replay can be run again; readers drop what they know"
            )

    def _arm(self) -> None:
        due_s = self._batches.next_due_s()
        self._timer = None if due_s is None else self._loop.call_at(due_s, self._on_time)

    def _on_time(self) -> None:
        self._release(self._batches.due())
        self._arm()

    def _release(self, batches: Sequence[list[Trade]]) -> None:
        for batch in batches:
            self._send(batch)

    def _send(self, trades: list[Trade]) -> None:
        key = trades[0].symbol.encode()
        self._delivery.hand_over(Record(self._topic, None, key, batch_record_of(trades), len(trades)))

    def _tell_refused(self, record: Record) -> None:
        if self._on_refused and record.trades:
            elements = read_record(record.value, 0, _ANY_TIME_MS)
            self._on_refused([element for element in elements if isinstance(element, Trade)])

    def _beat(self, heartbeat: Heartbeat, partition: int) -> None:
        value = json.dumps(heartbeat._asdict(), separators=(",", ":")).encode()
        self._delivery.hand_over(Record(self._topic, partition, None, value, 0))
