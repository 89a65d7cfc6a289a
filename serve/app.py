"""The application: its parts, its routes, and what is said where something is wrong."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from market.latest import address_of
from market.metrics import Sample
from market.settings import Settings, SettingsError
from serve import binance, page
from serve.access import Access
from serve.bars import Bars
from serve.cors import Cors
from serve.gate import Gate
from serve.limits import Limits
from serve.live.live import Live, now_ms
from serve.meters import Meters
from serve.news import News
from serve.own import bars as bars_routes
from serve.own import health, query
from serve.own import prices as prices_routes
from serve.prices import Prices, PricesAway
from serve.problems import SOON, BarsAway, Problem, written
from serve.refusals import refusal
from serve.schemas import Service
from serve.tasks import Works

log = logging.getLogger(__name__)


def app(settings: Settings) -> FastAPI:
    """The service with these settings. Its parts are in `state`; they begin when it does. Raises `SettingsError`."""
    service = Service(title="live-bars", docs_url=None, redoc_url=None, lifespan=_running)
    state = service.state
    state.settings = settings
    state.bars = Bars.of(settings)
    try:
        state.prices, state.news = Prices(settings.redis), News(settings.redis)
    except ValueError as error:  # an option in the URL, which is for the client to judge
        raise SettingsError(f"REDIS_URL={address_of(settings.redis)} is not allowed: {error}") from None
    state.works = Works()
    state.readiness = health.Readiness(state)
    state.redis_up = False
    state.meters = Meters(lambda: samples(state))
    for router in (prices_routes.router, bars_routes.router, health.router, *binance.routers(), page.router()):
        service.include_router(router)
    _tell_problems(service)
    limits, cors = Limits(settings.serve_rate), Cors(settings.serve_origins)
    state.access = Access(settings)
    service.add_middleware(Gate, access=state.access, cors=cors, limits=limits, meters=state.meters)
    return service


@asynccontextmanager
async def _running(service: FastAPI) -> AsyncIterator[None]:
    state = service.state
    async with AsyncExitStack() as stack:
        stack.push_async_callback(state.prices.close)
        stack.push_async_callback(state.bars.close)
        await state.bars.start()
        stack.push_async_callback(state.news.close)
        clock = getattr(state, "clock", now_ms)  # tests stop it
        topic = state.settings.kafka_topic
        state.live = Live(state.bars, state.prices, state.news, topic, clock)
        await stack.enter_async_context(state.live.running_on(state.works))
        await stack.enter_async_context(state.works.going_on({"trades of Redis": state.news.run}))
        yield


def _tell_problems(service: FastAPI) -> None:
    """What is raised, as answers."""

    async def problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return _response(error)

    async def part_away(request: Request, error: Exception) -> Response:
        if isinstance(error, PricesAway):
            request.app.state.redis_up = False
        return _response(refusal(request.url.path, 503, str(error), SOON))

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = {404: f"there is nothing at {request.url.path[:200]}", 405: f"{request.method} is not allowed here"}
        detail = said.get(error.status_code, str(error.detail))
        headers = {"Allow": "GET, HEAD"} if error.status_code == 405 else {}
        return _response(refusal(request.url.path, error.status_code, detail, dict(error.headers or {}) | headers))

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        detail = "; ".join(_said(one) for one in error.errors()[:5])
        return _response(refusal(request.url.path, 400, detail))

    service.add_exception_handler(Problem, problem)
    service.add_exception_handler(BarsAway, part_away)
    service.add_exception_handler(PricesAway, part_away)
    service.add_exception_handler(HTTPException, http)
    service.add_exception_handler(RequestValidationError, invalid)


def _response(problem: Problem) -> Response:
    return Response(
        written(problem), status_code=problem.status, media_type="application/json", headers=dict(problem.headers)
    )


def _said(error: Any) -> str:
    """What is wrong with a parameter, of pydantic's description."""
    name = error["loc"][-1]
    if error["type"] == "missing":
        return f"{name} is missing"
    pattern = error.get("ctx", {}).get("pattern")
    must = f"it must be {query.MEANINGS[pattern]}" if pattern in query.MEANINGS else error["msg"]
    given = str(error.get("input"))[:100]
    return f"{name}={given} is not allowed: {must}"


def samples(state: Any) -> Iterable[Sample]:
    """What the parts tell of themselves."""
    follower = state.bars.follower
    counts, table = follower.counts, follower.state
    yield Sample("serve_redis_up", float(state.redis_up))
    yield Sample("serve_table_up", float(not follower.problem))
    yield Sample("serve_commits_total", counts.commits)
    yield Sample("serve_bars_total", counts.bars)
    yield Sample("serve_amended_bars_total", counts.amended)
    yield Sample("serve_table_loads_total", counts.loads)
    yield Sample("serve_table_failures_total", counts.failures)
    yield Sample("serve_reads_waiting", state.bars.apart.waiting)
    yield Sample("serve_reads_total", state.bars.apart.done)
    if table:
        yield Sample("serve_table_version", table.version)
        yield Sample("serve_table_end_timestamp_seconds", table.history.end_ms / 1000)
        yield Sample("serve_recent_bars", len(table.recent))
        yield Sample("serve_recent_texts", table.recent.texts)
        yield Sample("serve_pages_bytes", table.history.pages.size)
        yield Sample("serve_days_made_total", table.history.days_made)
        yield Sample("serve_days_not_kept_total", table.history.days_not_kept)
    yield Sample("serve_open_seconds", state.live.records.size)
    yield Sample("serve_open_seconds_forgotten_total", state.live.records.forgotten)
    for name, hub in (("trades", state.news.hub), ("bars", state.bars.hub)):
        yield Sample("serve_listeners", hub.listeners, (("stream", name),))
        yield Sample("serve_listeners_cut_total", hub.cut, (("stream", name),))
    for name, failures in state.works.failures.items():
        yield Sample("serve_failures_total", failures, (("part", name),))
    yield Sample("serve_kline_texts", len(state.binance.service.rows))
    yield Sample("serve_sockets", state.binance.push.clients)
    yield Sample("serve_sockets_cut_total", state.binance.sockets.cut)
    yield Sample("serve_sockets_waiting_characters", state.binance.sockets.budget.waiting)
    yield Sample("serve_sockets_lost_trades_total", state.binance.push.lost_trades)
