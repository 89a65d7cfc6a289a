"""The page's routes for FastAPI: its files, by their names alone, and its stream; and how its parts start and end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse

from serve.own.query import Exchange, Interval, normal, only
from serve.page import assets
from serve.page.assets import ICON, INDEX, Asset
from serve.page.series import POSITION, read_position
from serve.page.stream import MOST_PAGES, Asked, Pages
from serve.page.watch import Watch
from serve.problems import Problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and no script or style that stands in the page itself."""
HEADERS = {"content-security-policy": POLICY, "cache-control": "no-cache"}
"""A browser keeps the files, and asks each time whether they are still the same."""
STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

Symbol = Annotated[
    str | None,
    Query(pattern="^[A-Za-z0-9][A-Za-z0-9_-]{0,23}$", description="What the page shows; without it, prices alone"),
]
After = Annotated[
    str | None, Query(pattern=f"^{POSITION}$", description="The id of the last event of bars that the page was told")
]


def router() -> APIRouter:
    """The routes, which OpenAPI does not tell: they belong to the page, and change with it."""
    made = APIRouter(include_in_schema=False, lifespan=_running)
    files = assets.read()

    async def index(request: Request) -> Response:
        return _answer(request, files[INDEX])

    async def file(request: Request, name: str) -> Response:
        found = files.get(name)
        if found is None:
            raise Problem(404, f"the page has no file {name[:50]!r}")
        return _answer(request, found)

    async def icon(request: Request) -> Response:
        return _answer(request, files[ICON])

    only_ours = [Depends(only("exchange", "symbol", "interval", "after"))]
    made.add_api_route("/page/stream", _stream, methods=["GET"], dependencies=only_ours)
    made.add_api_route("/page/{name}", file, methods=["GET", "HEAD"])
    # Browsers ask for it beside answers that name no icon: what somebody opens of /prices, say.
    made.add_api_route("/favicon.ico", icon, methods=["GET", "HEAD"])
    made.add_api_route("/", index, methods=["GET", "HEAD"])
    return made


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Follow what pages are told while the application runs."""
    state = app.state
    watch = Watch(state.bars, state.prices, state.news.hub, state.bars.hub, state.live.now_ms)
    state.page = Pages(watch, state.live, state.settings.stale_after)
    async with watch.following(state.works):
        yield
        state.page.end()


async def _stream(
    request: Request,
    symbol: Symbol = None,
    exchange: Exchange = None,
    interval: Interval = "1m",
    after: After = None,
) -> Response:
    """What has changed since the position that the page gives, or since now."""
    pages: Pages = request.app.state.page
    if (symbol is None) != (exchange is None):
        raise Problem(400, "exchange and symbol belong together: either both are given, or neither")
    if pages.open >= MOST_PAGES:
        raise Problem(503, f"{MOST_PAGES} pages are open already", headers={"Retry-After": "5"})
    key = (exchange, normal(symbol)) if symbol is not None and exchange is not None else None
    # A browser that comes back by itself says where it was in a header, and asks for the address of the first time.
    position = read_position(request.headers.get("last-event-id")) or read_position(after)
    told = pages.told(Asked(key, interval, position))
    return StreamingResponse(told, media_type="text/event-stream", headers=STREAM_HEADERS)


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**HEADERS, "etag": asset.etag}
    known = [etag.strip().removeprefix("W/") for etag in request.headers.get("if-none-match", "").split(",")]
    if asset.etag in known:
        return Response(status_code=304, headers=headers)
    return Response(asset.body, media_type=asset.media_type, headers=headers)
