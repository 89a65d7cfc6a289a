"""What every request passes: names, keys, rates and headers."""

from __future__ import annotations

import http.client
import re
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from market.bar import bars_of
from market.settings import ROOT
from serve import schemas
from serve.gate import HEADERS
from serve.meters import MEANINGS
from serve.table.apart import THREADS
from tests.serve.served import Served, served
from tests.serve.tables import START_MS, Table, every_second, walk
from tests.support import eventually

KEY = "a-key-of-16-signs"
PATHS = (
    "/price/BTCUSDT",
    "/prices",
    "/bars/BTCUSDT",
    "/symbols",
    "/metrics",
    "/openapi.json",
    "/nothing",
    "/api/v3/ping",
)
OPEN = ("/healthz", "/readyz")


@pytest.mark.parametrize("path", [*PATHS, *OPEN])
def test_a_foreign_name_is_refused_on_every_route(service: Served, path: str) -> None:
    """Before anything else is looked at; in Binance's form where Binance's clients ask."""
    for host in ("evil.example", f"evil.example:{service.settings.serve_port}", None, "169.254.169.254"):
        answer = service.ask(path, headers={"Host": host})
        assert answer.status == 400
        assert set(answer.json) == ({"code", "msg"} if "/api/v3" in path else {"error"})
    for host in ("127.0.0.1", f"localhost:{service.settings.serve_port}", "[::1]"):
        assert service.ask(path, headers={"Host": host}).status != 400


@pytest.mark.parametrize("path", [*PATHS, *OPEN])
def test_every_answer_has_the_headers_that_protect(service: Served, path: str) -> None:
    """Also those that refuse; and nothing that says what serves it."""
    for host in ("localhost", "evil.example"):
        answer = service.ask(path, headers={"Host": host})
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, name
        assert "server" not in answer.headers
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("path", [*PATHS, *OPEN, "/", "/bars/BTCUSDT?interval=7s"])
def test_a_head_is_answered_as_a_get_would_be_without_its_body(service: Served, path: str) -> None:
    """For those who only want to know whether it is there; it is counted as what it is."""
    whole, head = service.ask(path), service.ask(path, method="HEAD")
    assert (head.status, head.body) == (whole.status, b"")
    changing = {"date", "x-mbx-used-weight-1m"} | ({"content-length"} if path in ("/metrics", "/readyz") else set())
    assert head.headers.keys() == whole.headers.keys()
    assert {name for name, value in whole.headers.items() if head.headers[name] != value} <= changing
    assert f'code="{head.status}",method="HEAD"' in service.ask("/metrics").body.decode()


def test_a_head_of_a_stream_ends(service: Served) -> None:
    """The page's stream has no end; its headers have."""
    connection = http.client.HTTPConnection("localhost", service.settings.serve_port, timeout=20)
    try:
        for _ in range(3):
            connection.request("HEAD", "/page/stream")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b"")
            assert answer.headers["content-type"].startswith("text/event-stream")
    finally:
        connection.close()
    eventually(lambda: service.state.page.open == 0)


def test_pages_of_other_sites_get_no_leave_to_read(service: Served) -> None:
    """CORS is closed: neither an answer nor a question beforehand allows another origin."""
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    for method in ("GET", "OPTIONS"):
        answer = service.ask("/bars/BTCUSDT", method=method, headers=headers)
        assert "access-control-allow-origin" not in answer.headers


def test_sockets_of_other_sites_are_refused(service: Served) -> None:
    """With the reason, before any route is asked."""
    url = f"ws://localhost:{service.settings.serve_port}/ws"
    for origin in ("https://evil.example", "null"):
        with pytest.raises(InvalidStatus) as refused, connect(url, origin=origin):  # type: ignore[arg-type]
            pass
        assert refused.value.response.status_code == 403
        assert b"may not ask this service" in refused.value.response.body
    with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers={"Host": "evil.example"}):
        pass
    assert refused.value.response.status_code == 400


def test_without_the_key_only_health_is_told(table: Table) -> None:
    """401 everywhere else, with how to send the key; with it, all is as without one set."""
    with served(table.settings, serve_api_key=KEY) as closed:
        closed.caught_up(table.version)
        for path in PATHS:
            answer = closed.ask(path)
            assert answer.status == 401, path
            assert answer.headers["www-authenticate"] == 'Basic realm="live-bars"'
            assert "X-API-Key" in str(answer.json)
            assert closed.ask(path, headers={"X-API-Key": "wrong"}).status == 401
            assert closed.ask(path, headers={"X-API-Key": KEY}).status != 401
        assert closed.ask("/healthz").status == 200
        assert closed.ask("/readyz").status == 503
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://localhost:{closed.settings.serve_port}/ws"):
            pass
        assert refused.value.response.status_code == 401


def test_who_asks_too_often_is_told_to_wait(table: Table) -> None:
    """429 with Retry-After, in Binance's form too; health is told all the same."""
    with served(table.settings, serve_rate=0.5) as slow:
        answers = [slow.ask("/symbols") for _ in range(4)]
        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) >= 2
        assert all(answer.headers["retry-after"] in ("1", "2") for answer in refused)
        assert slow.ask("/api/v3/ping").json["code"] == -1003
        assert {slow.ask("/healthz").status for _ in range(10)} == {200}
        eventually(lambda: slow.ask("/symbols").status != 429)


def test_without_redis_bars_are_served_and_prices_are_refused(service: Served) -> None:
    """What is away is said; what does not need it is as ever."""
    assert len(service.ask("/bars/BTCUSDT?interval=1s").json["bars"]) == 100
    for path in ("/price/BTCUSDT", "/price/BTCUSDT?exchange=binance", "/prices"):
        answer = service.ask(path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.json["error"]


def test_a_defect_is_answered_with_500_and_little_else(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log says more; the next request is answered."""
    with served(table.settings) as broken:
        broken.caught_up(table.version)
        with monkeypatch.context() as patch:
            patch.setattr(broken.state.bars, "read", lambda *_, **__: 1 / 0)
            answer = broken.ask("/bars/BTCUSDT")
        assert (answer.status, answer.json) == (500, {"error": "this is a defect of the service; its log says more"})
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert broken.ask("/bars/BTCUSDT").status == 200


def test_metrics_tell_what_was_asked_and_how_the_parts_are(service: Served, table: Table) -> None:
    """Routes by their pattern, never by what was asked for; every metric that is told is explained."""
    for path in ("/bars/BTCUSDT", "/bars/NOSUCH", "/nothing", "/nothing/else"):
        service.ask(path)
    service.ask("/symbols", headers={"Host": "evil.example"})
    answer = service.ask("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert 'serve_requests_total{code="404",method="GET",route="/bars/{symbol}"}' in text
    assert 'serve_requests_total{code="404",method="GET",route="other"}' in text
    assert "NOSUCH" not in text
    assert f"serve_table_version {float(table.version)}" in text
    assert "serve_redis_up 0.0" in text
    assert 'serve_refused_total{reason="host"}' in text
    told = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert told == set(MEANINGS)


def test_the_description_tells_every_answer(service: Served) -> None:
    """Each route of ours, its parameters' bounds, and what it may refuse; nothing that we never answer."""
    told = service.ask("/openapi.json").json
    assert told["info"]["version"] == schemas.VERSION
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == schemas.VERSION
    ours = {"/price/{symbol}", "/prices", "/bars/{symbol}", "/symbols", "/healthz", "/readyz", "/metrics"}
    assert ours <= told["paths"].keys()
    for path, operations in told["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "401", "429", "503"} <= operation["responses"].keys(), path
            assert "422" not in operation["responses"]
            for status, answer in operation["responses"].items():
                assert status == "200" or answer["content"], path
    assert references(told) <= {f"#/components/schemas/{name}" for name in told["components"]["schemas"]}
    parameters = {one["name"]: one["schema"] for one in told["paths"]["/bars/{symbol}"]["get"]["parameters"]}
    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"]) == (1, 5_000)


def references(content: Any) -> set[str]:
    """Every reference in a description."""
    if isinstance(content, dict):
        own = {content["$ref"]} if isinstance(content.get("$ref"), str) else set()
        return own.union(*(references(value) for value in content.values()))
    return set[str]().union(*(references(value) for value in content)) if isinstance(content, list) else set()


def test_a_scan_of_the_past_holds_nobody_up(tmp_path: Path) -> None:
    """While those who want old bars wait for a disk that does not answer, others get what needs none."""
    own = Table(tmp_path).create()
    own.commit(bars_of(walk(every_second(START_MS, 6_000))))
    answered = threading.Event()
    with served(own.settings, serve_recent=60) as busy, ThreadPoolExecutor(4) as clients:
        busy.caught_up(own.version)
        apart = busy.state.bars.apart
        for _ in range(THREADS):
            apart._threads.submit(answered.wait)
        asked = [f"/bars/BTCUSDT?interval=1s&limit=5000&from={START_MS + number}" for number in range(4)]
        answers = [clients.submit(busy.ask, path) for path in asked]
        try:
            eventually(lambda: apart.waiting >= 1)
            assert busy.ask("/healthz").status == 200
            assert len(busy.ask("/bars/BTCUSDT?interval=1s&limit=10").json["bars"]) == 10
            assert not any(answer.done() for answer in answers)
        finally:
            answered.set()
        assert [len(answer.result().json["bars"]) for answer in answers] == [5_000] * 4
