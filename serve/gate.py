"""The gate before all routes: who may ask, how often; and behind them: headers, counts, and what is said of a defect.

Plain ASGI, for every request passes it.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.access import Access
from serve.cors import ALLOWED, Cors
from serve.limits import Limits
from serve.meters import Meters
from serve.problems import Problem, written
from serve.refusals import refusal

log = logging.getLogger(__name__)

OPEN = ("/healthz", "/readyz")
"""What tells only whether the service is well is told without a key, and as often as somebody asks."""
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
"""Those that are counted by their name."""
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""Of every answer that does not have its own: nothing of it is to be run, framed, kept or used by other sites."""
_POLICY_VIOLATION = 1008


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


_ADDED = _encoded(HEADERS)


class Gate:
    """Lets requests through to the routes."""

    def __init__(self, app: ASGIApp, *, access: Access, cors: Cors, limits: Limits, meters: Meters) -> None:
        self._app = app
        self._access = access
        self._cors = cors
        self._limits = limits
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        began, status, method = time.perf_counter(), 0, scope["method"]
        is_head = method == "HEAD"
        # Routes know GET alone. What would be answered is told without its body, which is over before it begins.
        asked = {**scope, "method": "GET"} if is_head else scope
        headers, hosts = _headers(scope)
        is_preflight = self._cors.is_preflight(method, headers)
        added = _ADDED + _encoded(self._cors.leave(headers))

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _with_ours(message.get("headers", ()), added)
                await send(message)
                if is_head:
                    await send({"type": "http.response.body", "body": b""})
            elif not is_head:
                await send(message)

        try:
            problem = self._problem(scope, headers, hosts, is_preflight=is_preflight)
            if problem:
                await _say(answer, problem)
            elif is_preflight:
                await answer({"type": "http.response.start", "status": 204, "headers": _encoded(ALLOWED)})
                await answer({"type": "http.response.body", "body": b""})
            else:
                await self._app(asked, receive, answer)
        except Exception:  # a defect of ours: told in the log, and as little as possible to whoever asked
            log.exception("%s %s could not be answered", method, scope["path"])
            if status:
                raise  # half an answer is out: the connection has to end
            sorry = "this is a defect of the service; its log says more"
            await _say(answer, refusal(scope["path"], 500, sorry))
        finally:
            # What a client that went away did not wait for is counted as nginx does.
            counted = method if method in METHODS else "other"
            self._meters.answered(_route(asked), counted, status or 499, time.perf_counter() - began)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope, *_headers(scope))
        if problem is None:
            await self._app(scope, receive, send)
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _say(send, problem, kind="websocket.http.response")
        else:
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": problem.detail[:100]})

    def _problem(
        self, scope: Scope, headers: Mapping[str, str], hosts: Sequence[str], *, is_preflight: bool = False
    ) -> Problem | None:
        """Why the request is refused, if it is. Browsers send no key with a preflight."""
        path: str = scope["path"]
        if detail := self._access.problem_of_host(hosts):
            return self._refuse(path, 400, detail, "host")
        if scope["type"] == "websocket" and (detail := self._access.problem_of_origin(headers.get("origin"))):
            return self._refuse(path, 403, detail, "origin")
        if path in OPEN:
            return None
        client = scope.get("client")
        wait_s = self._limits.wait_s(client[0] if client else "", time.monotonic())
        if wait_s:
            after = {"Retry-After": str(math.ceil(wait_s))}
            detail = "more requests than one address may make (SERVE_RATE); Retry-After says when to go on"
            return self._refuse(path, 429, detail, "rate", after)
        if not is_preflight and (detail := self._access.problem_of_key(headers)):
            # One scheme alone: Chromium takes a header with two for none, and would not ask its user for the key.
            return self._refuse(path, 401, detail, "key", {"WWW-Authenticate": 'Basic realm="live-bars"'})
        return None

    def _refuse(
        self, path: str, status: int, detail: str, reason: str, headers: Mapping[str, str] | None = None
    ) -> Problem:
        self._meters.refused(reason)
        return refusal(path, status, detail, headers)


async def _say(send: Send, problem: Problem, *, kind: str = "http.response") -> None:
    body = written(problem)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **problem.headers}
    await send({"type": f"{kind}.start", "status": problem.status, "headers": _encoded(headers)})
    await send({"type": f"{kind}.body", "body": body})


def _headers(scope: Scope) -> tuple[dict[str, str], list[str]]:
    """The headers by name, the last of each; and every Host header, of which there must be one."""
    headers: dict[str, str] = {}
    hosts = []
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        header = name.decode("latin-1").lower()
        headers[header] = text
        if header == "host":
            hosts.append(text)
    return headers, hosts


def _with_ours(headers: Any, ours: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    return given + [(name, value) for name, value in ours if name not in names]


def _route(scope: Scope) -> str:
    """The path of the route that answered, with its parameters' names: there are few, whatever is asked for."""
    return getattr(scope.get("route"), "path", None) or "other"
