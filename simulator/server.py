"""The exchanges on one port: which path is answered by what, and how the server starts and ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from simulator import binance_rest, coinbase_rest, gate, sockets
from simulator.binance_query import BinanceError, Query
from simulator.clock import Clock
from simulator.coinbase_rest import CoinbaseError
from simulator.connection import SCHEDULE
from simulator.markets import COINBASE, Market
from simulator.meters import BANNED, OK, TokenBucket, Verdict, WeightMeter
from simulator.push import Push
from simulator.schedule import Schedule
from simulator.sockets import Limits
from simulator.tape import Tape

HOST = "127.0.0.1"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_answer = partial(web.json_response, dumps=partial(json.dumps, separators=(",", ":")))


@dataclass(frozen=True)
class Simulator:
    """A serving simulator."""

    host: str
    port: int
    clock: Clock
    tapes: Mapping[Market, Tape]
    pushing: asyncio.Task[None]
    """The live push. It ends only by an error, which is raised when the block of `serve` is left."""

    @property
    def http(self) -> str:
        """Base of the REST routes of both exchanges."""
        return f"http://{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        """Base of the WebSocket routes: Coinbase's is this with a slash, Binance's are /ws and /stream under it."""
        return f"ws://{self.host}:{self.port}"


@asynccontextmanager
async def serve(
    *,
    host: str = HOST,
    port: int = 0,
    seed: int = 1,
    rate: float = 500.0,
    clock: Clock | None = None,
    limits: Limits | None = None,
    schedule: Schedule | None = None,
) -> AsyncIterator[Simulator]:
    """Serve both exchanges until the block is left, which cuts every connection off.

    Port 0 takes a free one; `rate` is the mean number of trades per second of exchange time, all markets together;
    `schedule` has the faults of a script. Raises `OSError` when the port is taken.
    """
    clock = clock or Clock()
    schedule = schedule or Schedule()
    push = Push(clock, seed=seed, rate=rate, schedule=schedule)
    tapes = {market: ticker.tape for market, ticker in push.tickers.items()}
    app = web.Application(middlewares=[gate.middleware(schedule, tapes, clock)])
    app[SCHEDULE] = schedule
    app.add_routes([*_routes(push, tapes, limits or Limits()), *gate.routes(schedule)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound_port = runner.addresses[0][1]
        pushing = asyncio.create_task(push.run())
        try:
            yield Simulator(host, bound_port, clock, tapes, pushing)
        finally:
            pushing.cancel()
            push.abort()
            with suppress(asyncio.CancelledError):
                await pushing
    finally:
        await runner.cleanup()


def _routes(push: Push, tapes: Mapping[Market, Tape], limits: Limits) -> list[web.RouteDef]:
    meter = WeightMeter(
        limit=limits.weight_per_minute,
        minute_s=limits.weight_minute_s,
        patience=limits.tries_after_429,
        ban_s=limits.ban_s,
    )
    attempts = limits.connections_per_5_min and WeightMeter(
        limit=limits.connections_per_5_min, minute_s=300.0, patience=limits.tries_after_429, ban_s=limits.ban_s
    )

    async def healthz(_request: web.Request) -> web.Response:
        return _answer({"status": "serving", "time_ms": push.clock.now_us() // 1000, "connections": push.connections})

    async def binance_socket(request: web.Request) -> web.StreamResponse:
        if attempts and (verdict := attempts.add(1, time.monotonic())).status != OK:
            return web.Response(status=verdict.status, headers={"Retry-After": str(verdict.retry_after_s)})
        return await sockets.binance(request, push, limits)

    async def coinbase_socket(request: web.Request) -> web.StreamResponse:
        return await sockets.coinbase(request, push, limits)

    async def advanced_socket(request: web.Request) -> web.StreamResponse:
        return await sockets.advanced(request, push, limits)

    return [
        web.get("/healthz", healthz),
        web.get("/ws", binance_socket),
        web.get("/ws/{streams:.+}", binance_socket),
        web.get("/stream", binance_socket),
        web.get("/", coinbase_socket),
        web.get("/advanced", advanced_socket),
        web.get("/advanced/", advanced_socket),
        *(web.get(path, _binance(route, push.clock, tapes, meter)) for path, route in binance_rest.ROUTES.items()),
        *_coinbase_routes(push.clock, tapes, limits),
    ]


def _binance(route: binance_rest.Route, clock: Clock, tapes: Mapping[Market, Tape], meter: WeightMeter) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        microseconds = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
        query = Query(request.query, tapes, clock.now_us(), 1 if microseconds else 1000)
        verdict = meter.add(route.cost(query), time.monotonic())
        headers = {"X-MBX-USED-WEIGHT-1M": str(verdict.used)}
        if verdict.status != OK:
            return _refused(verdict, meter, query.now_us // 1000, headers)
        try:
            return _answer(await route(query), headers=headers)
        except BinanceError as error:
            return _answer(error.body, status=400, headers=headers)

    return handler


def _refused(verdict: Verdict, meter: WeightMeter, now_ms: int, headers: dict[str, str]) -> web.Response:
    if verdict.status == BANNED:
        until_ms = now_ms + 1000 * verdict.retry_after_s
        text = (
            f"Way too much request weight used; IP banned until {until_ms}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
    else:
        text = (
            f"Too much request weight used; current limit is {meter.limit} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
    headers = headers | {"Retry-After": str(verdict.retry_after_s)}
    return _answer({"code": -1003, "msg": text}, status=verdict.status, headers=headers)


def _coinbase_routes(clock: Clock, tapes: Mapping[Market, Tape], limits: Limits) -> list[web.RouteDef]:
    bucket = TokenBucket(limits.requests_per_s) if limits.requests_per_s else None

    def tape(request: web.Request) -> Tape:
        return tapes[coinbase_rest.listed(request.match_info["product"])]

    async def server_time(_request: web.Request) -> web.Response:
        return _answer(coinbase_rest.time_row(clock.now_us()))

    async def products(_request: web.Request) -> web.Response:
        return _answer([coinbase_rest.product_row(market) for market in tapes if market.venue == COINBASE])

    async def product(request: web.Request) -> web.Response:
        return _answer(coinbase_rest.product_row(tape(request).market))

    async def trades(request: web.Request) -> web.Response:
        rows, cursors = coinbase_rest.trades(tape(request), request.query, clock.now_us())
        return _answer(rows, headers=cursors)

    async def candles(request: web.Request) -> web.Response:
        text = await coinbase_rest.candles(tape(request), request.query, clock.now_us())
        return _answer(text=text)

    def answered(handler: Callable[[web.Request], Awaitable[web.Response]]) -> Handler:
        async def guarded(request: web.Request) -> web.Response:
            if bucket and not bucket.take(time.monotonic()):
                return _answer({"message": "Public rate limit exceeded"}, status=429)
            try:
                return await handler(request)
            except CoinbaseError as error:
                return _answer(error.body, status=error.status)

        return guarded

    return [
        web.get("/time", answered(server_time)),
        web.get("/products", answered(products)),
        web.get("/products/{product}", answered(product)),
        web.get("/products/{product}/trades", answered(trades)),
        web.get("/products/{product}/candles", answered(candles)),
    ]
