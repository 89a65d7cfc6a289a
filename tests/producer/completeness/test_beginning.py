"""Where a record begins and what it missed, asked of the simulator, or of one that refuses to say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientSession

from producer.exchanges.venues import venues_of
from producer.feeds.rest import Rest, RestRefusedError
from simulator.clock import Clock, parse_us
from simulator.server import Simulator, serve
from tests.producer.completeness.desk import TIME_MS, Desk, ScriptedRest
from tests.producer.doubles import trade, until

NOW_US = parse_us("2024-01-01T12:34:30Z")
MINUTE_US = parse_us("2024-01-01T12:34:00Z")


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in an event loop."""
    asyncio.run(scenario())


def against(scenario: Callable[[Simulator, Rest], Awaitable[None]], *, slow: bool = True, rate: float = 2000.0) -> None:
    """Run a scenario against a simulator whose clock stands nearly still."""

    async def main() -> None:
        clock = Clock(start_us=NOW_US, speed=0.001) if slow else Clock()
        async with (
            asyncio.timeout(20),
            serve(rate=rate, clock=clock) as simulator,
            ClientSession() as session,
        ):
            await scenario(simulator, Rest(session, simulator.http, name="test", weight_per_minute=100_000))

    asyncio.run(main())


def truth(simulator: Simulator, symbol: str, first: int, last: int) -> list[tuple[int, int]]:
    """Id and time in ms of the simulator's own trades first..last."""
    tape = next(tape for market, tape in simulator.tapes.items() if market.symbol == symbol)
    return [(row[0], row[1] // 1000) for row in tape.numbered(first, last + 1).rows()]


def count(simulator: Simulator, symbol: str, time_us: int) -> int:
    """How many trades there were before a time."""
    tape = next(tape for market, tape in simulator.tapes.items() if market.symbol == symbol)
    return tape.count_before(time_us)


@pytest.mark.parametrize(("place", "symbol", "product"), [(0, "BTCUSDT", "BTCUSDT"), (1, "BTCUSD", "BTC-USD")])
def test_short_and_long_holes_are_filled_with_the_exchanges_own_trades(place: int, symbol: str, product: str) -> None:
    """On both protocols: a short hole in order, one of several pages whole, each trade once, as the exchange has it."""

    async def scenario(simulator: Simulator, rest: Rest) -> None:
        venue = venues_of("simulator", simulator=f"{simulator.host}:{simulator.port}")[place]
        desk = Desk(rest, venue, products={symbol: product}, wait_s=5.0)
        newest = count(simulator, product, NOW_US) - 1
        known = newest - 3_600
        desk.sequences.resume(symbol, [(known - 5, known)], newest_ms=truth(simulator, product, known, known)[0][1])
        live = {number: trade(number, symbol, time_ms) for number, time_ms in truth(simulator, product, known, newest)}
        async with desk.at_work():
            desk.take(live[known + 4])
            await until(lambda: len(desk.out) == 4)
            assert desk.ids(symbol) == [known + 1, known + 2, known + 3, known + 4]
            desk.take(live[newest])
            await until(lambda: len(desk.out) == 3_600)
        assert [(one.trade_id, one.timestamp) for one in desk.out] == truth(simulator, product, known + 1, newest)
        assert (desk.gaps, desk.sequences.missing(symbol), desk.sequences.waiting) == ([], [], 0)

    against(scenario)


@pytest.mark.parametrize(("place", "symbol", "product"), [(0, "BTCUSDT", "BTCUSDT"), (1, "BTCUSD", "BTC-USD")])
@pytest.mark.parametrize("past_s", [None, 90])
def test_a_record_begins_with_the_minute_or_where_the_others_end(
    place: int, symbol: str, product: str, past_s: int | None
) -> None:
    """The first trade of the exchange's minute, or since all others are whole, is the first of the record."""

    async def scenario(simulator: Simulator, rest: Rest) -> None:
        venue = venues_of("simulator", simulator=f"{simulator.host}:{simulator.port}")[place]
        desk = Desk(rest, venue, products={symbol: product}, wait_s=5.0)
        begin_us = MINUTE_US - 30_000_000 if past_s or place else MINUTE_US
        if past_s or place:  # Coinbase tells its clock by frames alone, and this one is not ours
            desk.sequences.whole_until_ms = begin_us // 1000
        newest = count(simulator, product, NOW_US) - 1
        desk.take(trade(newest, symbol, NOW_US // 1000))
        await desk.backfill.start(symbol)
        async with desk.at_work():
            await until(lambda: newest in desk.ids(symbol))
        first = count(simulator, product, begin_us)
        assert desk.ids(symbol) == list(range(first, newest + 1))

    against(scenario)


def test_a_quiet_symbol_begins_with_its_next_trade() -> None:
    """Where nothing was traded since the minute began, it begins behind the newest trade, and no gap is told."""

    async def scenario(simulator: Simulator, rest: Rest) -> None:
        venue = venues_of("simulator", simulator=f"{simulator.host}:{simulator.port}")[0]
        desk = Desk(rest, venue, products={"ZILBTC": "ZILBTC"}, wait_s=5.0)
        made = count(simulator, "ZILBTC", NOW_US)
        assert made == count(simulator, "ZILBTC", MINUTE_US)
        await desk.backfill.start("ZILBTC")
        assert desk.sequences.last("ZILBTC") == made - 1
        assert desk.sequences.missing("ZILBTC") == []

    against(scenario, rate=100.0)


def test_a_probe_finds_what_was_missed() -> None:
    """Asked for its newest trade, the exchange tells what we have less; what we have is nothing to ask for."""

    async def scenario(simulator: Simulator, rest: Rest) -> None:
        venue = venues_of("simulator", simulator=f"{simulator.host}:{simulator.port}")[0]
        desk = Desk(rest, venue)
        assert not await desk.backfill.probe("BTCUSDT")  # without a beginning nothing can be missed
        newest = count(simulator, "BTCUSDT", NOW_US) - 1
        desk.sequences.resume("BTCUSDT", [(newest - 20, newest - 10)])
        assert await desk.backfill.probe("BTCUSDT")
        assert not await desk.backfill.probe("BTCUSDT")
        async with desk.at_work():
            await until(lambda: len(desk.out) >= 10)
        assert desk.ids()[:10] == list(range(newest - 9, newest + 1))

    against(scenario)


def test_a_trade_on_its_way_is_not_missed() -> None:
    """REST may tell of a trade before the stream does: it is given a moment, and then the stream is sound."""

    async def scenario() -> None:
        rest = ScriptedRest()
        rest.answers["/api/v3/aggTrades"] = [{"f": 1, "l": 1, "T": TIME_MS}]
        desk = Desk(rest)
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        probing = asyncio.create_task(desk.backfill.probe("BTCUSDT"))
        await until(lambda: len(rest.asked) == 1)
        desk.take(trade(1))
        assert not await probing

    run(scenario)


@pytest.mark.parametrize("came_before", [True, False])
def test_where_the_beginning_cannot_be_had_a_gap_marks_the_edge(came_before: bool) -> None:
    """The one id before the first trade is told as lost, whether that trade has come yet or not."""

    async def scenario() -> None:
        desk = Desk(ScriptedRest(errors=[RestRefusedError("HTTP 400: Invalid symbol.")]))
        if came_before:
            desk.take(trade(77))
        await desk.backfill.start("BTCUSDT")
        async with desk.at_work():
            if not came_before:
                await asyncio.sleep(0.2)
                assert desk.gaps == []
                desk.take(trade(77))
            await until(lambda: desk.ids() == [77] and len(desk.gaps) == 1)
        assert desk.told() == [("lost", 76, 76, "the record begins here: HTTP 400: Invalid symbol.")]

    run(scenario)


def test_where_the_past_is_not_known_the_minute_begins_with_an_edge() -> None:
    """Others have published, but of this exchange nothing was read: the beginning is had, and marked all the same."""

    async def scenario() -> None:
        rest = ScriptedRest(range(900, 999))
        rest.answers["/api/v3/aggTrades"] = [{"f": 900, "l": 905, "T": TIME_MS}]
        rest.answers["/api/v3/time"] = {"serverTime": TIME_MS}
        desk = Desk(rest)
        desk.sequences.past_unknown = "the record begins here: a test"
        await desk.backfill.start("BTCUSDT")
        async with desk.at_work():
            desk.take(trade(906))
            await until(lambda: 906 in desk.ids())
        assert desk.ids() == [900, 901, 902, 903, 904, 905, 906]
        assert desk.told() == [("lost", 899, 899, "the record begins here: a test")]

    run(scenario)


def test_a_symbol_without_any_trade_begins_with_its_first() -> None:
    """A market that has never traded has no past, and no gap."""

    async def scenario() -> None:
        rest = ScriptedRest()
        rest.answers = {"/api/v3/aggTrades": []}
        desk = Desk(rest)
        await desk.backfill.start("BTCUSDT")
        async with desk.at_work():
            desk.take(trade(0))
            await until(lambda: desk.ids() == [0])
        assert desk.gaps == []

    run(scenario)
