"""Binance's market data, REST and streams, answered from our bars and prices, for every venue's symbols."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from serve.binance import routes


def routers() -> Sequence[APIRouter]:
    """Every route of Binance's: bare, for the first source that lists a symbol, and under each venue."""
    return routes.routers()
