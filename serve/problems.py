"""What is answered instead of data: a status, what is wrong, and what is allowed.

Own routes say `{"error": "…"}`. Binance's routes say `{"code": …, "msg": "…"}`, as Binance does: their own problems
derive from `Problem` and have another `body`; what is refused before a route is reached gets its form by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class BarsAway(RuntimeError):  # noqa: N818  # a state of the table
    """The table cannot be read now. The message says why, and what it waits for."""


class Problem(Exception):  # noqa: N818  # an answer
    """An answer that is none: its status, and a sentence for whoever asked."""

    def __init__(self, status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> Mapping[str, Any]:
        """What the answer holds."""
        return {"error": self.detail}


class Refused(Problem):
    """A refusal of a request to Binance's routes, before a route has looked at it."""

    def body(self) -> Mapping[str, Any]:
        """Binance's form."""
        return {"code": BINANCE_CODES.get(self.status, -1000), "msg": self.detail}


BINANCE_CODES = {
    400: -1100,  # illegal characters found in a parameter
    401: -2015,  # invalid API key, IP, or permissions for action
    404: -1000,  # unknown
    405: -1000,
    429: -1003,  # too many requests
    503: -1008,  # server is currently overloaded
}
"""What Binance calls a refusal that has the same status here; else -1000, an unknown error."""


def is_binance(path: str) -> bool:
    """Whether a path belongs to Binance's routes, bare or of one venue."""
    return "/api/v3" in path


def refusal(path: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A refusal in the form that belongs to the path."""
    return (Refused if is_binance(path) else Problem)(status, detail, headers=headers)


def away(path: str, error: Exception) -> Problem:
    """What is said where a part is away that the answer needs; it may be back in a second."""
    return refusal(path, 503, str(error), {"Retry-After": "1"})


def written(problem: Problem) -> bytes:
    """The body of a problem, as JSON."""
    return msgspec.json.encode(problem.body())
