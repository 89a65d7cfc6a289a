"""Faults of handshakes and of REST, and the routes by which faults are posted. The answers are pure (`Gate`)."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Iterable, Mapping
from http.client import responses
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from simulator.clock import Clock
from simulator.connection import DROPPED, venue_of
from simulator.faults import FaultError, read_faults
from simulator.markets import BINANCE, Market
from simulator.reshaping import asked_from, history_of, with_clock_offset, without_before
from simulator.schedule import Running, Schedule, show
from simulator.tape import Tape

UNHARMED = ("/faults", "/healthz")
"""What belongs to no exchange."""

_TOO_MANY = (
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
    "Please use WebSocket Streams for live updates to avoid polling the API."
)
_BLOCKED = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in https://www.binance.com/en/terms. "
    "Please contact customer service if you believe you received this message in error."
)


class Refusal(NamedTuple):
    """An answer in place of the exchange's."""

    status: int
    body: str
    retry_after_s: int | None = None


class Gate:
    """What the faults say to a handshake or a request."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def handshake(self, venue: str, now_s: float, exchange_ms: int) -> Refusal | None:
        """The refusal of a handshake, if it is refused."""
        for running in _of(self._schedule.active(now_s), venue):
            if running.fault.kind == "refuse" and running.strikes_next():
                status, pause_s = int(running.fault.own["status"]), running.fault.own.get("retry_after")
                return _refusal(venue, status, exchange_ms, None if pause_s is None else int(pause_s))
        return None

    def drops(self, venue: str, now_s: float) -> bool:
        """Whether a connection is cut off as soon as it is accepted."""
        faults = _of(self._schedule.active(now_s), venue)
        return any(running.fault.kind == "accept_then_drop" and running.strikes_next() for running in faults)

    def delay_s(self, venue: str, now_s: float) -> float:
        """How long a request has to wait before it is looked at."""
        faults = _of(self._schedule.active(now_s), venue)
        return sum(
            running.fault.own["delay_s"]
            for running in faults
            if running.fault.kind == "rest_slow" and running.strikes_next()
        )

    def request(self, venue: str, now_s: float, exchange_ms: int) -> Refusal | None:
        """The refusal of a request, if it is refused."""
        for running in _of(self._schedule.active(now_s), venue):
            kind = running.fault.kind
            if kind == "rest_451":
                running.strike()
                return _refusal(venue, 451, exchange_ms)
            if kind == "rest_5xx" and running.strikes_next():
                return _refusal(venue, int(running.fault.own["status"]), exchange_ms)
            if kind in ("rest_429", "rest_418"):
                return self._banned(running, venue, now_s, exchange_ms)
        return None

    def _banned(self, running: Running, venue: str, now_s: float, exchange_ms: int) -> Refusal:
        pause_s, until_s = running.fault.own["retry_after"], running.bans.get(venue, -math.inf)
        status = 418 if running.fault.kind == "rest_418" else 429
        if now_s >= until_s:
            until_s = now_s + pause_s
        elif running.fault.kind == "rest_429" and venue == BINANCE:
            status, until_s = 418, now_s + 2 * pause_s
        running.strike()
        running.bans[venue] = until_s
        if running.fault.once:
            running.end_s = max(running.bans.values())
            self._schedule.end(running, running.end_s)
        return _refusal(venue, status, exchange_ms, math.ceil(until_s - now_s))


def middleware(schedule: Schedule, tapes: Mapping[Market, Tape], clock: Clock) -> Middleware:
    """What stands before every route."""
    gate = Gate(schedule)

    @web.middleware
    async def before(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith(UNHARMED) or not schedule.active(time.monotonic()):
            return await handler(request)
        venue, exchange_ms = venue_of(request.path), clock.now_us() // 1000
        if request.headers.get("Upgrade", "").lower() == "websocket":
            refusal = gate.handshake(venue, time.monotonic(), exchange_ms)
            if refusal is not None:
                return _response(refusal)
            request[DROPPED] = gate.drops(venue, time.monotonic())
            return await handler(request)
        await asyncio.sleep(gate.delay_s(venue, time.monotonic()))
        refusal = gate.request(venue, time.monotonic(), exchange_ms)
        return await reshaped(request, handler, venue) if refusal is None else _response(refusal)

    async def reshaped(request: web.Request, handler: Handler, venue: str) -> web.StreamResponse:
        faults = list(_of(schedule.active(time.monotonic()), venue))
        prunes = [running for running in faults if running.fault.kind == "prune"]
        market = history_of(request.path, request.query) if prunes else None
        if market is None:
            response = await handler(request)
        else:
            keep = min(int(running.fault.own["keep"]) for running in prunes)
            response = await pruned(request, handler, tapes[market], keep)
            for running in prunes:
                running.strike()
        for running in faults:
            if running.fault.kind == "clock_offset" and isinstance(response, web.Response) and response.text:
                changed = with_clock_offset(request.path, response.text, int(running.fault.own["ms"]))
                if changed != response.text:
                    response.text = changed
                    running.strike()
        return response

    async def pruned(request: web.Request, handler: Handler, tape: Tape, keep: int) -> web.StreamResponse:
        now_us = clock.now_us()
        first_id = max(0, tape.count_before(now_us) - keep)
        times_us = tape.numbered(first_id, first_id + 1).times_us.tolist()
        params = asked_from(request.query, first_id, times_us[0])
        response = await handler(request.clone(rel_url=request.rel_url.with_query(params)))
        if isinstance(response, web.Response) and response.status == 200 and response.text:
            response.text, left = without_before(response.text, first_id)
            if "CB-AFTER" in response.headers and left:
                response.headers["CB-AFTER"] = str(max(int(response.headers["CB-AFTER"]), first_id))
            elif "CB-AFTER" in response.headers:
                del response.headers["CB-AFTER"], response.headers["CB-BEFORE"]
        return response

    return before


def routes(schedule: Schedule) -> list[web.RouteDef]:
    """/faults."""

    async def post(request: web.Request) -> web.Response:
        try:
            faults = read_faults(await request.text())
        except FaultError as error:
            return web.json_response({"error": str(error)}, status=400)
        now_s = time.monotonic()
        return web.json_response([show(running, now_s) for running in schedule.add(faults, now_s)])

    async def shown(_request: web.Request) -> web.Response:
        return web.json_response(schedule.shown(time.monotonic()))

    async def struck(_request: web.Request) -> web.Response:
        return web.json_response(dict(schedule.struck))

    async def delete(_request: web.Request) -> web.Response:
        schedule.clear()
        return web.json_response([])

    return [
        web.post("/faults", post),
        web.get("/faults", shown),
        web.get("/faults/struck", struck),
        web.delete("/faults", delete),
    ]


def _refusal(venue: str, status: int, exchange_ms: int, retry_after_s: int | None = None) -> Refusal:
    """A refusal in the exchange's words."""
    if venue != BINANCE:
        phrase = "Public rate limit exceeded" if status == 429 else responses.get(status, "Error")
        return Refusal(status, _compact({"message": phrase}), retry_after_s)
    if status == 418:
        until_ms = exchange_ms + 1000 * (retry_after_s or 0)
        code, text = (
            -1003,
            (
                f"Way too much request weight used; IP banned until {until_ms}. "
                "Please use WebSocket Streams for live updates to avoid bans."
            ),
        )
    elif status == 429:
        code, text = -1003, _TOO_MANY
    elif status == 451:
        code, text = 0, _BLOCKED
    else:
        code, text = -1000, "An unknown error occurred while processing the request."
    return Refusal(status, _compact({"code": code, "msg": text}), retry_after_s)


def _response(refusal: Refusal) -> web.Response:
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    return web.Response(status=refusal.status, text=refusal.body, content_type="application/json", headers=headers)


def _compact(body: Mapping[str, object]) -> str:
    return json.dumps(body, separators=(",", ":"))


def _of(faults: Iterable[Running], venue: str) -> Iterable[Running]:
    return (running for running in faults if venue in running.fault.venues)
