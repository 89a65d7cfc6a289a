"""One connection's life: connect, greet, receive, watch for silence, end. What follows its end is the feed's matter."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.frames import CloseCode

from producer.exchanges.venues import Patience
from producer.feeds.answers import REFUSALS, THROTTLED, ban_s, shown

log = logging.getLogger(__name__)

LARGEST_FRAME = 4 * 2**20
"""Bytes. A trade is some 300, the longest legitimate message some 100,000; 16 frames are kept per connection."""
PING_S = 20.0
"""How often a connection is asked for a sign of life, and how long that may take."""
_CLOSE_S = 1.0
_LOOK_S = 0.005

REFUSED, LEFT = "refused", "left"
"""The kinds of end that no retry mends, and that we have chosen."""

Receive = Callable[[str | bytes], Awaitable[None]]


class End(NamedTuple):
    """Why a connection ended."""

    kind: str
    """`refused`, `throttled`, `unreachable`, `silent`, `unanswered`, `oversized`, `closed`, `cut` or `left`."""
    told: str
    pause_s: float = 0.0
    """How long the exchange wants us to stay away."""


class Session:
    """One connection to `url`. Its task ends with an `End`, or with what `receive` raises."""

    def __init__(
        self,
        url: str,
        *,
        greetings: Sequence[str],
        greeting_interval_s: float,
        receive: Receive,
        opened: Callable[[Session], None],
        patience: Patience,
        ping_s: float,
    ) -> None:
        self.frames = self.size = 0
        """Frames received and the bytes in them."""
        self.opened_s: float | None = None
        self.last_s = time.monotonic()
        """When it last received something; before that, when it began."""
        self.greeted = asyncio.Event()
        """Everything that is to be said has been said."""
        self.open = False
        self._url = url
        self._interval_s = greeting_interval_s
        self._receive = receive
        self._opened = opened
        self._patience = patience
        self._ping_s = ping_s
        self._unsaid = deque(greetings)
        self._said = 0
        self._more = asyncio.Event()
        self._told_more = asyncio.Event()  # more frames than the greetings have answers
        self._receiving = False
        self._given_up: End | None = None
        self._connection: ClientConnection | None = None
        self.task = asyncio.create_task(self._run())

    def say(self, messages: Sequence[str]) -> None:
        """Send these next, in place of what has not been said yet."""
        self._unsaid = deque(messages)
        self.greeted.clear()
        self._more.set()

    async def settle(self) -> None:
        """Return when all that the exchange sent before this call has been received: a pong comes in line with it.

        Raises `ConnectionError`.
        """
        connection = self._connection
        if connection is None or not self.open:
            raise ConnectionError("is not connected")
        if not self.greeted.is_set():
            raise ConnectionError("has not subscribed to everything yet")
        try:
            async with asyncio.timeout(self._patience.connect_s):
                await (await connection.ping())
                # What came before the pong waits in the library's queue only while `receive` itself waits: else our
                # loop would have taken it before we ran. A frame in parts counts more than once there.
                mark = self.frames + len(connection.recv_messages.frames)
                while self._receiving and self.frames <= mark:
                    await asyncio.sleep(_LOOK_S)
        except (ConnectionClosed, TimeoutError) as error:
            raise ConnectionError("does not answer") from error

    async def proven(self) -> None:
        """Return when this connection brings what it was asked for. Raises `ConnectionError` where it does not.

        It does when it has brought more frames than there are answers to its greetings; in a market that rests, when
        it has answered them all.
        """
        await self.greeted.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience.connect_s):
                await self._told_more.wait()
        if self.frames < max(self._said, 1):
            raise ConnectionError("does not tell anything")
        await self.settle()

    async def leave(self) -> None:
        """End it from our side. What has arrived is received first. Raises what `receive` raises."""
        self._given_up = self._given_up or End(LEFT, "left by us")
        if self._connection is None:
            self.task.cancel()
        else:
            await self._connection.close()
        await asyncio.wait([self.task])
        if not self.task.cancelled():
            self.task.result()

    async def _run(self) -> End:
        try:
            connection = await connect(
                self._url,
                open_timeout=self._patience.connect_s,
                close_timeout=_CLOSE_S,
                ping_interval=None,  # our own, in `_watch_life`, knows when it is we who do not read
                max_size=LARGEST_FRAME,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            return self._unopened(error)
        self._connection = connection
        self.open = True
        self.opened_s = self.last_s = time.monotonic()
        self._opened(self)
        works = self._greet(connection), self._watch_silence(connection), self._watch_life(connection)
        helpers = [asyncio.create_task(work) for work in works]
        try:
            end = await self._receive_all(connection)
        finally:
            self.open = False
            for helper in helpers:
                helper.cancel()
            results = await asyncio.gather(*helpers, return_exceptions=True)
            await connection.close(CloseCode.GOING_AWAY)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return end

    async def _receive_all(self, connection: ClientConnection) -> End:
        receive = self._receive
        try:
            while True:
                frame = await connection.recv(decode=False)  # bytes: text that is no UTF-8 is one bad frame, no end
                self.frames += 1
                self.size += len(frame)
                if not self._told_more.is_set():
                    self._consider()
                self._receiving = True
                await receive(frame)
                self._receiving = False
                self.last_s = time.monotonic()
        except ConnectionClosed as closed:
            return self._given_up or _end_of(closed)
        finally:
            self._receiving = False

    async def _greet(self, connection: ClientConnection) -> None:
        """Say what there is to say, never faster than the exchange allows."""
        try:
            while True:
                while self._unsaid:
                    await connection.send(self._unsaid.popleft())
                    self._said += 1
                    if self._unsaid:
                        await asyncio.sleep(self._interval_s)
                self.greeted.set()
                self._consider()
                self._more.clear()
                await self._more.wait()
                await asyncio.sleep(self._interval_s)
        except ConnectionClosed:
            return  # the receiving loop tells why

    def _consider(self) -> None:
        if self.greeted.is_set() and self.frames > self._said:
            self._told_more.set()

    async def _watch_silence(self, connection: ClientConnection) -> None:
        """Give up a connection that brings nothing. While `receive` waits, it is we who do not read."""
        allowed_s = self._patience.silence_s
        while True:
            if self._receiving:
                self.last_s = time.monotonic()
            left_s = self.last_s + allowed_s - time.monotonic()
            if left_s <= 0:
                self._given_up = self._given_up or End("silent", f"nothing received for {allowed_s:g} s")
                await connection.close(CloseCode.GOING_AWAY)
                return
            await asyncio.sleep(left_s)

    async def _watch_life(self, connection: ClientConnection) -> None:
        """Give up a connection that neither answers a ping nor brings a frame meanwhile, though we read."""
        while True:
            await asyncio.sleep(self._ping_s)
            frames = self.frames
            try:
                async with asyncio.timeout(self._ping_s):
                    await (await connection.ping())
            except TimeoutError:
                if self.frames == frames and not self._receiving:
                    told = f"neither a pong nor a frame within {self._ping_s:g} s"
                    self._given_up = self._given_up or End("unanswered", told)
                    connection.transport.abort()  # nobody is there to take leave of
                    return
            except ConnectionClosed:
                return  # the receiving loop tells why

    def _unopened(self, error: Exception) -> End:
        if isinstance(error, InvalidURI) and error.uri == self._url:
            return End(REFUSED, f"{error}; expected is ws://host or wss://host")
        if not isinstance(error, InvalidStatus):
            return End("unreachable", shown(str(error)) or type(error).__name__)
        status, headers = error.response.status_code, error.response.headers
        if status in REFUSALS:
            return End(REFUSED, f"{self._url} answered HTTP {status}: {REFUSALS[status]}")
        told = f"handshake answered with HTTP {status}"
        if status not in THROTTLED:
            return End("unreachable", told)
        retry_after, date = (", ".join(headers.get_all(name)) for name in ("Retry-After", "Date"))
        return End("throttled", told, ban_s(retry_after, date))


def _end_of(closed: ConnectionClosed) -> End:
    """Why the library says that a connection ended."""
    if closed.sent is not None and closed.sent.code == CloseCode.MESSAGE_TOO_BIG:
        return End("oversized", f"a frame of more than {LARGEST_FRAME} bytes")
    return End("cut" if closed.rcvd is None else "closed", shown(str(closed)))
