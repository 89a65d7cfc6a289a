"""GET requests to one exchange's REST interface: within a budget of weight, and silent while the exchange bans us."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp

from producer.feeds.answers import REFUSALS, THROTTLED, FeedRefusedError, ban_s, shown
from producer.feeds.budget import Budget

log = logging.getLogger(__name__)

TIMEOUT_S = 15.0
LARGEST_ANSWER = 64 * 2**20
"""Bytes. The longest list of symbols, with every permission, is some 15 MiB; a page of trades is 150 KiB."""
USED_WEIGHT = "X-MBX-USED-WEIGHT-1M"
"""Binance's header: the weight of all requests from this address in the running minute."""

_LEAST_PAUSE_S = 1.0  # after a 429 that says "at once"
_SAME_BAN_S = 1.0  # ends that lie closer are one ban, told by several answers
_FINAL = (401, 403, 451)  # of REFUSALS; a path that is not found is one request's matter
_TRANSIENT = 500
_REQUEST_TIMEOUT = 408


class RestError(Exception):
    """A request failed, and the same one may succeed later."""


class RestRefusedError(Exception):
    """A request was answered with what no retry mends."""


class Timed(NamedTuple):
    """An answer, and when its request went out and its head came in, by the clock of `Rest`."""

    content: Any
    sent_s: float
    received_s: float


class Rest:
    """One REST base. All requests to it share a budget, and a ban stops them all."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base: str,
        *,
        name: str,
        weight_per_minute: int,
        timeout_s: float = TIMEOUT_S,
        largest_answer: int = LARGEST_ANSWER,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.requests = 0
        """Requests sent."""
        self.errors: Counter[str] = Counter()
        """Requests that failed, by kind: network, timeout, throttled, server, not JSON, too large, refused."""
        self.budget = Budget(weight_per_minute, now_s())
        self._session = session
        self._base = base
        self._name = name
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._timeout_s = timeout_s
        self._largest_answer = largest_answer
        self._now_s = now_s
        self._sleep = sleep
        self._turn = asyncio.Lock()  # first come, first served
        self._banned_until_s = float("-inf")
        self._has_served = False

    @property
    def banned_for_s(self) -> float:
        """How long the exchange does not want to hear from us; 0: it does."""
        return max(self._banned_until_s - self._now_s(), 0.0)

    async def get(self, path: str, *, weight: int = 1) -> Any:
        """The answer as JSON; numbers with a fraction stay text. Waits for the budget and for the end of a ban.

        Raises `RestError` where the same request may succeed later, `RestRefusedError` where it will not, and
        `FeedRefusedError` where the exchange refuses us altogether. One that has served us before and refuses us now is
        taken to ban us for a while: Binance's firewall answers 403 to who asks too much, and edges have faults.
        """
        return (await self.timed(path, weight=weight)).content

    async def timed(self, path: str, *, weight: int = 1) -> Timed:
        """As `get`, with the times that a clock is measured by."""
        await self._admitted(weight)
        url = self._base + path
        used: int | None = None
        self.requests += 1
        sent_s = self._now_s()
        try:
            async with self._session.get(url, timeout=self._timeout, allow_redirects=False) as response:
                received_s = self._now_s()
                used = _used_weight(response)
                if response.status in THROTTLED or self._bans(response.status):
                    self._note_ban(response)
                body = await self._body(response, url)
        except TimeoutError as error:
            raise self._failed("timeout", f"{url} did not answer within {self._timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError) as error:
            told = shown(str(error)) or type(error).__name__
            raise self._failed("network", f"{url} cannot be asked: {told}") from error
        finally:
            self.budget.answered(weight, used, self._now_s())
        self._judge(response.status, url, body)
        return Timed(self._content(url, body), sent_s, received_s)

    async def _admitted(self, weight: int) -> None:
        """Wait for the end of a ban, and until the budget holds so much; then it is spent."""
        async with self._turn:
            while pause_s := max(self.banned_for_s, self.budget.wait_s(weight, self._now_s())):
                await self._sleep(pause_s)
            self.budget.spend(weight, self._now_s())

    async def _body(self, response: aiohttp.ClientResponse, url: str) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._largest_answer:
                self.errors["too large"] += 1
                raise RestRefusedError(f"{self._name}: {url} answered with more than {self._largest_answer} bytes")
        return bytes(body)

    def _judge(self, status: int, url: str, body: bytes) -> None:
        if status == 200:
            self._has_served = True
            return
        told = f"{url} answered HTTP {status}: {shown(body.decode(errors='replace'))}".rstrip(": ")
        if status in THROTTLED:
            raise self._failed("throttled", told)
        if status >= _TRANSIENT or status == _REQUEST_TIMEOUT:
            raise self._failed("server", told)
        self.errors["refused"] += 1
        if self._bans(status):
            raise RestError(f"{self._name}: {told}")
        if status in _FINAL:
            raise FeedRefusedError(f"{self._name}: {url} answered HTTP {status}: {REFUSALS[status]}")
        raise RestRefusedError(f"{self._name}: {told}")

    def _content(self, url: str, body: bytes) -> Any:
        try:
            return json.loads(body, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            told = shown(body[:2_000].decode(errors="replace"))
            raise self._failed("not JSON", f"{url} answered with what is no JSON: {told}") from error

    def _failed(self, kind: str, told: str) -> RestError:
        self.errors[kind] += 1
        return RestError(f"{self._name}: {told}")

    def _bans(self, status: int) -> bool:
        """Whether a refusal, for all that is known, will pass."""
        return status in _FINAL and self._has_served

    def _note_ban(self, response: aiohttp.ClientResponse) -> None:
        told = response.headers.get("Retry-After")
        pause_s = max(ban_s(told, response.headers.get("Date")), _LEAST_PAUSE_S)
        until_s = self._now_s() + pause_s
        if until_s > self._banned_until_s + _SAME_BAN_S:
            end = datetime.now(UTC) + timedelta(seconds=pause_s)
            log.warning(
                "%s: HTTP %d, %s: no more requests for %.0f s, until %s UTC",
                self._name,
                response.status,
                "too many requests" if response.status in THROTTLED else "which refuses us",
                pause_s,
                f"{end:%Y-%m-%d %H:%M:%S}",
            )
        self._banned_until_s = max(self._banned_until_s, until_s)


def _used_weight(response: aiohttp.ClientResponse) -> int | None:
    told = response.headers.get(USED_WEIGHT, "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else None
