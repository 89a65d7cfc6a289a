"""Binance's routes for FastAPI: which address is answered by what, and how the parts start and end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.datastructures import State
from starlette.websockets import WebSocket

from serve.binance import errors, openapi
from serve.binance.push import Push
from serve.binance.query import unit_us
from serve.binance.rest import ROUTES, UNTOLD, Call, Route, is_of_account
from serve.binance.service import Service
from serve.binance.sockets import Sockets
from serve.binance.symbols import VENUES
from serve.binance.weights import HEADER, Weights
from serve.prices import PricesAway
from serve.problems import SOON, BarsAway, Problem, written

METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH"]
_NOT_FOUND = "<html><body><h2>404 Not found</h2></body></html>"

Endpoint = Callable[[Request], Awaitable[Response]]


class Parts:
    """What the routes are answered from, in the state of the application."""

    def __init__(self, state: State) -> None:
        """Of an application whose other parts are there."""
        self.service = Service(state.bars, state.prices, state.live)
        self.push = Push(self.service, state.news.hub)
        self.sockets = Sockets(self.push, getattr(state, "socket_limits", None))
        self.weights = Weights()


@asynccontextmanager
async def _running(app: FastAPI) -> AsyncIterator[None]:
    """Push streams while the application runs."""
    parts = app.state.binance = Parts(app.state)
    async with parts.push.pushing(app.state.works):
        yield


def routers() -> Sequence[APIRouter]:
    """One router for each venue, and the bare one."""
    return [_router(venue, is_first=number == 0) for number, venue in enumerate(VENUES)]


def _router(venue: str, *, is_first: bool) -> APIRouter:
    router = APIRouter(tags=["Binance"], lifespan=_running if is_first else None)
    for path, route in ROUTES.items():
        described: dict[str, Any] = {"parameters": openapi.parameters(route.parameters)}
        router.add_api_route(
            f"{venue}/api/v3/{path}",
            _endpoint(venue, route),
            methods=["GET"],
            summary=(route.answer.__doc__ or "").strip(),
            operation_id=f"{venue.strip('/') or 'any'}_{path.replace('/', '_')}",
            responses=openapi.responses(path),
            openapi_extra=described,
            response_class=Response,
        )
    router.add_api_route(f"{venue}/api/v3/{{path:path}}", _others, methods=METHODS, include_in_schema=False)
    for suffix, combined in (("/ws", False), ("/ws/{streams:path}", False), ("/stream", True)):
        router.add_api_websocket_route(f"{venue}{suffix}", _socket(venue, combined=combined))
    return router


def _endpoint(venue: str, route: Route) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        parts: Parts = request.app.state.binance
        sent = request.query_params.multi_items()
        client = request.client.host if request.client else ""
        used = parts.weights.add(client, route.weight(sent), parts.service.now_ms())
        headers = {HEADER: str(used)}
        try:
            unit = unit_us(request.headers.get("X-MBX-TIME-UNIT"))
            body = await route.answer(Call(parts.service, venue, sent, unit))
        except Problem as problem:
            return _refused(problem, headers)
        except (BarsAway, PricesAway) as error:
            return _refused(errors.refused(503, str(error), headers=SOON), headers)
        return Response(body, media_type="application/json", headers=headers)

    return endpoint


async def _others(request: Request) -> Response:
    """What Binance has and we have not, and what is nowhere."""
    path = request.path_params["path"]
    if path in ROUTES:
        problem = errors.refused(405, f"{request.method} is not allowed here; GET is", headers={"Allow": "GET"})
        return _refused(problem, {})
    if is_of_account(path):
        return _refused(errors.not_authorized(request.headers.get("X-MBX-APIKEY")), {})
    if path in UNTOLD:
        return _refused(errors.unsupported(), {})
    return Response(_NOT_FOUND, 404, media_type="text/html")


def _socket(venue: str, *, combined: bool) -> Callable[[WebSocket], Awaitable[None]]:
    async def endpoint(websocket: WebSocket) -> None:
        parts: Parts = websocket.app.state.binance
        await parts.sockets.serve(websocket, venue, combined=combined)

    return endpoint


def _refused(problem: Problem, headers: dict[str, str]) -> Response:
    return Response(
        written(problem), problem.status, media_type="application/json", headers={**headers, **problem.headers}
    )
