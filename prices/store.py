"""Redis, as prices writes it. Every call takes a bounded time, and says for a person why Redis did not do it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.retry import Retry

from market.latest import (
    HEARTBEATS,
    KNOWN,
    NEWS,
    POSITIONS,
    TOPICS,
    address_of,
    heartbeat_field,
    name_of,
    price_key,
    trades_key,
)
from prices.chunks import MOST_SYMBOLS, Chunk, Name, Newest
from prices.script import LATE_MS, WRITE

CONNECT_S, ANSWER_S = 1.0, 2.0
"""How long Redis may take: a write is done within milliseconds."""
NEWS_KEPT = 2_000
"""Writes that a follower may be behind; then it begins anew."""
_SHA = hashlib.sha1(WRITE.encode(), usedforsecurity=False).hexdigest()


class StoreAway(Exception):  # noqa: N818  # not an error of ours, but a state of Redis
    """Redis does not answer in time, or refuses. The message says which Redis, and why."""


class Outcome(NamedTuple):
    """What became of a write."""

    is_written: bool
    """If not, Redis lacks records that came before these: it is empty, or an older copy of itself."""
    new: int
    seen: int
    """Trades that had come before."""
    late: int
    """Trades that are too old for the streams."""


class Store:
    """One Redis. Not for several threads at once."""

    def __init__(self, url: str, *, kept: int) -> None:
        """`kept`: how many trades of each symbol the streams hold, at least. Raises `ValueError` for a wrong URL."""
        self.address = address_of(url)
        self._kept = kept
        # Retries are the caller's, who has something better to do meanwhile. RESP2 is what every server speaks.
        self._redis: Any = Redis.from_url(
            url,
            protocol=2,
            decode_responses=True,
            socket_connect_timeout=CONNECT_S,
            socket_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),
        )

    def close(self) -> None:
        """Give the connections back."""
        self._redis.close()

    def write(self, chunks: Sequence[tuple[str, Chunk]]) -> list[Outcome]:
        """Write chunks, each with the field of its partition's position, in their order; repeating one is harmless."""
        calls = [
            self._call(
                position,
                chunk.start,
                chunk.end,
                self._kept,
                {name: "\n".join(lines) for name, lines in chunk.lines.items()},
                chunk.beats,
            )
            for position, chunk in chunks
        ]
        return [Outcome(bool(written), new, seen, late) for written, new, seen, late in self._run(calls)]

    def restore(self, newest: Mapping[Name, Newest]) -> None:
        """Write prices that were written before, where Redis has lost them. Never moves one back."""
        prices = list(newest.items())
        calls = []
        for first in range(0, len(prices), MOST_SYMBOLS):
            some = {name: last.line for name, last in prices[first : first + MOST_SYMBOLS]}
            calls.append(self._call("", 0, 0, 0, some, {}))
        self._run(calls)

    def evicting(self) -> str:
        """The policy by which Redis gives up our keys where its memory is full; empty: it does not, or says nothing."""
        policy: str = self._ask(self._eviction)
        return policy

    def ping(self) -> None:
        """Nothing but an answer."""
        self._ask(self._redis.ping)

    def positions(self, fields: Sequence[str]) -> list[int | None]:
        """The offset that each partition has come to; None where Redis knows nothing of it."""
        values: list[str | None] = self._ask(lambda: self._redis.hmget(POSITIONS, list(fields))) if fields else []
        return [int(value) if value and value.isdigit() else None for value in values]

    def topics(self, fields: Sequence[str]) -> list[str | None]:
        """The id of the topic that each position is one of; None where Redis does not know it."""
        ids: list[str | None] = self._ask(lambda: self._redis.hmget(TOPICS, list(fields))) if fields else []
        return ids

    def begin(self, positions: Mapping[str, int], topics: Mapping[str, str] | None = None) -> None:
        """From now on, records from these offsets on are expected; and whatever is expected is of these topics."""

        def write() -> None:
            with self._redis.pipeline(transaction=True) as pipeline:
                if positions:
                    pipeline.hset(POSITIONS, mapping=dict(positions))
                if topics:
                    pipeline.hset(TOPICS, mapping=dict(topics))
                pipeline.execute()

        self._ask(write)

    @staticmethod
    def _call(
        position: str, start: int, end: int, kept: int, lines: Mapping[Name, str], beats: Mapping[str, int]
    ) -> list[str | int]:
        keys = [KNOWN, POSITIONS, NEWS, HEARTBEATS]
        told = "\n".join(f"{heartbeat_field(exchange, position)} {time_ms}" for exchange, time_ms in beats.items())
        words: list[str | int] = [position, start, end, kept, NEWS_KEPT, LATE_MS, told]
        for name, text in lines.items():
            keys += [price_key(*name), trades_key(*name)]
            words += [name_of(*name), text]
        return [len(keys), *keys, *words]

    def _eviction(self) -> str:
        try:
            memory = self._redis.info("memory")
        except ResponseError:
            return ""  # who provides Redis does not allow the question
        policy = str(memory.get("maxmemory_policy", ""))
        # The others take only keys that expire, and ours do not: writes are then refused, and wait.
        return policy if policy.startswith("allkeys") and memory.get("maxmemory") else ""

    def _run(self, calls: Sequence[Sequence[str | int]]) -> list[Any]:
        return self._ask(lambda: self._evaluate(calls)) if calls else []

    def _evaluate(self, calls: Sequence[Sequence[str | int]]) -> list[Any]:
        for _ in range(2):
            with self._redis.pipeline(transaction=False) as pipeline:
                for call in calls:
                    pipeline.evalsha(_SHA, *call)
                answers: list[Any] = pipeline.execute(raise_on_error=False)
            failures = [answer for answer in answers if isinstance(answer, Exception)]
            if not failures:
                break
            if not any(isinstance(failure, NoScriptError) for failure in failures):
                raise failures[0]
            self._redis.script_load(WRITE)  # it was never there, or Redis has restarted
        else:
            raise failures[0]
        return answers

    def _ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except (RedisError, OSError) as error:
            raise StoreAway(f"Redis at {self.address}: {str(error) or type(error).__name__}") from error
