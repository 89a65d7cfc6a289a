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
KNOWN_S = 1.0
"""For so long all who ask are told the same: anybody may, as often as they like."""
TOLD_WITH_THE_KEY = "what it is, is told with the key of the service alone"
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
    parts = await state.readiness.parts()
    if state.access.problem_of_key(request.headers):  # whoever asks may know how it is, not where things are
        parts = {
            name: {**part, "problem": TOLD_WITH_THE_KEY if part["problem"] else ""} for name, part in parts.items()
        }
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
    await request.app.state.readiness.parts()  # whether Redis is up
    return Response(request.app.state.meters.text(), headers={"content-type": PROMETHEUS})


class Readiness:
    """How the parts are, looked at once for all who ask at a time."""

    def __init__(self, state: Any) -> None:
        self._state = state
        self._lock = asyncio.Lock()
        self._parts: dict[str, dict[str, Any]] = {}
        self._until_s = 0.0

    async def parts(self) -> dict[str, dict[str, Any]]:
        """Each part's `ok`, `stale`, `age_ms` and `problem`."""
        async with self._lock:
            if time.monotonic() > self._until_s:
                stale_after_ms = self._state.settings.stale_after
                self._parts = {
                    "redis": await _redis(self._state, stale_after_ms),
                    "table": _table(self._state, stale_after_ms),
                    "service": _service(self._state),
                }
                self._until_s = time.monotonic() + KNOWN_S
            return self._parts


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


def _service(state: Any) -> dict[str, Any]:
    problem = state.works.problem
    return {"ok": not problem, "stale": False, "age_ms": None, "problem": problem}


def _aged(newest_ms: int | None, stale_after_ms: int, never: str, what: str) -> dict[str, Any]:
    if newest_ms is None:
        return {"ok": False, "stale": True, "age_ms": None, "problem": never}
    age_ms = max(time.time_ns() // 1_000_000 - newest_ms, 0)
    if age_ms > stale_after_ms:
        return {"ok": False, "stale": True, "age_ms": age_ms, "problem": f"for {age_ms / 1000:,.0f} s, {what}"}
    return {"ok": True, "stale": False, "age_ms": age_ms, "problem": ""}
