"""A second that is still open, as a bar that each trade is added to. Pure.

It says again what `market.bar.bars_of` says of all trades at once, because a busy second is asked for while it grows;
`tests/serve/live/test_open_trades.py` holds the two together.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal

from market.bar import Bar, vwap_of
from market.ids import Ids
from market.trade import Trade

_EXACT = Context(prec=100)
_STEP = Decimal("1e-8")
_ZERO = Decimal(0)


class OpenSecond:
    """The trades of one exchange, symbol and second so far; of those with the same id, the first one."""

    __slots__ = (
        "_bar",
        "_bought",
        "_bought_quote",
        "_count",
        "_first",
        "_high",
        "_ids",
        "_last",
        "_low",
        "_quote_volume",
        "_start_ms",
        "_volume",
    )

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._ids = Ids()
        self._count = 0
        self._first: Trade | None = None
        self._last: Trade | None = None
        self._high = self._low = _ZERO
        self._volume = self._quote_volume = self._bought = self._bought_quote = _ZERO
        self._bar: Bar | None = None

    @property
    def size(self) -> int:
        """What it takes of memory: 1 however many trades it has, and 1 more for each hole in their ids."""
        return self._ids.pieces

    @property
    def last_id(self) -> int:
        """The highest trade id."""
        return self._ids.last

    def add(self, trade: Trade) -> bool:
        """Whether it is new."""
        if not self._ids.add(trade.trade_id):
            return False
        self._count += 1
        self._bar = None
        price, quantity = Decimal(trade.price), Decimal(trade.quantity)
        quote = _EXACT.multiply(price, quantity).quantize(_STEP, rounding=ROUND_DOWN, context=_EXACT)
        order = trade.timestamp, trade.trade_id
        if self._first is None or order < (self._first.timestamp, self._first.trade_id):
            self._first = trade
        if self._last is None or order > (self._last.timestamp, self._last.trade_id):
            self._last = trade
        self._high = max(self._high, price)
        self._low = min(self._low or price, price)
        self._volume = _EXACT.add(self._volume, quantity)
        self._quote_volume = _EXACT.add(self._quote_volume, quote)
        if not trade.is_buyer_maker:
            self._bought = _EXACT.add(self._bought, quantity)
            self._bought_quote = _EXACT.add(self._bought_quote, quote)
        return True

    def bar(self) -> Bar:
        """The bar that these trades make."""
        if self._bar is None:
            if self._first is None or self._last is None:
                raise ValueError(f"no trade in the second of {self._start_ms}")
            lowest, highest = self._ids.first, self._ids.last
            self._bar = Bar(
                exchange=self._first.exchange,
                symbol=self._first.symbol,
                timestamp=self._start_ms,
                open=Decimal(self._first.price),
                high=self._high,
                low=self._low,
                close=Decimal(self._last.price),
                volume=self._volume,
                quote_volume=self._quote_volume,
                vwap=vwap_of(self._quote_volume, self._volume),
                trade_count=self._count,
                taker_buy_volume=self._bought,
                taker_buy_quote_volume=self._bought_quote,
                first_trade_id=lowest,
                last_trade_id=highest,
                missing_trades=highest - lowest + 1 - self._count,
            )
        return self._bar
