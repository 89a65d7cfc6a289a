"""Who may have traded unheard is asked about, and until then nothing is promised."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import cast

import pytest

from producer import vigil
from producer.feeds.watch import Quiet
from producer.streams import Streams
from producer.vigil import Vigil
from tests.producer.doubles import until


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are frequent, and suspicions are followed up at once."""
    monkeypatch.setattr(vigil, "_LOOK_S", 0.005)
    monkeypatch.setattr(vigil, "Quiet", partial(Quiet, silence_s=60, suspicion_s=0.02))


class Feeds:
    """Two feeds whose connections a test breaks."""

    def __init__(self) -> None:
        self.broken = [0, 0]
        self.renewed: list[str] = []

    def breaks(self) -> tuple[int, ...]:
        """How often each was lost."""
        return tuple(self.broken)

    def symbols(self, number: int) -> list[str]:
        """What each brings."""
        return [["BTCUSD", "ETHUSD"], ["BANDGBP"]][number]

    def renew(self, symbol: str) -> None:
        """Note it."""
        self.renewed.append(symbol)


def scenario_of(missed: bool = False) -> tuple[Feeds, Vigil, list[str]]:
    """Feeds, the watch over them, and which symbols it asks about."""
    feeds, asked = Feeds(), list[str]()

    async def probe(symbol: str) -> bool:
        asked.append(symbol)
        return missed

    return feeds, Vigil(cast(Streams, feeds), probe=probe, deaf=lambda: False), asked


def test_a_break_makes_suspects_of_what_the_feed_brings() -> None:
    """Of that feed alone, and once for each break."""
    feeds, watch, _ = scenario_of()
    assert not watch.notice_breaks()
    feeds.broken[0] += 1
    assert watch.notice_breaks()
    assert watch.suspects == {"BTCUSD", "ETHUSD"}
    assert not watch.notice_breaks()


def test_a_suspect_is_one_until_it_is_heard_of_or_asked_about() -> None:
    """The one that is heard of is not asked about; the other is."""

    async def scenario() -> None:
        feeds, watch, asked = scenario_of()
        feeds.broken[0] += 1
        watch.notice_breaks()
        watch.heard("BTCUSD", asyncio.get_running_loop().time())
        assert watch.suspects == {"ETHUSD"}
        work = asyncio.create_task(watch.run())
        await until(lambda: not watch.suspects)
        assert asked == ["ETHUSD"]
        assert feeds.renewed == []
        work.cancel()

    asyncio.run(scenario())


def test_a_symbol_that_traded_unheard_has_its_connection_made_anew() -> None:
    """The stream should have brought it."""

    async def scenario() -> None:
        feeds, watch, asked = scenario_of(missed=True)
        watch.expect(["BANDGBP"])
        work = asyncio.create_task(watch.run())
        await until(lambda: feeds.renewed == ["BANDGBP"])
        assert asked == ["BANDGBP"]
        work.cancel()

    asyncio.run(scenario())
