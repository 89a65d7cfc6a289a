"""Until when every trade is known: what producers promise, once all trades before it were heard. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from serve.news import Place
from serve.prices import Promises


class Promised:
    """The promises of producers, by exchange.

    Redis tells a promise one way and its trades another, which may be behind: it counts when those that it is about
    were heard.
    """

    def __init__(self) -> None:
        self._until_ms: dict[str, int] = {}
        self._redis_until_ms: Mapping[str, int] = {}
        self._waiting: Promises | None = None
        self._heard: Place | None = None

    def until_ms(self, exchange: str) -> int:
        """Every trade of an exchange that was before this time is known. 0: nothing is promised.

        What was promised once stays so for what the table has, whatever Redis forgets.
        """
        return self._until_ms.get(exchange, 0)

    def redis_until_ms(self, exchange: str) -> int:
        """The same, as Redis promises it now, of the trades that it has: an older copy of itself has fewer."""
        return self._redis_until_ms.get(exchange, 0)

    def hear(self, place: Place) -> None:
        """All trades up to a place of the news were heard."""
        self._heard = place
        self._settle()

    def tell(self, promises: Promises) -> None:
        """What Redis promises now. While an earlier one waits to be heard, the next one has time."""
        if self._waiting is None:
            self._waiting = promises
            self._settle()

    def lose(self) -> None:
        """Redis is away, or may be another one."""
        self._redis_until_ms, self._waiting = {}, None

    def begin(self) -> None:
        """Nothing was heard yet, or some may be missing."""
        self._heard = None
        self.lose()

    def _settle(self) -> None:
        if self._waiting is None or self._heard is None or self._heard < self._waiting.place:
            return
        self._redis_until_ms, self._waiting = self._waiting.until_ms, None
        for exchange, time_ms in self._redis_until_ms.items():
            self._until_ms[exchange] = max(time_ms, self.until_ms(exchange))
