"""One connection: connect, subscribe, receive, watch for silence, back off, connect again. It knows no trade.

The websockets library could reconnect by itself, but it forgets its delay at every successful handshake, so that a
server which accepts and hangs up is dialled without pause; it takes an open connection that says nothing for a live
one; and it gives up on a handshake answered with 429. The loop here does what that needs, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Never

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from producer import ProducerError

log = logging.getLogger(__name__)

REFUSALS = {
    401: "the endpoint asks for credentials; the public endpoints need none",
    403: "the endpoint forbids this address; wait, or connect from elsewhere",
    404: "there is no such endpoint; check its URL",
    451: "the exchange does not serve this address (Binance refuses some countries and many cloud providers); "
    "connect from elsewhere, or choose another SOURCE",
}
"""Answers that no retry mends."""

_THROTTLED = (418, 429)
_THROTTLE_S = 120.0  # the shortest ban; asking again earlier lengthens it


class FeedRefusedError(ProducerError):
    """The exchange refuses us, and trying again would not help. The message says what it answered and what helps."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a feed waits for what."""

    silence_s: float = 60.0
    """An open connection that says nothing for so long is given up."""
    connect_s: float = 10.0
    first_delay_s: float = 0.5
    longest_delay_s: float = 60.0
    """Backing off doubles the delay up to here."""
    session_s: float = 30.0
    """A session shorter than this did not heal anything: the next delay is longer, not the first one again."""


def delays(patience: Patience, jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds to wait before each attempt: doubling, capped, and halved at most by chance, so that feeds spread."""
    delay = patience.first_delay_s
    while True:
        yield delay * (1 - jitter() / 2)
        delay = min(delay * 2, patience.longest_delay_s)


class Feed:
    """One connection to `url`, kept up for ever by `run`; every frame goes to `receive`, in order."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        greetings: Sequence[str],
        greeting_interval_s: float,
        receive: Callable[[str | bytes], Awaitable[None]],
        patience: Patience,
    ) -> None:
        self.name = name
        self.session = 0
        """Number of the session, counted from 1."""
        self._url = url
        self._greetings = greetings
        self._greeting_interval_s = greeting_interval_s
        self._receive = receive
        self._patience = patience
        self._connection: ClientConnection | None = None
        self._receiving = False

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as we know."""
        return self._connection is not None

    async def run(self) -> Never:
        """Receive for ever. Raises `FeedRefusedError` where no retry can help, and whatever `receive` raises."""
        pauses = delays(self._patience)
        while True:
            started = time.monotonic()
            least_s = 0.0
            try:
                await self._session()
            except InvalidURI as error:
                raise FeedRefusedError(f"{self.name}: {error}; expected is ws://host or wss://host") from error
            except InvalidStatus as error:
                least_s = self._least_pause_s(error)
                cause = f"handshake answered with HTTP {error.response.status_code}"
            except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                cause = str(error) or type(error).__name__
            lasted_s = time.monotonic() - started
            if lasted_s >= self._patience.session_s:
                pauses = delays(self._patience)
            pause_s = max(next(pauses), least_s)
            log.warning("%s: %s after %.1f s; connecting again in %.1f s", self.name, cause, lasted_s, pause_s)
            await asyncio.sleep(pause_s)

    async def settle(self) -> None:
        """Return when all that the exchange sent before this call has been received: a pong comes in line with it.

        Raises `ConnectionError` where the connection is down or does not answer in time.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionError(f"{self.name} is not connected")
        try:
            async with asyncio.timeout(self._patience.connect_s):
                await (await connection.ping())
                while self._receiving:  # only while `receive` itself waits: else its loop would not have let us run
                    await asyncio.sleep(0.005)
        except (ConnectionClosed, TimeoutError) as error:
            raise ConnectionError(f"{self.name} does not answer") from error

    async def _session(self) -> Never:
        async with connect(
            self._url,
            open_timeout=self._patience.connect_s,
            close_timeout=2,
            ping_timeout=60,  # while we wait for Kafka we do not read, nor see pongs: no reason to hang up soon
            max_size=2**24,
        ) as connection:
            self.session += 1
            self._connection = connection
            log.info("%s: connected to %s", self.name, self._url)
            greeting = asyncio.create_task(self._greet(connection))
            try:
                while True:
                    frame = await self._next(connection)
                    self._receiving = True
                    await self._receive(frame)
                    self._receiving = False
            finally:
                self._connection = None
                self._receiving = False
                greeting.cancel()
                with suppress(asyncio.CancelledError, ConnectionClosed):
                    await greeting

    async def _next(self, connection: ClientConnection) -> str | bytes:
        try:
            async with asyncio.timeout(self._patience.silence_s):
                return await connection.recv()
        except TimeoutError:
            raise TimeoutError(f"nothing received for {self._patience.silence_s:g} s") from None

    async def _greet(self, connection: ClientConnection) -> None:
        for number, greeting in enumerate(self._greetings):
            if number:
                await asyncio.sleep(self._greeting_interval_s)
            await connection.send(greeting)

    def _least_pause_s(self, error: InvalidStatus) -> float:
        status = error.response.status_code
        if status in REFUSALS:
            raise FeedRefusedError(f"{self.name}: {self._url} answered HTTP {status}: {REFUSALS[status]}") from error
        if status not in _THROTTLED:
            return 0.0
        asked = error.response.headers.get("Retry-After", "")
        return float(asked) if asked.isascii() and asked.isdigit() else _THROTTLE_S
