"""The parameters of a request, read one by one as Binance reads them, and refused with its errors. Pure.

(binance-spot-api-docs, "REST API" and "Error codes for Binance".) The order in which mistakes are found is the
exchange's, as far as it has been seen to answer: a parameter sent twice, too many of them, each one by itself, then
those that nobody read; only then, whether a symbol is listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from market.widths import LATEST_MS
from serve.binance import errors

DEFAULT_ROWS, MAX_ROWS = 500, 1_000

_MICROSECONDS = 10**14
"""A time from here on is in microseconds: in milliseconds it would be in the year 5138."""
_INT64_LIMIT = 2**63

INTEGER = "^[0-9]{1,20}$"
SYMBOL = r"^[\w\-._&&[^a-z]]{1,50}$"  # as the exchange prints it: Java's way of saying `\w` without `a-z`
SYMBOLS = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'

_is_integer = re.compile("[0-9]{1,20}", re.ASCII).fullmatch
_ONE = r"(?:[^\Wa-z]|[-.]){1,50}"
_is_symbol = re.compile(_ONE).fullmatch
_is_symbols = re.compile(rf'\[(?:"{_ONE}"(?:,"{_ONE}")*)?\]').fullmatch
_time_zone = re.compile("([+-]?)([0-9]{1,2})(?::([0-9]{2}))?", re.ASCII).fullmatch

STATUSES = ("TRADING", "HALT", "BREAK")


class Symbols(NamedTuple):
    """Which symbols are asked for."""

    names: tuple[str, ...] | None
    """None: all."""
    one: bool = False
    """Whether the answer is one object, and no list."""


class Parameters:
    """The parameters of one request, as they are read one by one. `finish` refuses what nobody has read."""

    def __init__(self, sent: Sequence[tuple[str, str]], allowed: int) -> None:
        """`sent`: names and values in the order of the address; `allowed`: how many the route knows."""
        self._sent = dict(sent)
        self._read: set[str] = set()
        if len(self._sent) < len(sent):
            raise errors.duplicate_values()
        if len(sent) > allowed:
            raise errors.too_many_parameters(allowed, len(sent))

    def finish(self) -> None:
        """Refuse a parameter that the route does not know."""
        read = len(self._read & self._sent.keys())
        if read < len(self._sent):
            raise errors.not_read(read, len(self._sent))

    def has(self, name: str) -> bool:
        """Whether a parameter was sent."""
        return name in self._sent

    def text(self, name: str) -> str | None:
        """An optional parameter, None where it was not sent."""
        self._read.add(name)
        text = self._sent.get(name)
        if text == "":
            raise errors.empty(name)
        return text

    def mandatory(self, name: str) -> str:
        """A parameter that has to be there."""
        self._read.add(name)
        text = self._sent.get(name)
        if not text:
            raise errors.not_sent(name)
        return text

    def symbol(self) -> str:
        """The symbol, mandatory; whether anybody lists it is another question."""
        return _symbol(self.mandatory("symbol"))

    def symbols(self) -> Symbols:
        """One symbol, several, or all."""
        one, several = self.text("symbol"), self.text("symbols")
        if one is not None and several is not None:
            raise errors.bad_combination()
        if one is not None:
            return Symbols((_symbol(one),), one=True)
        if several is None:
            return Symbols(None)
        if not _is_symbols(several):
            raise errors.illegal_characters("symbols", SYMBOLS)
        names = tuple(json.loads(several))
        if len(set(names)) < len(names):
            raise errors.duplicate_symbols()
        return Symbols(names)

    def integer(self, name: str) -> int | None:
        """A whole number, None where it was not sent."""
        text = self.text(name)
        if text is None:
            return None
        if not _is_integer(text):
            raise errors.illegal_characters(name, INTEGER)
        if int(text) >= _INT64_LIMIT:
            raise errors.invalid_data(name)
        return int(text)

    def limit(self) -> int:
        """How many rows are asked for; more than `MAX_ROWS` are never given."""
        limit = self.integer("limit")
        if limit == 0:
            raise errors.invalid_data("limit")
        return DEFAULT_ROWS if limit is None else min(limit, MAX_ROWS)

    def start_ms(self) -> int | None:
        """The first whole millisecond that is not before `startTime`, which may be in ms or µs."""
        time = self.integer("startTime")
        if time is None:
            return None
        return min(-(-time // 1_000) if time >= _MICROSECONDS else time, LATEST_MS)

    def end_ms(self) -> int | None:
        """The last whole millisecond that is not after `endTime`, which may be in ms or µs."""
        time = self.integer("endTime")
        if time is None:
            return None
        return min(time // 1_000 if time >= _MICROSECONDS else time, LATEST_MS)

    def offset_ms(self) -> int:
        """How far ahead of UTC the clock is by which intervals begin: `timeZone`."""
        text = self.text("timeZone")
        if text is None:
            return 0
        match = _time_zone(text.strip())  # a plus that is not escaped arrives as a blank
        if not match:
            raise errors.invalid_data("timeZone")
        sign, hours, minutes = match[1], int(match[2]), int(match[3] or 0)
        offset = (-1 if sign == "-" else 1) * (hours * 60 + minutes)
        if minutes > 59 or minutes % 15 or not -12 * 60 <= offset <= 14 * 60:  # no clock is set to other minutes
            raise errors.invalid_data("timeZone")
        return offset * 60_000

    def status(self) -> str:
        """`symbolStatus`."""
        status = self.text("symbolStatus")
        if status is not None and status not in STATUSES:
            raise errors.invalid_symbol_status()
        return status or "TRADING"


def _symbol(text: str) -> str:
    if not _is_symbol(text):
        raise errors.illegal_characters("symbol", SYMBOL)
    return text
