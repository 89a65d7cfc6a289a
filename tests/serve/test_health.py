"""`/healthz` and `/readyz`: how the service says that it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from market.widths import SECOND_MS
from serve.news import News, NewTrades
from serve.own import health
from serve.own.health import TOLD_WITH_THE_KEY
from tests.serve.served import Served, served
from tests.serve.tables import Table, walk
from tests.support import eventually

KEY = "a-key-of-16-signs"


def test_without_the_key_readiness_says_what_fails_and_no_more(tmp_path: Path) -> None:
    """Where things are is for those who have it."""
    with served(Table(tmp_path).settings, serve_api_key=KEY) as closed:
        told = closed.ask("/readyz").json
        assert [part["ok"] for part in (told["redis"], told["table"], told["service"])] == [False, False, True]
        assert {told[name]["problem"] for name in ("redis", "table")} == {TOLD_WITH_THE_KEY}
        assert str(tmp_path) in closed.ask("/readyz", headers={"X-API-Key": KEY}).json["table"]["problem"]


def test_a_part_that_fails_is_begun_anew_and_readiness_tells(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is counted: nobody has to read the log to know."""
    begun = 0

    async def follow(_: News) -> AsyncIterator[NewTrades]:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ValueError("a defect")
        yield NewTrades([], (0, 0))
        await asyncio.Event().wait()

    monkeypatch.setattr(News, "follow", follow)
    with served(table.settings) as running:
        told = eventually(lambda: (part := running.ask("/readyz").json["service"])["problem"] and part)
        assert not told["ok"]
        assert "trades of Redis" in told["problem"]
        eventually(lambda: begun == 2)
        assert 'serve_failures_total{part="trades of Redis"} 1.0' in running.ask("/metrics").body.decode()


def test_health_is_told_and_readiness_names_what_is_missing(service: Served) -> None:
    """It is alive; Redis is away, and the table's newest bar is years old: each is said with what it is missing for."""
    assert service.ask("/healthz").json == {"alive": True}
    answer = service.ask("/readyz")
    assert (answer.status, answer.json["ready"]) == (503, False)
    assert "there are no prices and no running bars; finished bars are served" in answer.json["redis"]["problem"]
    assert "no bar has come to the table: is jobs/ohlcv.py running?" in answer.json["table"]["problem"]
    assert (answer.json["redis"]["ok"], answer.json["table"]["stale"]) == (False, True)


def test_readiness_is_looked_at_once_for_all_who_ask_at_a_time(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask, as often as they like: Redis does not notice."""
    looked = 0
    monkeypatch.setattr(health, "KNOWN_S", 60.0)

    async def looks(*_: object) -> dict[str, Any]:
        nonlocal looked
        looked += 1
        return {"ok": True, "stale": False, "age_ms": 0, "problem": ""}

    monkeypatch.setattr(health, "_redis", looks)
    with served(table.settings) as running:
        for _ in range(10):
            assert running.ask("/readyz").json["redis"]["ok"]
    assert looked == 1


def test_without_a_table_it_is_said_and_the_service_runs(tmp_path: Path) -> None:
    """It is started before the job has made one."""
    table = Table(tmp_path)
    with served(table.settings) as early:
        answer = early.ask("/bars/BTCUSDT")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        eventually(lambda: "there is no table" in early.ask("/bars/BTCUSDT").json["error"])
        eventually(lambda: "there is no table" in early.ask("/readyz").json["table"]["problem"])
        assert early.ask("/symbols").status == 503
        table.create()
        now_s = int(time.time())
        version = table.traded(walk([(now_s - 1) * SECOND_MS]))
        early.caught_up(version)
        eventually(lambda: early.ask("/readyz").json["table"]["ok"])
        assert early.ask("/bars/BTCUSDT?interval=1s").status == 200
