"""What is lost, and what is not: only what the exchange surely has no more, or never will give, is written off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from producer.feeds.rest import RestError
from tests.producer.completeness.desk import COINBASE, TIME_MS, Desk, ScriptedRest
from tests.producer.doubles import trade, until

NOT_SERVED = "the exchange no longer serves these trades"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in an event loop."""
    asyncio.run(scenario())


def test_a_history_that_lags_behind_the_stream_loses_nothing() -> None:
    """However often it answers without them: as long as its newest trade is older than they are, they are open."""

    async def scenario() -> None:
        rest = ScriptedRest([1, 2])
        desk = Desk(rest, wait_s=0.0, pauses_s=(0.01, 0.01, 0.01))
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(1), trade(2), trade(5))
        async with desk.at_work():
            await until(lambda: len(rest.pages()) > 6)
            rest.errors = [RestError("down")]
            await until(lambda: not rest.errors)
            assert desk.told() == [("open", 3, 4, "trades were missed")]
            rest.have |= {3, 4, 5}
            await until(lambda: len(desk.gaps) == 2)
        assert desk.ids() == [1, 2, 5, 3, 4]
        assert desk.told()[1:] == [("filled", 3, 4, "back-filled")]

    run(scenario)


def test_what_lies_behind_the_newest_trade_is_lost_and_the_rest_waits() -> None:
    """The history has come as far as id 4: up to there it lacks them for good, above it nobody knows."""

    async def scenario() -> None:
        rest = ScriptedRest([1, 2])
        rest.newest = 4
        desk = Desk(rest, wait_s=0.0, pauses_s=(0.01, 0.01, 0.01))
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(1), trade(2), trade(7))
        async with desk.at_work():
            await until(lambda: len(desk.gaps) == 2)
            await until(lambda: len(rest.pages()) > 6)
        assert desk.told() == [("open", 3, 6, "trades were missed"), ("lost", 3, 4, NOT_SERVED)]
        assert [(hole.first, hole.last) for hole in desk.sequences.missing("BTCUSDT")] == [(5, 6)]

    run(scenario)


def test_a_newest_trade_that_cannot_be_asked_for_proves_nothing() -> None:
    """An error there is no answer: the ids stay open."""

    async def scenario() -> None:
        rest = ScriptedRest()
        rest.answers["/api/v3/historicalTrades"] = []
        rest.answers["/api/v3/aggTrades"] = []
        desk = Desk(rest, wait_s=0.0, pauses_s=(0.01, 0.01, 0.01))
        desk.sequences.resume("BTCUSDT", [(1, 2), (5, 5)])
        async with desk.at_work():
            await until(lambda: len(rest.pages()) > 6)
        assert [gap.status for gap in desk.gaps] == ["open"]

    run(scenario)


def test_a_rejected_row_is_not_one_that_is_not_served() -> None:
    """By a clock that is behind, trades lie ahead: they stay open with that cause, and come when it is right again."""

    async def scenario() -> None:
        rest, latest_ms = ScriptedRest(range(1, 9)), [TIME_MS - 1]
        desk = Desk(rest, wait_s=0.0, pauses_s=(0.01, 0.01, 0.01), latest_ms=lambda: latest_ms[0])
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(5))
        async with desk.at_work():
            await until(lambda: len(rest.pages()) > 5)
            latest_ms[0] = TIME_MS
            await until(lambda: len(desk.gaps) == 3)
        assert desk.ids() == [5, 1, 2, 3, 4]
        cause = "timestamp is later than the record's Kafka time and the tolerance"
        assert desk.told() == [
            ("open", 1, 4, "trades were missed"),
            ("open", 1, 4, f"the exchange gives no valid trades for them: {cause}"),
            ("filled", 1, 4, "back-filled"),
        ]

    run(scenario)


def test_a_trade_of_another_count_takes_its_neighbours_not_along() -> None:
    """Of a page with one time that cannot be, the other trades fill their hole."""

    async def scenario() -> None:
        rest = ScriptedRest(range(1, 100))
        rest.time_ms = lambda number: TIME_MS - 86_400_000 * (number == 12)
        desk = Desk(rest, wait_s=10.0)
        desk.sequences.resume("BTCUSDT", [(1, 9)], newest_ms=TIME_MS)
        desk.take(trade(15))
        async with desk.at_work():
            await until(lambda: len(desk.out) == 5)
        assert desk.ids() == [10, 11, 13, 14, 15]
        assert desk.told() == [("lost", 12, 12, "the exchange has begun to count its trades anew")]

    run(scenario)


def test_of_an_endless_hole_the_newest_part_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a stop of days: beyond a bound the older trades are given up, and told so."""
    monkeypatch.setattr("producer.completeness.backfill.LIMIT", 50)

    async def scenario() -> None:
        desk = Desk(ScriptedRest(range(1, 2_000)), wait_s=10.0)
        desk.sequences.resume("BTCUSDT", [(1, 9)])
        desk.take(trade(1_000))
        async with desk.at_work():
            await until(lambda: len(desk.out) == 51)
        assert desk.ids() == list(range(950, 1_001))
        assert desk.told() == [("lost", 10, 949, "more trades are missing than are back-filled, 50")]

    run(scenario)


def test_by_a_clock_that_is_behind_the_minute_has_not_no_trades() -> None:
    """Paging back to the beginning, rows that are rejected as lying ahead are asked for later, not passed by."""

    async def scenario() -> None:
        rest = ScriptedRest()
        rows = [
            {"trade_id": number, "side": "buy", "size": "1", "price": "2", "time": time}
            for number, time in ((7, "2023-11-14T22:13:20Z"), (6, "2023-11-14T22:13:20Z"), (5, "2023-11-14T22:11:00Z"))
        ]
        rest.answers["/products/BTC-USD/trades"] = rows
        desk = Desk(rest, COINBASE, wait_s=0.0, latest_ms=lambda: TIME_MS - 1)
        desk.sequences.whole_until_ms = TIME_MS - 20_000
        await desk.backfill.start("BTCUSD")
        desk.take(trade(8, "BTCUSD"))
        assert [(hole.first, hole.last) for hole in desk.sequences.missing("BTCUSD")] == [(6, 7)]

    run(scenario)
