"""A second that is still open, as a bar that each trade is added to. Pure.

It says again what `market.bar.bars_of` says of all trades at once, because a busy second is asked for while it grows;
`tests/serve/test_running.py` holds the two together.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Context, Decimal

from market.bar import Bar, vwap_of
from market.trade import Trade

_EXACT = Context(prec=100)
_STEP = Decimal("1e-8")
_ZERO = Decimal(0)


class OpenSecond:
    """The trades of one exchange, symbol and second so far; of those with the same id, the first one."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._ids: set[int] = set()
        self._first: Trade | None = None
        self._last: Trade | None = None
        self._high = self._low = _ZERO
        self._volume = self._quote_volume = self._bought = self._bought_quote = _ZERO
        self._bar: Bar | None = None

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def first(self) -> Trade | None:
        """The first trade, by time and id."""
        return self._first

    def add(self, trade: Trade) -> bool:
        """Whether it is new."""
        if trade.trade_id in self._ids:
            return False
        self._ids.add(trade.trade_id)
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
            lowest, highest = min(self._ids), max(self._ids)
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
                trade_count=len(self._ids),
                taker_buy_volume=self._bought,
                taker_buy_quote_volume=self._bought_quote,
                first_trade_id=lowest,
                last_trade_id=highest,
                missing_trades=highest - lowest + 1 - len(self._ids),
            )
        return self._bar
