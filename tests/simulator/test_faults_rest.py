from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import ClientSession

from simulator.clock import Clock, parse_us
from simulator.faults import read_faults
from simulator.gate import Gate
from simulator.schedule import Schedule
from simulator.server import Simulator

START_US = parse_us("2024-01-01T12:34:30Z")
STILL = Clock(start_us=START_US, speed=0.001)
MANY = (
    "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. Please use WebSocket Streams for "
)
BLOCKED = (
    "Service unavailable from a restricted location according to 'b. Eligibility' in https://www.binance.com/en/terms. "
    "Please contact customer service if you believe you received this message in error."
)

_HELD_UP_MS = 10_000
"""What this machine may be held up between two requests."""


@pytest.fixture
def answers(against: Any) -> Any:
    """`answers(faults, path, …)`: status, headers and JSON of some requests under some faults, one after the other."""

    def run(faults: list[dict[str, Any]], *paths: str) -> list[tuple[int, Any, Any]]:
        got = []

        async def scenario(simulator: Simulator) -> None:
            async with ClientSession(simulator.http) as session:
                async with session.post("/faults", json=faults) as response:
                    assert response.status == 200
                for path in paths:
                    async with session.get(path) as response:
                        got.append((response.status, response.headers, json.loads(await response.text())))

        against(scenario, clock=STILL, rate=200.0)
        return got

    return run


class Door:
    """The faults of REST, with a clock turned by hand."""

    def __init__(self, *faults: dict[str, Any]) -> None:
        self.schedule, self.now_s = Schedule(), 0.0
        self.schedule.add(read_faults(json.dumps(faults)), 0.0)
        self.gate = Gate(self.schedule)

    def asks(self, at_s: float, venue: str = "binance") -> tuple[int, int | None]:
        """Status and Retry-After of a request at a time."""
        refusal = self.gate.request(venue, at_s, 1_700_000_000_000)
        self.schedule.swept(at_s)
        return (200, None) if refusal is None else (refusal.status, refusal.retry_after_s)


def test_who_waits_as_told_is_served_again() -> None:
    """429 once, with the seconds to wait; after them all is well."""
    door = Door({"kind": "rest_429", "retry_after": 5})
    assert door.asks(1.0) == (429, 5)
    assert door.asks(6.0) == (200, None)
    assert door.schedule.shown(6.0) == []


def test_who_asks_during_a_429_is_banned() -> None:
    """418 for twice as long from each further request; Coinbase goes on with 429."""
    door = Door({"kind": "rest_429", "retry_after": 5, "venue": "binance"})
    assert [door.asks(at_s) for at_s in (0.0, 4.0, 6.0, 15.9, 25.8, 35.8)] == [
        (429, 5),
        (418, 10),
        (418, 10),
        (418, 10),
        (418, 10),
        (200, None),
    ]
    door = Door({"kind": "rest_429", "retry_after": 5, "venue": "coinbase"})
    assert [door.asks(at_s, "coinbase") for at_s in (0.0, 4.0, 5.0)] == [(429, 5), (429, 1), (200, None)]


def test_a_ban_lasts_as_it_says() -> None:
    """418 with the seconds that are left; with `for_s` there is another ban after it, without it none."""
    door = Door({"kind": "rest_418", "retry_after": 10})
    assert [door.asks(at_s) for at_s in (1.0, 2.0, 10.5, 11.0, 12.0)] == [
        (418, 10),
        (418, 9),
        (418, 1),
        (200, None),
        (200, None),
    ]
    door = Door({"kind": "rest_418", "retry_after": 10, "for_s": 60})
    assert [door.asks(at_s) for at_s in (1.0, 10.5, 11.0, 60.0)] == [(418, 10), (418, 1), (418, 10), (200, None)]


def test_refusals_are_in_the_exchanges_words(answers: Any) -> None:
    """Binance's code and message, Coinbase's message; Retry-After where there is one; the simulator's own go on."""
    paths = ("/api/v3/time", "/api/v3/time", "/time", "/healthz", "/faults")
    first, second, coinbase, health, faults = answers([{"kind": "rest_429", "retry_after": 3}], *paths)
    assert (first[0], first[1]["Retry-After"]) == (429, "3")
    assert first[2] == {"code": -1003, "msg": MANY + "live updates to avoid polling the API."}
    assert (second[0], second[1]["Retry-After"], second[2]["code"]) == (418, "6", -1003)
    told_ms = int(second[2]["msg"].removeprefix("Way too much request weight used; IP banned until ")[:13])
    assert 6_000 <= told_ms - START_US // 1000 < 6_000 + _HELD_UP_MS
    assert (coinbase[0], coinbase[2]) == (429, {"message": "Public rate limit exceeded"})
    assert health[0] == faults[0] == 200
    assert faults[2][0]["struck"] == 3


def test_a_blocked_region_and_errors_of_the_server(answers: Any) -> None:
    """451 until it is deleted; 5xx as often as asked for; each of its venue alone."""
    faults = [
        {"kind": "rest_451", "venue": "binance"},
        {"kind": "rest_5xx", "venue": "coinbase", "status": 502, "count": 2},
    ]
    got = answers(faults, "/api/v3/ping", "/api/v3/klines", "/products", "/time", "/time")
    assert [(status, body) for status, _, body in got[:4]] == [
        (451, {"code": 0, "msg": BLOCKED}),
        (451, {"code": 0, "msg": BLOCKED}),
        (502, {"message": "Bad Gateway"}),
        (502, {"message": "Bad Gateway"}),
    ]
    assert got[4][0] == 200


def test_at_random_some_requests_fail_the_same_ones_in_each_run() -> None:
    """By the seed and the number of the request."""

    def run(seed: int) -> list[int]:
        door = Door({"kind": "rest_5xx", "probability": 0.3, "seed": seed})
        return [door.asks(float(number))[0] for number in range(300)]

    assert run(1) == run(1) != run(2)
    assert 60 < run(1).count(503) < 120
    assert set(run(1)) == {200, 503}


def test_a_slow_answer_comes_all_the_same(against: Any) -> None:
    """Not before its delay, and right."""

    async def scenario(simulator: Simulator) -> None:
        loop = asyncio.get_running_loop()
        async with ClientSession(simulator.http) as session:
            await session.post("/faults", json=[{"kind": "rest_slow", "delay_s": 0.3, "venue": "coinbase"}])
            asked_s = loop.time()
            async with session.get("/products/BTC-USD") as response:
                assert (await response.json())["id"] == "BTC-USD"
            assert loop.time() - asked_s >= 0.3

    against(scenario)


def test_history_that_is_gone(answers: Any) -> None:
    """Of each symbol only the newest trades are there: an older id is answered from the first one that is."""
    base = "/api/v3/historicalTrades?symbol=BTCUSDT"
    newest, *got = answers(
        [{"kind": "prune", "keep": 100}],
        f"{base}&limit=1000",
        f"{base}&fromId=5&limit=3",
        "/api/v3/trades?symbol=BTCUSDT&limit=1000",
        "/api/v3/aggTrades?symbol=BTCUSDT&fromId=5&limit=5",
        "/api/v3/aggTrades?symbol=BTCUSDT&startTime=1500000000000&limit=5",
        "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=3",
        f"{base}&fromId=x",
    )
    ids = [row["id"] for row in newest[2]]
    first, last = ids[0], ids[-1]
    assert ids == list(range(last - 99, last + 1))
    assert [row["id"] for row in got[0][2]] == [first, first + 1, first + 2]
    assert [row["id"] for row in got[1][2]] == ids
    for status, _, rows in got[2:4]:
        assert status == 200
        assert len(rows) == 5
        assert first <= rows[0]["f"] <= rows[0]["l"] <= first + 20
    assert len(got[4][2]) == 3
    assert got[5][0] == 400


def test_coinbase_history_that_is_gone(answers: Any) -> None:
    """A page ends where the history does, and so does its cursor; below it there is nothing, and no cursor."""
    base = "/products/BTC-USD/trades"
    ((_, headers, rows),) = answers([{"kind": "prune", "keep": 50}], f"{base}?limit=1000")
    ids = [row["trade_id"] for row in rows]
    assert ids == list(range(ids[0], ids[0] - 50, -1))
    assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(ids[0]), str(ids[-1]))
    some, none = answers(
        [{"kind": "prune", "keep": 50}], f"{base}?limit=20&after={ids[-1] + 10}", f"{base}?limit=20&after={ids[-1]}"
    )
    assert [row["trade_id"] for row in some[2]] == list(range(ids[-1] + 9, ids[-1] - 1, -1))
    assert (none[0], none[2]) == (200, [])
    assert "CB-AFTER" not in none[1]


def test_a_clock_that_is_off_tells_a_wrong_time_and_true_trades(answers: Any) -> None:
    """/time and exchangeInfo are off by so much; the rows of trades are what they are."""
    paths = (
        "/api/v3/time",
        "/time",
        "/api/v3/exchangeInfo?symbol=BTCUSDT",
        "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1000&limit=2",
    )
    binance, coinbase, info, trades = answers([{"kind": "clock_offset", "ms": -90_000}], *paths)
    for time_ms in (binance[2]["serverTime"], round(coinbase[2]["epoch"] * 1000), info[2]["serverTime"]):
        assert 0 <= time_ms - (START_US // 1000 - 90_000) < _HELD_UP_MS
    assert coinbase[2]["iso"].startswith("2024-01-01T12:33:00.")
    assert len(coinbase[2]["iso"]) == 24
    assert trades[2] == answers([], paths[3])[0][2]


def test_a_wrong_fault_is_answered_with_400_and_changes_nothing(against: Any) -> None:
    """One message, whole; no fault of the list is taken; the methods are the three."""

    async def scenario(simulator: Simulator) -> None:
        async with ClientSession(simulator.http) as session:
            async with session.post(
                "/faults", json=[{"kind": "cut", "at_s": 60}, {"kind": "cut", "frame": 0}]
            ) as response:
                assert response.status == 400
                assert await response.json() == {
                    "error": "fault 2 (cut): frame is 0; allowed: a whole number from 1 to 1000000000"
                }
            async with session.get("/faults") as response:
                assert await response.json() == []
            async with session.post(
                "/faults", data='{"kind":"cut","at_s":60}\n{"kind":"silence","at_s":70}'
            ) as response:
                assert await response.json() == [
                    {"kind": "cut", "at_s": 60, "number": 1, "state": "coming", "struck": 0},
                    {"kind": "silence", "at_s": 70, "number": 2, "state": "coming", "struck": 0},
                ]
            async with session.put("/faults") as response:
                assert response.status == 405

    against(scenario)
