"""What every page is told, followed once for all of them: prices, rates, amendments, and how Redis and the table are.

Redis is asked for prices only while somebody looks. Trades and commits are heard all the time, so that a page that
comes back can be told what it has missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from market.bar import Bar
from market.latest import Price
from serve.bars import Bars, rank
from serve.hub import Hub, heard
from serve.news import NewTrades
from serve.page.journal import Journal, Key
from serve.page.rates import Rates
from serve.prices import Prices, PricesAway
from serve.tasks import Works

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often prices are asked for; less often where many symbols make it long."""
ASK_S = 2.0


class Watch:
    """The parts of the service, as pages see them."""

    def __init__(
        self,
        bars: Bars,
        prices: Prices,
        trades: Hub[NewTrades],
        commits: Hub[Sequence[Bar]],
        now_ms: Callable[[], int],
    ) -> None:
        self.bars, self._prices, self._trades, self._commits = bars, prices, trades, commits
        self.now_ms = now_ms
        self.journal = Journal()
        self.rates = Rates()
        self.latest: Mapping[Key, Price] = {}
        """The newest trade of each symbol, as Redis had it last."""
        self.redis_problem: str | None = None
        """Why there are no new prices; empty where there are, None where it was not asked since somebody looks."""
        self._looking = 0
        self._looked_at = asyncio.Event()

    @property
    def table_problem(self) -> str:
        """Why the table cannot be followed; empty where it can."""
        return self.bars.follower.problem

    @asynccontextmanager
    async def following(self, works: Works) -> AsyncIterator[None]:
        """Follow until the block is left."""
        own = {"pages: trades": self._hear_trades, "pages: commits": self._hear_commits, "pages: prices": self._poll}
        async with works.going_on(own):
            yield

    @contextmanager
    def looked_at(self) -> Iterator[None]:
        """While a page is open."""
        if not self._looking:
            self.redis_problem = None
        self._looking += 1
        self._looked_at.set()
        try:
            yield
        finally:
            self._looking -= 1
            if not self._looking:
                self._looked_at.clear()

    def symbols(self) -> list[Key]:
        """Every exchange and symbol that has bars or a price, by symbol, in the order of the exchanges."""
        known = {(exchange, symbol) for symbol, listed in self.bars.symbols().items() for exchange in listed}
        return sorted(known | self.latest.keys(), key=lambda key: (key[1], rank(key[0])))

    def knows(self, key: Key) -> bool:
        """Whether a symbol has bars or a price."""
        return key in self.latest or key[0] in self.bars.exchanges_of(key[1])

    async def _poll(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._looked_at.wait()
            began_s = loop.time()
            try:
                async with asyncio.timeout(ASK_S):
                    found = await self._prices.all()
            except (PricesAway, TimeoutError) as error:
                self._lose(str(error) or f"Redis has not answered within {ASK_S:g} s")
            else:
                # One that Redis has lost is the newest that is known all the same.
                self.latest = {**self.latest, **{(price.exchange, price.symbol): price for price in found}}
                self.redis_problem = ""
            await asyncio.sleep(max(POLL_S, 10 * (loop.time() - began_s)))

    def _lose(self, problem: str) -> None:
        if not self.redis_problem:
            log.warning("pages get no new prices: %s", problem)
        self.redis_problem = problem

    async def _hear_trades(self) -> None:
        async def hear(items: AsyncIterator[NewTrades]) -> None:
            self.rates.begin(self.now_ms())
            async for new in items:
                if new.trades:
                    self.rates.add(new.trades, self.now_ms())
                else:
                    self.rates.begin(self.now_ms())  # some may be missing

        await heard(self._trades, hear, "trades for pages")

    async def _hear_commits(self) -> None:
        async def hear(items: AsyncIterator[Sequence[Bar]]) -> None:
            self.journal.begin(self.bars.end_ms() or 0)
            async for bars in items:
                if bars:
                    self.journal.note(bars)
                else:
                    self.journal.begin(self.bars.end_ms() or 0)

        await heard(self._commits, hear, "commits for pages")
