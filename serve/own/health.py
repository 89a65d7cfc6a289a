"""`/healthz`, `/readyz` and `/metrics`: how the service is."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Response

from serve.own.query import only
from serve.prices import PricesAway

router = APIRouter(tags=["service"])

ASK_S = 2.0
"""How long Redis may take to answer `/readyz`."""
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


@router.get(
    "/healthz",
    summary="Whether the service is alive",
    response_class=Response,
    dependencies=[Depends(only())],
    responses={200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Alive"}}}}},
)
async def healthz() -> Response:
    """It answers: nothing else is looked at."""
    return Response(b'{"alive":true}', media_type="application/json")


@router.get(
    "/readyz",
    summary="Whether the service has what it needs, and whether that is new",
    response_class=Response,
    dependencies=[Depends(only())],
    responses={
        200: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ready"}}}},
        503: {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ready"}}}},
    },
)
async def readyz(request: Request) -> Response:
    """503 where Redis or the table is away, or nothing new comes: each part says how it is, and what is missing for it.

    What does not need the part that is away is answered all the same.
    """
    state = request.app.state
    stale_after_ms = state.settings.stale_after
    parts = {"redis": await _redis(state, stale_after_ms), "table": _table(state, stale_after_ms)}
    ready = all(part["ok"] for part in parts.values())
    return Response(
        msgspec.json.encode({"ready": ready, **parts}),
        status_code=200 if ready else 503,
        media_type="application/json",
    )


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    dependencies=[Depends(only())],
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """docs/operations.md explains each."""
    await _redis(request.app.state, 0)  # whether it is up
    return Response(request.app.state.meters.text(), headers={"content-type": PROMETHEUS})


async def _redis(state: Any, stale_after_ms: int) -> dict[str, Any]:
    without = "there are no prices and no running bars; finished bars are served from the table"
    try:
        async with asyncio.timeout(ASK_S):
            found = await state.prices.all()
    except (PricesAway, TimeoutError) as error:
        state.redis_up = False
        why = str(error) or f"Redis has not answered within {ASK_S:g} s"
        return {"ok": False, "stale": True, "age_ms": None, "problem": f"{why}: {without}"}
    state.redis_up = True
    newest = max((price.timestamp for price in found), default=None)
    return _aged(newest, stale_after_ms, "Redis has no price yet", "no trade has come to Redis: is prices running?")


def _table(state: Any, stale_after_ms: int) -> dict[str, Any]:
    problem = state.bars.follower.problem
    if problem:
        return {"ok": False, "stale": True, "age_ms": None, "problem": problem}
    what = "no bar has come to the table: is jobs/ohlcv.py running?"
    return _aged(state.bars.end_ms(), stale_after_ms, "the table has no bar yet", what)


def _aged(newest_ms: int | None, stale_after_ms: int, never: str, what: str) -> dict[str, Any]:
    if newest_ms is None:
        return {"ok": False, "stale": True, "age_ms": None, "problem": never}
    age_ms = max(time.time_ns() // 1_000_000 - newest_ms, 0)
    if age_ms > stale_after_ms:
        return {"ok": False, "stale": True, "age_ms": age_ms, "problem": f"for {age_ms / 1000:,.0f} s, {what}"}
    return {"ok": True, "stale": False, "age_ms": age_ms, "problem": ""}
