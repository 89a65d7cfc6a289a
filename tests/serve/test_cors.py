"""Pages of other web sites: which of them may ask, and what they may read (CORS)."""

from __future__ import annotations

from tests.serve.served import served
from tests.serve.tables import Table

KEY = "a-key-of-16-signs"
ORIGIN = "https://charts.example.com"
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "x-api-key, x-mbx-time-unit",
}


def test_an_origin_that_is_allowed_may_read(table: Table) -> None:
    """SERVE_ORIGINS opens it for one site, and for no other; a page reads our own headers too, also of a refusal."""
    with served(table.settings, serve_origins=(ORIGIN,)) as open_service:
        open_service.caught_up(table.version)
        for path, own in (
            ("/bars/BTCUSDT?interval=1s&limit=5", "link"),
            ("/api/v3/ping", "x-mbx-used-weight-1m"),
            ("/prices", "retry-after"),
        ):
            answer = open_service.ask(path, headers={"Origin": ORIGIN})
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert answer.headers["vary"] == "Origin"
            assert own in answer.headers
            assert own in answer.headers["access-control-expose-headers"].lower().split(", ")
            for other in ("https://evil.example", f"{ORIGIN}.evil.example", "null", None):
                answer = open_service.ask(path, headers={"Origin": other})
                assert "access-control-allow-origin" not in answer.headers
                assert answer.headers["vary"] == "Origin"  # lest a cache give it to a page that may


def test_a_browser_may_ask_beforehand_without_a_key(table: Table) -> None:
    """It is told what a page may send, and nothing else; for pages of other sites it is as if nobody had asked."""
    with served(table.settings, serve_origins=(ORIGIN,), serve_api_key=KEY) as closed:
        answer = closed.ask("/bars/BTCUSDT", method="OPTIONS", headers=PREFLIGHT)
        assert (answer.status, answer.body) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "GET" in answer.headers["access-control-allow-methods"].split(", ")
        allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
        assert {"x-api-key", "authorization", "x-mbx-apikey", "x-mbx-time-unit"} <= set(allowed)
        refused = closed.ask("/bars/BTCUSDT", headers={"Origin": ORIGIN})
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, ORIGIN)
        for changed in ({"Origin": "https://evil.example"}, {"Access-Control-Request-Method": None}):
            assert closed.ask("/bars/BTCUSDT", method="OPTIONS", headers=PREFLIGHT | changed).status == 401
        assert closed.ask("/bars/BTCUSDT", method="OPTIONS", headers=PREFLIGHT | {"Host": "evil.example"}).status == 400


def test_asking_beforehand_counts_as_asking(table: Table) -> None:
    """Else it were free for anybody who names the site. The page can read that it has to wait."""
    with served(table.settings, serve_origins=(ORIGIN,), serve_rate=0.5) as slow:
        answers = [slow.ask("/symbols", method="OPTIONS", headers=PREFLIGHT) for _ in range(4)]
        assert [answer.status for answer in answers].count(429) >= 2
        assert all(answer.headers["access-control-allow-origin"] == ORIGIN for answer in answers)
