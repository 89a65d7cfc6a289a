"""The page at `/`: candles that move, latest prices, how the service is; its files, and the stream that feeds it."""

from __future__ import annotations

from fastapi import APIRouter

from serve.page import routes


def router() -> APIRouter:
    """Its routes. Included after those of `serve.binance`, whose start makes what runs known."""
    return routes.router()
