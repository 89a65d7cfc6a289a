"""Records on their way to Kafka, through whatever happens to it.

kafka-python accepts records without a bound, never blocks, and reports a failure only to the record's future (version
3.0). So the bound, the window of records in flight, and what to do about failures are kept here. There is one path for
all of them: when a record's future fails, `send` raises, or nothing is acknowledged for too long, the KafkaProducer is
given up. What was in its window goes into the backlog, and all that comes goes behind it, until another KafkaProducer
has taken the backlog, in order. A new session may so repeat records, which is harmless; within a partition every record
comes for the first time behind those that were taken before it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Never

from kafka.errors import KafkaError, MessageSizeTooLargeError
from kafka.future import Future

from producer.publishing.apart import apart
from producer.publishing.backlog import Backlog
from producer.publishing.record import Record
from producer.publishing.session import Session
from producer.publishing.window import UNREADABLE, Window

log = logging.getLogger(__name__)

BYTES_IN_FLIGHT = 16 * 2**20

_TICK_S = 0.25
_PAUSE_S = 1.0
"""Before another session, where the last one has got nothing acknowledged."""
_TELL_S = 10.0
_CHUNK = 256
"""Records read from the backlog at a time."""


class Delivery:
    """Takes records without waiting, and knows which of them Kafka has. Needs a running event loop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Session]],
        session: Session,
        backlog: Backlog,
        *,
        records_in_flight: int,
        stall_s: float,
        on_refused: Callable[[Record], None] = lambda record: None,
    ) -> None:
        """`on_refused` gets each record that Kafka does not take for its size, and may hand over others in turn."""
        self.window = Window(backlog)
        self.sessions = 1
        self._connect = connect
        self._session: Session | None = session
        self._backlog = backlog
        self._records_in_flight = records_in_flight
        self._taken = 0  # records
        self._straight = True  # whether records go to Kafka at once: it is there, and the backlog is empty
        self._too_large: set[bytes] = set()  # values in the backlog that Kafka does not take
        self._loop = asyncio.get_running_loop()
        self._tick_s = min(_TICK_S, stall_s / 4)
        self._stall_s = stall_s
        self._on_refused = on_refused
        self._patience = round(stall_s / self._tick_s)  # ticks: time that we do not get ourselves does not count
        self._idle_ticks = 0
        self._away_ticks = 0
        self._progressed = False  # in this session
        self._progress = asyncio.Event()
        self._hooked: Future | None = None
        self._given_up = asyncio.Event()
        self._old = session  # the one that was given up
        self._on_failure = self._failure_of(session)
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        self._task = asyncio.create_task(self._keep_connected())

    @property
    def straight(self) -> Session | None:
        """The session, where records go to Kafka at once."""
        return self._session if self._straight else None

    @property
    def away(self) -> bool:
        """Whether there is no session: Kafka is being connected to."""
        return self._session is None

    @property
    def trades(self) -> int:
        """Trades taken that Kafka has not acknowledged."""
        return self._backlog.trades + self.window.trades

    @property
    def full(self) -> bool:
        """Whether the bound is reached: wait for `room` before the next record."""
        if not self._straight:
            return self._backlog.full
        if len(self.window) < self._records_in_flight and self.window.bytes < BYTES_IN_FLIGHT:
            return False
        self._reap()
        return len(self.window) >= self._records_in_flight or self.window.bytes >= BYTES_IN_FLIGHT

    def hand_over(self, record: Record) -> None:
        """Take a record."""
        self._taken += 1
        self._pass_on(record)

    async def room(self) -> None:
        """Wait until a fair part of the bound is free."""
        await self._until(self._has_room)

    async def settled(self) -> None:
        """Wait until Kafka has everything that was taken before this call."""
        mark = self._taken
        await self._until(lambda: self._taken - self._outstanding() >= mark)

    async def idle(self, *, or_away: bool) -> None:
        """Wait until Kafka has everything, and what is told of it; with `or_away`, no longer than Kafka is there."""
        await self._until(lambda: not self._outstanding() or (or_away and self._session is None))

    async def watch(self) -> Never:
        """Run until something fails that is not Kafka's to mend; raises it."""
        await asyncio.shield(self._task)
        raise AssertionError("connections are kept for ever")

    async def stop(self, within_s: float) -> None:
        """Send nothing more. What Kafka does not have is in the backlog then, the first of it first."""
        self._task.cancel()
        self._timer.cancel()
        self._reap()
        session, self._session = self._session, None
        outstanding = self._outstanding()
        self._into_backlog()
        self._tell_refused()
        if session is None:
            return
        if not outstanding:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await apart(session.close)
                    return
        session.abort("stopped")

    def give_up(self, session: Session, reason: str) -> None:
        """Leave a session for another one, if it is the present one."""
        if session is not self._session:
            return
        self._session = None
        session.abort(reason)
        self._reap()
        self._into_backlog()
        log.error("Kafka has failed (%s); connecting again; %s", session.failure, self._waiting())
        self._old = session
        self._away_ticks = 0
        self._given_up.set()
        self._progress.set()

    async def _keep_connected(self) -> Never:
        while True:
            await self._given_up.wait()
            self._given_up.clear()
            await apart(self._old.ended)
            if not self._progressed:
                await asyncio.sleep(_PAUSE_S)
            session = await self._connect()
            self.sessions += 1
            self._session = session
            self._on_failure = self._failure_of(session)
            self._idle_ticks = 0
            self._progressed = False
            await self._drain(session)

    async def _drain(self, session: Session) -> None:
        """Send the backlog, in order, and then the rest straight; or until the session is given up."""
        self._backlog.rewind()
        while self._session is session:
            records = await self._backlog.read(_CHUNK)
            if self._session is not session:
                return
            if not records:
                self._straight = True
                for unread in self._backlog.rest():
                    self._pass_on(unread)
                self._too_large.clear()
                log.info("Kafka takes records again, and has been sent all that waited")
                return
            for record in records:
                if self._session is session:
                    self._send(record or UNREADABLE, of_backlog=True)
            await asyncio.sleep(0)
            await self._until(lambda: self._session is not session or self._window_has_room())

    def _pass_on(self, record: Record) -> None:
        if self._straight:
            self._send(record, of_backlog=False)
        else:
            self._backlog.append(record)

    def _send(self, record: Record, *, of_backlog: bool) -> None:
        session = self._session
        assert session is not None, "records are sent while there is a session"
        if record is UNREADABLE or (self._too_large and record.value in self._too_large):
            self.window.append(None, record, of_backlog=of_backlog)
            return
        try:
            future = session.send(record.topic, value=record.value, key=record.key, partition=record.partition)
        except MessageSizeTooLargeError:
            self.window.append(None, record, of_backlog=of_backlog)
            return
        except (KafkaError, ValueError) as error:
            self.give_up(session, repr(error))
            if not of_backlog:
                self._backlog.append(record)
            return
        self.window.append(future, record, of_backlog=of_backlog)
        future.add_errback(self._on_failure)

    def _into_backlog(self) -> None:
        self._straight = False
        self._hooked = None
        self._too_large.update(record.value for record in self.window.give_up())

    def _failure_of(self, session: Session) -> Callable[[BaseException], None]:
        def on_failure(error: BaseException) -> None:
            if session.failure is None:
                session.abort(repr(error))  # at once, on kafka-python's thread: nothing may follow the failed record
                self._loop.call_soon_threadsafe(self.give_up, session, repr(error))

        return on_failure

    def _reap(self) -> None:
        """Take note of what is acknowledged."""
        if self.window.reap():
            self._progressed = True
            self._idle_ticks = 0
        if self.window.dropped:  # told from the loop: here the window may be about to be changed
            self._loop.call_soon(self._tell_refused)

    def _tell_refused(self) -> None:
        while self.window.dropped:
            self._on_refused(self.window.dropped.popleft())
        self._progress.set()

    def _outstanding(self) -> int:
        """Records taken that Kafka does not have, and those that it refuses and nobody has been told of."""
        self._reap()
        return self._backlog.records + self.window.outstanding + len(self.window.dropped)

    def _has_room(self) -> bool:
        return self._window_has_room() if self._straight else not self._backlog.full

    def _window_has_room(self) -> bool:
        self._reap()
        return len(self.window) <= self._records_in_flight * 3 // 4 and self.window.bytes <= BYTES_IN_FLIGHT * 3 // 4

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._progress.clear()
            if self.window and self.window.head is not self._hooked:
                self._hooked = self.window.head
                self._hooked.add_callback(self._wake)
            await self._progress.wait()

    def _wake(self, _: object) -> None:
        self._loop.call_soon_threadsafe(self._progress.set)

    def _tick(self) -> None:
        """Look whether something has come to a stop, and go on looking, whatever is found."""
        self._timer = self._loop.call_later(self._tick_s, self._tick)
        self._reap()
        session = self._session
        if session is None:
            self._away_ticks += 1
            if self._away_ticks % round(_TELL_S / self._tick_s) == 0:
                log.warning("Kafka is away since %.0f s: %s", self._away_ticks * self._tick_s, self._waiting())
        elif self.window:
            self._idle_ticks += 1
            if self._idle_ticks > self._patience:
                self.give_up(session, f"it has acknowledged nothing for {self._stall_s:g} s")
        else:
            self._idle_ticks = 0
        self._progress.set()

    def _waiting(self) -> str:
        return f"{self.trades} trades wait" + (", and no more are taken" if self.full else "")
