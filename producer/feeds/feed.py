"""A connection that is kept up for ever: made again when it ends, and replaced in time when its end is known before.

The websockets library could reconnect by itself, but it forgets its delay at every successful handshake, so that a
server which accepts and hangs up is dialled without pause; it takes an open connection that says nothing for a live
one; and it gives up on a handshake answered with 429. The loop here does what that needs, and knows no trade.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Never

from producer.exchanges.venues import Patience
from producer.feeds.answers import FeedRefusedError as FeedRefusedError  # raised here, and caught by who runs feeds
from producer.feeds.session import LEFT, PING_S, REFUSED, Receive, Session

log = logging.getLogger(__name__)

_AGAIN_S = 0.1
AFTER_REFUSAL = Patience(first_delay_s=60, longest_delay_s=600)
"""Who has served us for long and then refuses may have a fault of its own: it is asked again, rarely."""


def delays(patience: Patience, jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each attempt: doubling, capped, and halved at most by chance, so that feeds spread."""
    delay = patience.first_delay_s
    while True:
        yield delay * (1 - jitter() / 2)
        delay = min(delay * 2, patience.longest_delay_s)


class Feed:
    """One connection to `url`, kept up for ever by `run`; every frame goes to `receive`, in order.

    While a connection is being replaced there are two, each in order, and both bring the same trades. Attempts to
    connect are as rare as `patience` makes them: some ten in five minutes at worst, of which Binance allows 300.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        greetings: Sequence[str],
        greeting_interval_s: float,
        receive: Receive,
        patience: Patience,
        life_s: float | None = None,
        ping_s: float = PING_S,
    ) -> None:
        """`life_s`: how old a connection may get before it is replaced; None: it may stay."""
        self.name = name
        self.session = 0
        """Number of the session, counted from 1: it grows when another connection becomes the present one."""
        self.connects = self.renewals = 0
        """Connections that were opened; connections that were replaced before they ended."""
        self.errors: Counter[str] = Counter()
        """Connections that ended, and attempts that failed, by kind (see `End`); `renewal`: a failed replacement."""
        self._url = url
        self._greetings = list(greetings)
        self._greeting_interval_s = greeting_interval_s
        self._receive = receive
        self._patience = patience
        self._life_s = life_s
        self._ping_s = ping_s
        self._present: Session | None = None
        self._sessions: set[Session] = set()
        self._past_frames = self._past_size = 0
        self._last_s: float | None = None
        self._has_lasted = False  # whether a session ever has, for `patience.session_s`
        self._not_before_s = float("-inf")  # until then the exchange wants us to stay away
        self._switching = asyncio.Lock()  # held while a replacement is under way
        self._wish: tuple[Session, str] | None = None
        self._wished = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._present is not None and self._present.open

    @property
    def frames(self) -> int:
        """Frames received."""
        return self._past_frames + sum(session.frames for session in self._sessions)

    @property
    def size(self) -> int:
        """Bytes in them."""
        return self._past_size + sum(session.size for session in self._sessions)

    @property
    def last_frame_s(self) -> float | None:
        """When the last frame came, by the monotonic clock; None: none has come yet."""
        return max((session.last_s for session in self._sessions if session.frames), default=self._last_s)

    async def run(self) -> Never:
        """Receive for ever. Raises `FeedRefusedError` where no retry can help, and whatever `receive` raises.

        Refused after a session that has lasted, it waits longer and tries again: that was no wrong address.
        """
        works = [asyncio.create_task(self._keep_up()), asyncio.create_task(self._replace_in_time())]
        try:
            done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()
        finally:
            tasks = [*works, *(session.task for session in self._sessions)]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for session in [*self._sessions]:
                self._forget(session)
            self._present = None
        raise AssertionError("a feed runs for ever")

    async def settle(self) -> None:
        """Return when all that the exchange sent before this call has been received.

        Raises `ConnectionError` where that is in doubt: the connection is down, has not subscribed to everything, was
        replaced meanwhile, or does not answer in time.
        """
        present = self._present
        if present is None:
            raise ConnectionError(f"{self.name} is not connected")
        try:
            await present.settle()
        except ConnectionError as error:
            raise ConnectionError(f"{self.name} {error}") from error

    async def greet(self, messages: Sequence[str]) -> None:
        """Greet with these from now on, and say them on every present connection, as fast as the exchange allows."""
        self._greetings = list(messages)
        for session in self._sessions:
            session.say(messages)

    def renew(self, reason: str) -> bool:
        """Replace the present connection: open another, and leave the old one when the new one brings what it brought.

        False where there is none, or where it is being replaced already.
        """
        present = self._present
        if present is None or not present.open or self._switching.locked() or (self._wish and self._wish[0] is present):
            return False
        self._wish = present, reason
        self._wished.set()
        return True

    async def _keep_up(self) -> Never:
        pauses, refusals = delays(self._patience), delays(AFTER_REFUSAL)
        while True:
            began_s = time.monotonic()
            self._present = self._begun()
            session = await self._last_to_end()
            end = session.task.result()
            self._present = None
            self._forget(session)
            if end.kind == REFUSED and not self._has_lasted:
                raise FeedRefusedError(f"{self.name}: {end.told}")
            lasted_s = time.monotonic() - (session.opened_s or began_s)
            if session.opened_s is not None and lasted_s >= self._patience.session_s:
                pauses, refusals = delays(self._patience), delays(AFTER_REFUSAL)
            pause_s = self._pause_s(next(refusals if end.kind == REFUSED else pauses))
            log.warning("%s: %s after %.1f s; connecting again in %.1f s", self.name, end.told, lasted_s, pause_s)
            await asyncio.sleep(pause_s)

    async def _last_to_end(self) -> Session:
        """Wait until there is no connection left."""
        while True:
            session = self._present
            assert session is not None
            await asyncio.wait([session.task])
            async with self._switching:  # where another may be about to take its place, that is decided first
                if session is self._present:
                    return session

    async def _replace_in_time(self) -> Never:
        pauses = delays(self._patience)
        while True:
            idle_since_s = time.monotonic()
            old, reason = await self._due()
            if time.monotonic() - idle_since_s >= self._patience.session_s:
                pauses = delays(self._patience)
            await self._replace(old, reason)
            await asyncio.sleep(self._pause_s(next(pauses)))

    async def _due(self) -> tuple[Session, str]:
        """The connection to replace, as soon as there is a reason, and the reason."""
        while True:
            present = self._present
            if self._wish is not None and self._wish[0] is present:
                return self._wish
            self._unwish()
            left_s = self._life_s
            if self._life_s is not None and present is not None and present.open and present.opened_s is not None:
                left_s = present.opened_s + self._life_s - time.monotonic()
                if left_s <= 0:
                    return present, f"it is {self._life_s:g} s old"
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):  # whichever connection is present then, none is older
                    await self._wished.wait()

    def _unwish(self) -> None:
        self._wish = None
        self._wished.clear()

    async def _replace(self, old: Session, reason: str) -> None:
        """Open a second connection and leave the old one. Where that fails, the old one stays."""
        async with self._switching:
            self._unwish()
            if old is not self._present or not old.open:
                return
            log.info("%s: opening a second connection, for %s", self.name, reason)
            new = self._begun()
            try:
                await self._proven(new, old)
                await self._emptied(old, new)
            except ConnectionError as error:
                log.warning("%s: the old connection stays, for the new one %s", self.name, error)
                self.errors["renewal"] += 1
                await new.leave()
                self._forget(new)
                return
            self._present = new
            self.session += new.open
            self.renewals += 1
        await old.leave()
        self._forget(old)
        log.info("%s: the second connection has taken over", self.name)

    async def _proven(self, new: Session, old: Session) -> None:
        """Wait until the new one brings trades, or the old one does not any more. Raises `ConnectionError`."""
        proof = asyncio.create_task(new.proven())
        try:
            await asyncio.wait([proof, new.task, old.task], return_when=asyncio.FIRST_COMPLETED)
            if new.task.done():
                raise ConnectionError(f"ended: {new.task.result().told}")
            if proof.done():
                proof.result()
        finally:
            proof.cancel()
            await asyncio.gather(proof, return_exceptions=True)

    async def _emptied(self, old: Session, new: Session) -> None:
        """Wait until what the old one brought before the new one began has been received. Raises `ConnectionError`.

        Where that takes too long, the rest shows as missing ids, and is asked for.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.silence_s):
                while old.open:
                    if new.task.done():
                        raise ConnectionError(f"ended: {new.task.result().told}")
                    with suppress(ConnectionError):
                        return await old.settle()
                    await asyncio.sleep(_AGAIN_S)

    def _pause_s(self, delay_s: float) -> float:
        return max(delay_s, self._not_before_s - time.monotonic())

    def _begun(self) -> Session:
        session = Session(
            self._url,
            greetings=self._greetings,
            greeting_interval_s=self._greeting_interval_s,
            receive=self._receive,
            opened=self._opened,
            patience=self._patience,
            ping_s=self._ping_s,
        )
        self._sessions.add(session)
        return session

    def _opened(self, session: Session) -> None:
        log.info("%s: connected to %s", self.name, self._url)
        self.connects += 1
        self.session += session is self._present

    def _forget(self, session: Session) -> None:
        """Of a session that has ended, keep the counts, and what the exchange asked for."""
        self._sessions.discard(session)
        self._past_frames += session.frames
        self._past_size += session.size
        if session.opened_s is not None and time.monotonic() - session.opened_s >= self._patience.session_s:
            self._has_lasted = True
        if session.frames:
            self._last_s = max(session.last_s, self._last_s or session.last_s)
        if not session.task.cancelled() and session.task.exception() is None:
            end = session.task.result()
            self._not_before_s = max(self._not_before_s, time.monotonic() + end.pause_s)
            if end.kind != LEFT:
                self.errors[end.kind] += 1
