"""What is answered instead of data: a status, what is wrong, and what is allowed.

Own routes say `{"error": "…"}`. What Binance's routes say derives from `Problem` and has another `body`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

SOON = {"Retry-After": "1"}
"""Said where a part is away that the answer needs: it may be back in a second."""


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


def written(problem: Problem) -> bytes:
    """The body of a problem, as JSON."""
    return msgspec.json.encode(problem.body())
