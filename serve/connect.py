"""How Redis is connected to: every question is answered within a bounded time, or fails."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

ANSWER_S = 0.5
"""How long Redis may take to answer a question: it takes less than a millisecond."""
CONNECTIONS = 32
"""To Redis, at most; more questions at once wait for one."""


def client(url: str, wait_s: float = 0.0) -> Any:
    """A client whose questions may wait so long for something to come. Raises `ValueError` for a wrong URL."""
    # One attempt: who asks has a person waiting. RESP2 is what every server speaks.
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        decode_responses=True,
        max_connections=CONNECTIONS,
        timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        socket_timeout=wait_s + ANSWER_S,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
