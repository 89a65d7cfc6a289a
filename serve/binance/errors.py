"""Binance's errors: code, words and HTTP status of each (binance-spot-api-docs, "Error codes for Binance").

The words are the exchange's own, because clients compare them; what only we refuse is said in ours. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serve.problems import Problem


class BinanceError(Problem):
    """A request that Binance refuses, or cannot answer: what is sent instead of an answer."""

    def __init__(self, code: int, message: str, *, status: int = 400, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers=headers)
        self.code = code

    def body(self) -> Mapping[str, Any]:
        """In Binance's form."""
        return {"code": self.code, "msg": self.detail}


_CODES = {
    400: -1100,  # illegal characters found in a parameter
    401: -2015,  # invalid API key, IP, or permissions for action
    429: -1003,  # too many requests
    503: -1008,  # server is currently overloaded
}
"""What Binance calls a refusal that has the same status here; else -1000, an unknown error."""


def refused(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> BinanceError:
    """What is no matter of a route's parameters, in our words."""
    return BinanceError(_CODES.get(status, -1000), detail, status=status, headers=headers)


def unsupported() -> BinanceError:
    """-1020: Binance has it, and trades alone do not tell it."""
    return BinanceError(-1020, "This operation is not supported.")


def illegal_characters(name: str, legal: str) -> BinanceError:
    """-1100."""
    return BinanceError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def too_many_parameters(expected: int, received: int) -> BinanceError:
    """-1101."""
    return BinanceError(-1101, f"Too many parameters; expected '{expected}' and received '{received}'.")


def duplicate_values() -> BinanceError:
    """-1101, for a parameter that comes twice."""
    return BinanceError(-1101, "Duplicate values for a parameter detected.")


def not_sent(name: str) -> BinanceError:
    """-1102: mandatory, and not there."""
    return BinanceError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def not_read(read: int, sent: int) -> BinanceError:
    """-1104: a parameter that the route does not know."""
    return BinanceError(-1104, f"Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'.")


def empty(name: str) -> BinanceError:
    """-1105: optional, and sent without a value."""
    return BinanceError(-1105, f"Parameter '{name}' was empty.")


def invalid_interval() -> BinanceError:
    """-1120."""
    return BinanceError(-1120, "Invalid interval.")


def invalid_symbol() -> BinanceError:
    """-1121."""
    return BinanceError(-1121, "Invalid symbol.")


def invalid_symbol_status() -> BinanceError:
    """-1122."""
    return BinanceError(-1122, "Invalid symbolStatus.")


def bad_combination() -> BinanceError:
    """-1128."""
    return BinanceError(-1128, "Combination of optional parameters invalid.")


def invalid_data(name: str) -> BinanceError:
    """-1130."""
    return BinanceError(-1130, f"Data sent for parameter '{name}' is not valid.")


def invalid_ticker_type() -> BinanceError:
    """-1139."""
    return BinanceError(-1139, "Invalid ticker type.")


def duplicate_symbols() -> BinanceError:
    """-1151."""
    return BinanceError(-1151, "Symbol is present multiple times in the list.")


def invalid_time_unit() -> BinanceError:
    """-1194."""
    return BinanceError(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def other_symbol_status() -> BinanceError:
    """-1220: every symbol here is TRADING."""
    return BinanceError(-1220, "The symbol's status does not match the requested symbolStatus.")


def not_authorized(key: str | None) -> BinanceError:
    """-2014 or -2015: accounts and orders need a key, and no key is one here."""
    if not key:
        return BinanceError(-2014, "API-key format invalid.", status=401)
    return BinanceError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
