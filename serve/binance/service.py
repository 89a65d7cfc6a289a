"""What Binance's routes and streams are answered from: bars, prices and what runs, by venue. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from market.bar import WIDTH_MS, Bar
from market.latest import Price
from market.trade import Trade, is_symbol
from serve.bars import Bars
from serve.binance import errors
from serve.binance.day import Days, as_one
from serve.binance.klines import klines
from serve.binance.query import KlinesQuery, TradesQuery
from serve.binance.rows import Rows
from serve.binance.shapes import Day
from serve.binance.symbols import VENUES, source_of, sources_of, with_others
from serve.live.live import Live, between
from serve.live.records import Key
from serve.prices import Prices, PricesAway
from serve.problems import BarsAway
from serve.running import floored

AVERAGE_MS = 300_000
"""The average price is that of 5 minutes."""


class Service:
    """The parts of the query service, as Binance's market data."""

    def __init__(self, bars: Bars, prices: Prices, live: Live) -> None:
        self.bars, self.prices, self.live = bars, prices, live
        self.rows = Rows()
        self._days = Days(bars, live)

    def now_ms(self) -> int:
        """The exchange's clock is ours."""
        return self.live.now_ms()

    def known_source(self, venue: str, symbol: str) -> str | None:
        """The exchange that answers for a symbol that has bars."""
        return source_of(venue, self.bars.exchanges_of(symbol))

    async def source(self, venue: str, symbol: str) -> str:
        """The exchange that answers for a symbol, which has bars, or a price already.

        Raises `BinanceError` where nobody has it, `BarsAway` where that is not known yet.
        """
        exchange = self.known_source(venue, symbol)
        if exchange:
            return exchange
        if is_symbol(symbol):
            for other in VENUES[venue]:
                if await self._seen(other, symbol):
                    return other
        if not self.bars.knows_all:
            raise BarsAway(self.bars.follower.problem or "the table is still being looked through for symbols")
        raise errors.invalid_symbol()

    async def sources(self, venue: str, names: Sequence[str] | None) -> dict[str, str]:
        """Some symbols or all, each with the exchange that answers for it. Raises `BinanceError`."""
        if names is not None:
            return {name: await self.source(venue, name) for name in names}
        try:
            seen = [(price.exchange, price.symbol) for price in await self.prices.all()]
        except PricesAway:
            seen = []  # what has bars is listed nevertheless
        return sources_of(venue, with_others(self.bars.symbols(), seen))

    async def klines(self, exchange: str, query: KlinesQuery, unit_us: int) -> bytes:
        """Klines, as they are sent. Raises `BarsAway`."""
        return await klines(self.bars, self.live, self.rows, exchange, query, unit_us)

    async def trades(self, exchange: str, query: TradesQuery) -> list[Trade]:
        """The newest trades, or those from an id on, as far as Redis holds them. Raises `PricesAway`."""
        return await self.prices.trades(exchange, query.symbol, limit=query.limit, from_id=query.from_id)

    async def latest(self, keys: Iterable[Key]) -> dict[Key, Price]:
        """The latest trades of symbols, of those that have one, in one question. Raises `PricesAway`."""
        return {(price.exchange, price.symbol): price for price in await self.prices.some(list(keys))}

    async def prices_of(self, sources: Mapping[str, str]) -> dict[str, str]:
        """The latest price of each symbol, where there is one. Raises `PricesAway`, `BarsAway`."""
        known = await self.latest((exchange, symbol) for symbol, exchange in sources.items())
        found: dict[str, str] = {}
        for symbol, exchange in sources.items():
            latest = known.get((exchange, symbol))
            price = latest.price if latest else None
            if price is None:  # Redis was emptied, and nobody has traded since
                newest = await self._newest(exchange, symbol)
                price = str(newest.close) if newest else None
            if price is not None:
                found[symbol] = price
        return found

    async def days_of(self, sources: Mapping[str, str]) -> list[Day]:
        """The 24 hours until now of each symbol. Raises `PricesAway`, `BarsAway`."""
        keys = [(exchange, symbol) for symbol, exchange in sources.items()]
        latest = await self.latest(keys)
        return [await self.day(key, latest.get(key)) for key in keys]

    async def day(self, key: Key, latest: Price | None) -> Day:
        """The 24 hours until now, of a symbol whose latest trade this is. Raises `BarsAway`."""
        return await self._days.day(*key, latest)

    async def average(self, exchange: str, symbol: str) -> tuple[Decimal, int]:
        """The average price of 5 minutes, and when the last trade was. Raises `PricesAway`, `BarsAway`."""
        last = await self.prices.latest(exchange, symbol)
        running = await self.live.running(exchange, symbol, WIDTH_MS)
        start_ms = -floored(AVERAGE_MS - self.now_ms(), WIDTH_MS)
        found = await between(self.bars, (exchange, symbol), start_ms, max(running.closed_ms, start_ms))
        found += [bar for bar in running.bars if bar.timestamp >= start_ms]
        one = as_one(found, start_ms, start_ms + 2 * AVERAGE_MS)
        if one:
            return one.vwap, last.timestamp if last else one.timestamp
        if last:
            return Decimal(last.price), last.timestamp
        newest = await self._newest(exchange, symbol)
        if newest is None:
            raise errors.invalid_symbol()
        return newest.close, newest.timestamp

    async def _newest(self, exchange: str, symbol: str) -> Bar | None:
        found = await self.bars.read(exchange, symbol, WIDTH_MS, start_ms=None, end_ms=None, limit=1)
        return found[0] if found else None

    async def _seen(self, exchange: str, symbol: str) -> bool:
        try:
            return await self.prices.latest(exchange, symbol) is not None
        except PricesAway:
            return False  # as far as can be known now
