"""Heartbeats never run ahead of a trade."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from market.trade import Heartbeat
from producer import heartbeats
from producer.exchanges.venues import Clock
from producer.feeds.rest import Rest, RestError, Timed
from producer.heartbeats import Heart, ServerClock
from tests.producer.doubles import until

CLOCK = Clock("/time", lambda answer: int(answer["serverTime"]))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats come two hundred times as often as in earnest."""
    monkeypatch.setattr(heartbeats, "BEAT_S", 0.005)


class Parts:
    """An exchange and a Kafka that do as they are told, and note the order of what happened."""

    def __init__(self, told_ms: int | None = 1_700_000_005_000) -> None:
        self.told_ms = told_ms
        self.broken = False
        self.number = 1
        self.release = asyncio.Event()
        self.release.set()
        self.events: list[Any] = []

    async def settle(self) -> int | None:
        """What the frames told, or an error."""
        if self.broken:
            raise ConnectionError("trades wait for missing ones")
        self.events.append("settled")
        return self.told_ms

    def sessions(self) -> tuple[int, ...]:
        """One connection."""
        return (self.number,)

    async def acknowledged(self) -> None:
        """Kafka has everything once it is let."""
        await self.release.wait()
        self.events.append("acknowledged")

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Note it."""
        self.events.append(heartbeat)


class Answers:
    """A REST interface with one answer, or none."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.banned_for_s = 0.0
        self.now_s: Callable[[], float] = time.monotonic

    async def timed(self, path: str, *, weight: int = 1) -> Timed:
        """The next answer, which took no time."""
        self.asked.append(path)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Timed(answer, self.now_s(), self.now_s())


def rest(*answers: Any) -> Rest:
    """A REST interface with some answers."""
    return cast(Rest, Answers(*answers))


def test_a_heartbeat_follows_the_acknowledgement_of_what_came_before_it() -> None:
    """A second before the time that the frames told, and only when Kafka has all that was received until then."""

    async def scenario() -> None:
        parts = Parts()
        parts.release.clear()
        beating = asyncio.create_task(Heart("coinbase", parts, parts, rest(), None).beat())
        await until(lambda: parts.events == ["settled"])
        parts.release.set()
        await until(lambda: len(parts.events) >= 3)
        assert parts.events[:3] == ["settled", "acknowledged", Heartbeat("coinbase", 1_700_000_004_000)]
        beating.cancel()

    asyncio.run(scenario())


def test_an_exchange_whose_clock_is_ahead_does_not_run_ahead_of_ours() -> None:
    """A clock is measured, not trusted: the earlier of the two counts."""

    async def scenario() -> None:
        ahead_ms = time.time_ns() // 1_000_000 + 3_600_000
        parts = Parts(told_ms=ahead_ms)
        beating = asyncio.create_task(Heart("coinbase", parts, parts, rest(), None).beat())
        await until(lambda: any(isinstance(event, Heartbeat) for event in parts.events))
        first = next(event for event in parts.events if isinstance(event, Heartbeat))
        assert first.heartbeat <= ahead_ms - 3_600_000
        beating.cancel()

    asyncio.run(scenario())


def test_a_clock_that_stands_sends_nothing_more() -> None:
    """The same time is not said twice."""

    async def scenario() -> None:
        parts = Parts()
        beating = asyncio.create_task(Heart("coinbase", parts, parts, rest(), None).beat())
        await until(lambda: parts.events.count("settled") > 5)
        assert [event for event in parts.events if isinstance(event, Heartbeat)] == [
            Heartbeat("coinbase", 1_700_000_004_000)
        ]
        beating.cancel()

    asyncio.run(scenario())


def test_while_trades_wait_there_is_no_heartbeat() -> None:
    """It comes when they have gone on."""

    async def scenario() -> None:
        parts = Parts()
        parts.broken = True
        beating = asyncio.create_task(Heart("coinbase", parts, parts, rest(), None).beat())
        await asyncio.sleep(0.05)
        assert parts.events == []
        parts.broken = False
        await until(lambda: Heartbeat("coinbase", 1_700_000_004_000) in parts.events)
        beating.cancel()

    asyncio.run(scenario())


def test_the_server_is_asked_for_its_clock_before_the_frames_are_settled() -> None:
    """What it had counted until then has then been received."""

    async def scenario() -> None:
        parts = Parts(told_ms=None)
        answers = rest({"serverTime": 1_700_000_009_000})
        beating = asyncio.create_task(Heart("binance", parts, parts, answers, CLOCK).beat())
        await until(lambda: any(isinstance(event, Heartbeat) for event in parts.events))
        first = next(event for event in parts.events if isinstance(event, Heartbeat))
        assert 1_700_000_008_000 <= first.heartbeat < 1_700_000_009_000
        assert cast(Answers, answers).asked == ["/time"]
        beating.cancel()

    asyncio.run(scenario())


def clock_at(now_s: list[float], *answers: Any) -> tuple[ServerClock, Answers]:
    """A clock that is asked of some answers, at a time of ours that a test sets."""
    scripted = Answers(*answers)
    scripted.now_s = lambda: now_s[0]
    return ServerClock("binance", cast(Rest, scripted), CLOCK, now_s=lambda: now_s[0]), scripted


def test_the_clock_is_measured_again_at_each_connection() -> None:
    """And not in between, for ten minutes; our own clock carries it on, a little less exact with every second."""

    async def scenario() -> None:
        now_s = [100.0]
        clock, answers = clock_at(now_s, {"serverTime": 5_000}, {"serverTime": 50_000}, {"serverTime": 900_000})
        assert await clock.time_ms((1,)) == 5_000
        now_s[0] += 20
        assert 24_990 <= await clock.time_ms((1,)) <= 25_000
        assert await clock.time_ms((2,)) == 50_000
        now_s[0] += 601
        assert await clock.time_ms((2,)) == 900_000
        assert len(answers.asked) == 3

    asyncio.run(scenario())


def test_a_clock_that_cannot_be_read_is_asked_for_again_later() -> None:
    """Ten seconds later at the earliest; meanwhile there is no time."""

    async def scenario() -> None:
        now_s = [100.0]
        clock, answers = clock_at(now_s, RestError("HTTP 500"), {"serverTime": 5_000})
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await clock.time_ms((1,))
        assert answers.asked == ["/time"]
        now_s[0] += 10
        assert await clock.time_ms((1,)) == 5_000

    asyncio.run(scenario())


def test_under_a_ban_the_last_measurement_goes_on() -> None:
    """Nobody is asked, and the heartbeats do not stop, though the connection was made anew."""

    async def scenario() -> None:
        now_s = [100.0]
        clock, answers = clock_at(now_s, {"serverTime": 5_000})
        assert await clock.time_ms((1,)) == 5_000
        answers.banned_for_s = 3_600.0
        now_s[0] += 1_000
        assert 1_004_700 <= await clock.time_ms((2,)) <= 1_005_000
        assert answers.asked == ["/time"]

    asyncio.run(scenario())


def test_a_clock_ahead_of_ours_is_known_from_frames_or_from_the_server() -> None:
    """So that a trade is not taken for one of the future because our clock is behind."""
    heart = Heart("coinbase", Parts(), Parts(), rest(), None)
    assert heart.ahead_ms == 0
    heart.told(time.time_ns() // 1_000_000 + 60_000)
    assert 59_000 <= heart.ahead_ms <= 60_000
    heart.told(time.time_ns() // 1_000_000 - 60_000)
    assert heart.ahead_ms == 0
