"""What is kept, sent and allowed has bounds: texts, weights, frames that wait, attempts to connect."""

from __future__ import annotations

import asyncio
import json

import pytest

from market.bar import bars_of
from serve.binance.outbox import Budget, Outbox
from serve.binance.rest import ROUTES
from serve.binance.rows import Rows
from serve.binance.sockets import Attempts
from serve.binance.weights import Weights
from serve.hub import TooSlow
from tests.serve.binance.made import START_MS, trades_at
from tests.serve.binance.stand import Stand
from tests.support import eventually

BARS = bars_of(trades_at([START_MS + 1_000 * second for second in range(10)]))


def test_texts_are_those_of_the_bars_kept_or_not() -> None:
    """Asked twice, with and without what was kept; only finished intervals are."""
    rows = Rows()
    closed_ms = START_MS + 8_000
    first = rows.texts("key", BARS, 1_000, 1_000, keep_before_ms=closed_ms)
    assert len(rows) == 8
    assert rows.texts("key", BARS, 1_000, 1_000, keep_before_ms=closed_ms) == first
    assert Rows().texts("key", BARS, 1_000, 1_000, keep_before_ms=None) == first
    assert [json.loads(text)[0] for text in first] == [bar.timestamp for bar in BARS]


def test_texts_of_another_edition_are_made_anew() -> None:
    """An amended bar has another key."""
    rows = Rows()
    rows.texts(("key", 0), BARS, 1_000, 1_000, keep_before_ms=START_MS + 10_000)
    changed = bars_of(trades_at([START_MS], first_id=7))
    (text,) = rows.texts(("key", 1), changed, 1_000, 1_000, keep_before_ms=START_MS + 10_000)
    assert json.loads(text)[1] == f"{changed[0].open:.8f}"


def test_the_newest_texts_of_the_last_lines_are_kept() -> None:
    """So many rows of a line, so many lines."""
    rows = Rows(lines=2, rows=3)
    for key in ("a", "b", "c"):
        rows.texts(key, BARS, 1_000, 1_000, keep_before_ms=START_MS + 10_000)
    assert len(rows) == 2 * 3


def test_what_was_made_of_the_running_bar_is_forgotten(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """For each width and time zone that somebody asks for there is something; it does not stay for many commits."""
    monkeypatch.setattr("serve.live.live._HEADS_KEPT", 1)
    live = stand.app.state.live
    for hours in range(-12, 14):
        stand.klines(interval="1d", timeZone=hours)
    eventually(lambda: stand.klines()[-1][0] == START_MS + 12_000)
    assert live._made
    assert live._heads
    stand.finished([one for one in stand.trades if one.timestamp >= START_MS + 10_000])
    stand.caught_up()
    assert (live._made, live._heads) == ({}, {})


@pytest.mark.parametrize(
    ("path", "sent", "weight"),
    [
        ("ping", [], 1),
        ("time", [], 1),
        ("exchangeInfo", [], 20),
        ("trades", [], 25),
        ("historicalTrades", [], 25),
        ("klines", [], 2),
        ("uiKlines", [], 2),
        ("avgPrice", [], 2),
        ("ticker/price", [("symbol", "A1")], 2),
        ("ticker/price", [], 4),
        ("ticker/price", [("symbols", '["A1"]')], 4),
        ("ticker/24hr", [("symbol", "A1")], 2),
        ("ticker/24hr", [], 80),
        ("ticker/24hr", [("symbols", ",".join("A" * 20))], 2),
        ("ticker/24hr", [("symbols", ",".join("A" * 21))], 40),
        ("ticker/24hr", [("symbols", ",".join("A" * 101))], 80),
    ],
)
def test_each_request_has_its_documented_weight(path: str, sent: list[tuple[str, str]], weight: int) -> None:
    """REST API, "Weight" of each endpoint."""
    assert ROUTES[path].weight(sent) == weight


def test_weights_add_up_for_each_client_until_the_minute_is_over() -> None:
    """The minute is the clock's; a client that was not heard of for long is forgotten."""
    weights = Weights(clients=2)
    assert [weights.add("a", 2, 59_000), weights.add("a", 5, 59_999), weights.add("a", 1, 60_000)] == [2, 7, 1]
    weights.add("b", 1, 60_000)
    weights.add("c", 1, 60_000)
    assert (weights.add("c", 1, 60_000), weights.add("a", 1, 60_000)) == (2, 1)


def test_what_waits_for_a_client_goes_out_in_order() -> None:
    """One after another; what has gone out does not wait any more."""

    async def scenario() -> None:
        budget = Budget()
        outbox = Outbox(budget)
        waiting = asyncio.create_task(outbox.take())
        await asyncio.sleep(0)
        outbox.put("a")
        assert await waiting == "a"
        outbox.put("bb")
        outbox.put("ccc")
        assert (await outbox.take(), budget.waiting) == ("bb", 3)
        assert (await outbox.take(), budget.waiting) == ("ccc", 0)

    asyncio.run(scenario())


def test_where_all_clients_together_read_too_little_the_slowest_is_cut_off() -> None:
    """It is told why; the others go on, however little was left to them; a client that leaves gives back its part."""

    async def scenario() -> None:
        budget = Budget(100)
        slow, slower, quick = (Outbox(budget) for _ in range(3))
        slow.put("s" * 40)
        slower.put("s" * 60)
        assert (budget.waiting, slower.is_cut) == (100, False)
        quick.put("q")
        assert (slow.is_cut, slower.is_cut, quick.is_cut) == (False, True, False)
        assert str(await slower.overflow()) == "60 characters unread, most of all where 100 may be together"
        with pytest.raises(TooSlow, match="60 characters unread"):
            await slower.take()
        assert (budget.waiting, await quick.take(), len(await slow.take())) == (41, "q", 40)
        slow.put("s" * 90)
        slow.close()
        quick.put("q" * 100)
        assert (budget.waiting, quick.is_cut) == (100, False)

    asyncio.run(scenario())


@pytest.mark.parametrize("outbox", [{"frames": 2}, {"characters": 5}])
def test_a_client_that_does_not_read_is_cut_off_and_told(outbox: dict[str, int]) -> None:
    """Too many frames, or too many characters: nothing of them is sent any more, and nothing later."""

    async def scenario() -> None:
        full = Outbox(Budget(), **outbox)
        overflow = asyncio.create_task(full.overflow())
        await asyncio.sleep(0)
        assert not overflow.done()
        for text in ("one", "two", "six", "ten"):
            full.put(text)
        for _ in range(2):
            with pytest.raises(TooSlow, match="frames or"):
                await full.take()
        assert full.is_cut
        assert "characters unread" in str(await overflow)

    asyncio.run(scenario())


def test_an_address_may_connect_so_often_within_a_time() -> None:
    """Binance's are 300 in 5 minutes. A refused attempt does not count."""
    attempts = Attempts(2, 10.0, addresses=2)
    assert [attempts.wait_s("a", now_s) for now_s in (0.0, 1.0, 2.0, 9.5)] == [0.0, 0.0, 8.0, 0.5]
    assert attempts.wait_s("b", 2.0) == 0.0
    assert attempts.wait_s("a", 10.0) == 0.0
