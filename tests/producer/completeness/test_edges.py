"""First trades that go out before it is known with which the record begins are marked, until that is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from market.gap import gap_record
from market.trade import record_of
from producer.completeness.sequence import Hole, Sequences
from producer.completeness.tail import Tail
from producer.feeds.rest import RestRefusedError
from tests.producer.completeness.desk import TIME_MS, Desk, ScriptedRest
from tests.producer.doubles import trade, until

UNSETTLED = "the record begins here: what went before is still to be asked for"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in an event loop."""
    asyncio.run(scenario())


def rest_from(first: int) -> ScriptedRest:
    """An exchange whose minute has begun with this id."""
    rest = ScriptedRest(range(1, 950))
    rest.answers["/api/v3/aggTrades"] = [{"f": first, "l": 905, "T": TIME_MS}]
    rest.answers["/api/v3/time"] = {"serverTime": TIME_MS}
    return rest


def test_a_kill_before_the_beginning_is_known_forgets_nothing() -> None:
    """The first trade goes out, the producer is killed, and its successor still asks for what the minute had before."""

    async def scenario() -> None:
        rest = rest_from(890)
        killed = Desk(rest, wait_s=0.6)
        async with killed.at_work():
            killed.take(trade(900))
            await until(lambda: killed.ids() == [900])
        assert killed.told() == [("open", 899, 899, UNSETTLED)]
        tail = Tail(window_ms=3_600_000)
        tail.add_record(record_of(killed.out[0]._replace(exchange="sim-binance")), TIME_MS)
        tail.add_gap(gap_record(killed.gaps[0]))
        desk = Desk(rest)
        tail.restore("sim-binance", desk.sequences)
        assert not desk.sequences.has_begun("BTCUSDT")
        desk.take(trade(901))
        await desk.backfill.start("BTCUSDT")
        async with desk.at_work():
            await until(lambda: len(desk.gaps) == 2)
        assert desk.ids() == [901, *range(890, 900)]
        assert desk.told() == [("open", 890, 899, "trades were missed"), ("filled", 890, 899, "back-filled")]

    run(scenario)


def test_the_edge_is_told_while_the_first_trade_still_waits() -> None:
    """When half of its time has passed: so its record is there before the trade is."""
    sequences = Sequences(wait_s=2.0)
    sequences.take(trade(900), 0.0)
    assert sequences.edges(0.9) == []
    assert [(hole.first, hole.last, hole.before_ms) for hole in sequences.edges(1.0)] == [(899, 899, TIME_MS)]
    assert (sequences.due(1.9), sequences.edges(9.0)) == ([], [])


@pytest.mark.parametrize(
    ("first", "told"), [(890, ("open", 890, 899, "trades were missed")), (900, ("lost", 899, 899))]
)
def test_what_is_told_is_settled_when_the_beginning_is_known(first: int, told: tuple[str, int, int]) -> None:
    """By what is missing before the first trade, or by the word that nothing is."""

    async def scenario() -> None:
        desk = Desk(rest_from(first), wait_s=0.0)
        async with desk.at_work():
            desk.take(trade(900))
            await until(lambda: len(desk.gaps) == 1)
            await desk.backfill.start("BTCUSDT")
            assert desk.told()[1][: len(told)] == told
            await until(lambda: len(desk.out) == 901 - first)
        assert desk.sequences.has_begun("BTCUSDT")

    run(scenario)


def test_a_beginning_that_cannot_be_had_is_marked_once() -> None:
    """The question is closed by the refusal, and not raised again."""

    async def scenario() -> None:
        rest = rest_from(890)
        desk = Desk(rest, wait_s=0.0)
        async with desk.at_work():
            desk.take(trade(900))
            await until(lambda: len(desk.gaps) == 1)
            rest.errors = [RestRefusedError("HTTP 400")]
            await desk.backfill.start("BTCUSDT")
            await until(lambda: len(desk.gaps) == 2)
            desk.take(trade(901))
            await asyncio.sleep(0.15)
        assert desk.told()[1:] == [("lost", 899, 899, "the record begins here: HTTP 400")]

    run(scenario)


def test_an_old_hole_is_not_where_a_new_record_begins() -> None:
    """With ids still open from long ago, the edge is the id before the first new trade, not before those."""

    async def scenario() -> None:
        rest = ScriptedRest(errors=[RestRefusedError("HTTP 400")])
        desk = Desk(rest, wait_s=0.0)
        desk.sequences.resume("BTCUSDT", [], open_=[Hole("BTCUSDT", 5, 6)])
        await desk.backfill.start("BTCUSDT")
        async with desk.at_work():
            desk.take(trade(900))
            await until(lambda: len(desk.gaps) == 1)
        assert desk.told() == [("lost", 899, 899, "the record begins here: HTTP 400")]

    run(scenario)


def test_whether_ids_are_lacking_is_told() -> None:
    """Missing, gone or outside of what is known; an old `open` record of what is there is not to be told again."""
    sequences = Sequences(wait_s=2.0)
    assert sequences.lacks("BTCUSDT", 5, 5)
    sequences.resume("BTCUSDT", [(5, 9), (12, 15)])
    assert [sequences.lacks("BTCUSDT", *ids) for ids in ((5, 9), (4, 5), (9, 10), (12, 15), (15, 16))] == [
        False,
        True,
        True,
        False,
        True,
    ]
