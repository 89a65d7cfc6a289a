"""A bar: its definition in plain Python, against which the Spark aggregation is held.

The rules are Binance's for klines (binance-spot-api-docs, "Kline/Candlestick data"): a trade belongs to the second of
its trade time; quote volume sums the products of price and quantity, each cut at 8 decimals as the exchange prints
`quoteQty`; taker buys are the trades whose maker sold. A second without a trade has no bar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_DOWN, Context, Decimal

from market.trade import Trade

WIDTH_MS = 1_000
ORDER_BASE = 2**53
"""Inside one bar, (timestamp mod 1000) * ORDER_BASE + trade_id is the order by (timestamp, trade_id), in 64 bits."""

_EXACT = Context(prec=100)
_STEP = Decimal("1e-8")


@dataclass(frozen=True, slots=True)
class Bar:
    """One row of `bars_1s`, for the trades of one exchange and symbol with start ≤ time < start + width."""

    exchange: str
    symbol: str
    timestamp: int
    """Start of the bar, milliseconds since the epoch, UTC."""
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    quote_volume: Decimal
    vwap: Decimal
    """quote_volume / volume, rounded half up at 8 decimals."""
    trade_count: int
    taker_buy_volume: Decimal
    taker_buy_quote_volume: Decimal
    first_trade_id: int
    last_trade_id: int
    missing_trades: int
    """Ids between the first and the last that no trade bears: 0 proves the bar complete."""
    revision: int = 0
    """0 as the stream wrote it; an amended bar is a further row, numbered one higher. The highest is current.

    Of a wider bar, the highest among those that it is made of: above 0, some of it was amended.
    """


def bars_of(trades: Iterable[Trade], width_ms: int = WIDTH_MS) -> list[Bar]:
    """The bars of some trades, in any order, sorted by exchange, symbol and time."""
    groups: defaultdict[tuple[str, str, int], list[Trade]] = defaultdict(list)
    for trade in trades:
        start = trade.timestamp - trade.timestamp % width_ms
        groups[trade.exchange, trade.symbol, start].append(trade)
    return [_bar(*key, group) for key, group in sorted(groups.items())]


def rolled_up(bars: Iterable[Bar], width_ms: int, phase_ms: int = 0) -> list[Bar]:
    """Wider bars made of narrower ones, in any order, sorted by exchange, symbol and time.

    They are what `bars_of` makes of the trades at this width, which must be a multiple of the bars' own: of the
    narrower ones, the first opens and the last closes. They begin at the multiples of the width plus `phase_ms`
    (weeks begin on Mondays, the epoch on a Thursday).
    """
    groups: defaultdict[tuple[str, str, int], list[Bar]] = defaultdict(list)
    for bar in bars:
        start = bar.timestamp - (bar.timestamp - phase_ms) % width_ms
        groups[bar.exchange, bar.symbol, start].append(bar)
    return [_rolled_up(*key, sorted(group, key=lambda bar: bar.timestamp)) for key, group in sorted(groups.items())]


def current(bars: Iterable[Bar]) -> list[Bar]:
    """The bars that count: of each exchange, symbol and time, the one with the highest revision."""
    latest: dict[tuple[str, str, int], Bar] = {}
    for bar in bars:
        key = bar.exchange, bar.symbol, bar.timestamp
        if key not in latest or bar.revision > latest[key].revision:
            latest[key] = bar
    return [latest[key] for key in sorted(latest)]


def vwap_of(quote_volume: Decimal, volume: Decimal) -> Decimal:
    """quote_volume / volume at 8 decimals, half up, in whole numbers: a quotient rounded twice can be wrong."""
    n, d = int(quote_volume.scaleb(8, _EXACT)), int(volume.scaleb(8, _EXACT))
    return Decimal((2 * n * 10**8 + d) // (2 * d)).scaleb(-8, _EXACT)


def _bar(exchange: str, symbol: str, start: int, trades: list[Trade]) -> Bar:
    ordered = sorted(trades, key=lambda trade: (trade.timestamp, trade.trade_id))
    prices = [Decimal(trade.price) for trade in ordered]
    volume = _sum(Decimal(trade.quantity) for trade in ordered)
    quote_volume = _sum(_quote(trade) for trade in ordered)
    taker_buys = [trade for trade in ordered if not trade.is_buyer_maker]
    ids = [trade.trade_id for trade in ordered]
    return Bar(
        exchange=exchange,
        symbol=symbol,
        timestamp=start,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=volume,
        quote_volume=quote_volume,
        vwap=vwap_of(quote_volume, volume),
        trade_count=len(ordered),
        taker_buy_volume=_sum(Decimal(trade.quantity) for trade in taker_buys),
        taker_buy_quote_volume=_sum(_quote(trade) for trade in taker_buys),
        first_trade_id=min(ids),
        last_trade_id=max(ids),
        missing_trades=max(ids) - min(ids) + 1 - len(ids),
    )


def _rolled_up(exchange: str, symbol: str, start: int, bars: list[Bar]) -> Bar:
    volume, quote_volume = _sum(bar.volume for bar in bars), _sum(bar.quote_volume for bar in bars)
    first, last = min(bar.first_trade_id for bar in bars), max(bar.last_trade_id for bar in bars)
    count = sum(bar.trade_count for bar in bars)
    return Bar(
        exchange=exchange,
        symbol=symbol,
        timestamp=start,
        open=bars[0].open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=bars[-1].close,
        volume=volume,
        quote_volume=quote_volume,
        vwap=vwap_of(quote_volume, volume),
        trade_count=count,
        taker_buy_volume=_sum(bar.taker_buy_volume for bar in bars),
        taker_buy_quote_volume=_sum(bar.taker_buy_quote_volume for bar in bars),
        first_trade_id=first,
        last_trade_id=last,
        missing_trades=last - first + 1 - count,
        revision=max(bar.revision for bar in bars),
    )


def _quote(trade: Trade) -> Decimal:
    product = _EXACT.multiply(Decimal(trade.price), Decimal(trade.quantity))
    return product.quantize(_STEP, rounding=ROUND_DOWN, context=_EXACT)


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    total = Decimal(0)
    for number in numbers:
        total = _EXACT.add(total, number)
    return total
