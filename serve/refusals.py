"""What is refused by more than one kind of route, in the form that belongs to its path: Binance's, or our own. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from serve.binance import errors
from serve.problems import Problem


def is_binance(path: str) -> bool:
    """Whether a path belongs to Binance's routes, bare or of one venue."""
    return "/api/v3" in path


def refusal(path: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Problem:
    """A refusal in the form that belongs to the path."""
    return (errors.refused if is_binance(path) else Problem)(status, detail, headers=headers)
