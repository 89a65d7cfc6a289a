"""What is missing is asked for until it is there, or the exchange has said often enough that it has it not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from market.gap import Gap
from producer.feeds.answers import FeedRefusedError
from producer.feeds.rest import RestError, RestRefusedError
from tests.producer.completeness.desk import BINANCE, TIME_MS, Desk, ScriptedRest
from tests.producer.doubles import trade, until

NOT_SERVED = "the exchange no longer serves these trades"


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in an event loop."""
    asyncio.run(scenario())


def test_a_hole_outlives_every_error() -> None:
    """Errors that pass, answers that are no list and refusals of all requests delay it, and then it is filled."""

    async def scenario() -> None:
        errors = [RestError("HTTP 503"), ValueError("no list"), RestError("timed out")]
        rest = ScriptedRest(range(1, 100), errors)
        desk = Desk(rest, BINANCE)
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(5))
        async with desk.at_work():
            await until(lambda: len(desk.out) == 5)
            assert desk.told()[0] == ("open", 1, 4, "trades were missed")
            await until(lambda: len(desk.gaps) == 2)
        assert desk.told()[1:] == [("filled", 1, 4, "back-filled")]
        assert desk.ids() == [5, 1, 2, 3, 4]  # the newer one waited no longer than it had to

    run(scenario)


def test_a_refusal_of_everything_stops_back_fill_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where REST refuses us altogether, live trades go on; back-fill asks again after its time."""
    monkeypatch.setattr("producer.completeness.backfill.REFUSED_S", 0.3)

    async def scenario() -> None:
        rest = ScriptedRest(range(1, 100), [FeedRefusedError("HTTP 403")])
        desk = Desk(rest)
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        async with desk.at_work():
            desk.take(trade(2))
            await until(lambda: desk.ids() == [2])
            assert len(rest.asked) == 1
            await until(lambda: desk.ids() == [2, 1])

    run(scenario)


@pytest.mark.parametrize(
    ("errors", "cause"),
    [([], NOT_SERVED), ([RestRefusedError("HTTP 404: NotFound")] * 4, "the exchange refuses them: HTTP 404: NotFound")],
)
def test_what_four_answers_lack_is_lost_and_reported(errors: list[Exception], cause: str) -> None:
    """Ids that the exchange answers for and does not give are asked for four times, then told as lost."""

    async def scenario() -> None:
        rest = ScriptedRest([1, 2, 5], errors)
        desk = Desk(rest, wait_s=10.0)
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(1), trade(2), trade(5, timestamp=TIME_MS + 7))
        async with desk.at_work():
            await until(lambda: len(desk.gaps) == 1)
        found = desk.gaps[0].found
        assert desk.gaps == [Gap("sim-binance", "BTCUSDT", 3, 4, "lost", cause, found, TIME_MS, TIME_MS + 7)]
        assert rest.pages() == [("BTCUSDT", 3, 2)] * 4
        assert desk.ids() == [1, 2, 5]  # nothing waits for what is lost

    run(scenario)


def test_a_page_that_lags_is_asked_for_again() -> None:
    """REST may know a trade later than the stream: what comes in a later answer is not lost."""

    async def scenario() -> None:
        rest = ScriptedRest([1, 2])
        desk = Desk(rest, wait_s=10.0, pauses_s=(0.3, 5.0, 5.0))
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(5))
        async with desk.at_work():
            await until(lambda: len(rest.pages()) == 2)
            rest.have |= {3, 4}
            await until(lambda: desk.ids() == [1, 2, 3, 4, 5])
        assert desk.gaps == []
        # A page speaks up to its last trade; the second one, empty, says that there is no more, and was too early.
        assert rest.pages() == [("BTCUSDT", 1, 4), ("BTCUSDT", 3, 2), ("BTCUSDT", 3, 2)]

    run(scenario)


def test_pruned_history_loses_its_part_alone() -> None:
    """Of a long hole whose beginning the exchange has pruned, the beginning is lost and the rest is filled."""

    async def scenario() -> None:
        rest = ScriptedRest(range(2_501, 4_001))
        desk = Desk(rest, wait_s=0.0)
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(4_001))
        async with desk.at_work():
            await until(lambda: any(gap.status == "lost" for gap in desk.gaps) and len(desk.out) == 1_501)
            await until(lambda: any(gap.status == "filled" for gap in desk.gaps))
        assert ("lost", 1, 2_500, NOT_SERVED) in desk.told()
        assert desk.sequences.missing("BTCUSDT") == []

    run(scenario)


def test_one_request_per_symbol_and_few_at_once() -> None:
    """However many symbols have holes, four are asked for at a time; a symbol's holes share a page."""

    async def scenario() -> None:
        names = {f"S{letter}USDT": f"S{letter}USDT" for letter in "ABCDEF"}
        rest = ScriptedRest(range(1, 100))
        rest.held = asyncio.Event()
        desk = Desk(rest, products=names, wait_s=10.0)
        for symbol in names:
            desk.sequences.begin(symbol, 1, 0.0)
            desk.take(trade(3, symbol), trade(9, symbol))
        async with desk.at_work():
            await until(lambda: len(rest.asked) == 4)
            await asyncio.sleep(0.2)
            assert len(rest.asked) == 4
            assert len({symbol for symbol, _, _ in rest.pages()}) == 4
            rest.held.set()
            await until(lambda: len(desk.out) == 9 * 6)
        assert sorted(rest.pages()) == [(symbol, 1, 8) for symbol in sorted(names)]

    run(scenario)


def test_a_symbol_has_one_request_on_its_way() -> None:
    """Of a symbol with holes far apart, the second is asked for when the first is answered: pages stay in order."""

    async def scenario() -> None:
        rest = ScriptedRest(range(1, 6_000))
        rest.held = asyncio.Event()
        desk = Desk(rest, wait_s=10.0)
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(3), *(trade(number) for number in range(4, 5_000)), trade(5_002))
        async with desk.at_work():
            await until(lambda: len(rest.asked) == 1)
            await asyncio.sleep(0.2)
            assert len(rest.asked) == 1
            rest.held.set()
            await until(lambda: len(desk.out) == 5_002)

    run(scenario)


def test_a_filled_gap_is_told_only_when_its_trades_are_safe() -> None:
    """After a crash in between, nobody would miss them: `filled` waits for Kafka's acknowledgement."""

    async def scenario() -> None:
        acknowledged = asyncio.Event()

        async def safe() -> None:
            await acknowledged.wait()

        desk = Desk(ScriptedRest(range(1, 9)), wait_s=0.0, safe=safe, cause_of=lambda hole: f"{hole.symbol} was cut")
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.take(trade(5))
        async with desk.at_work():
            await until(lambda: len(desk.out) == 5)
            await asyncio.sleep(0.2)
            assert desk.told() == [("open", 1, 4, "BTCUSDT was cut")]
            acknowledged.set()
            await until(lambda: desk.told()[1:] == [("filled", 1, 4, "back-filled")])

    run(scenario)


def test_trades_of_another_count_do_not_fill_a_hole() -> None:
    """Where ids have got another meaning, their trades' times give it away: they are passed over, the hole is lost."""

    async def scenario() -> None:
        rest = ScriptedRest(range(1, 5_000))
        rest.time_ms = lambda number: TIME_MS - 86_400_000
        desk = Desk(rest, wait_s=0.0)
        desk.sequences.resume("BTCUSDT", [(1, 9)], newest_ms=TIME_MS)
        desk.take(trade(4_000, timestamp=TIME_MS + 60_000))
        async with desk.at_work():
            await until(lambda: len(desk.gaps) == 5)
        assert desk.ids() == [4_000]
        cause = "the exchange has begun to count its trades anew"
        assert desk.told() == [
            ("open", 10, 3_999, "trades were missed"),
            *(("lost", first, min(first + 999, 3_999), cause) for first in range(10, 4_000, 1_000)),
        ]
        assert set(desk.passed_over) == {"trade of another count"}

    run(scenario)


def test_a_new_count_gives_up_the_holes_of_the_old_one() -> None:
    """When live trades begin to count anew, what was missing of the old count is lost, and told."""

    async def scenario() -> None:
        rest = ScriptedRest(errors=[RestError("down")] * 100)
        desk = Desk(rest, wait_s=0.0)
        desk.sequences.begin("BTCUSDT", 100, 0.0)
        desk.take(trade(100), trade(105))
        desk.take(*(trade(number, timestamp=TIME_MS + 60_000) for number in (1, 2, 3)))
        async with desk.at_work():
            await until(lambda: len(desk.gaps) == 1)
        assert desk.ids() == [100, 105, 1, 2, 3]
        assert desk.told() == [("lost", 101, 104, "the exchange has begun to count its trades anew")]

    run(scenario)


def test_an_error_of_who_takes_the_trades_ends_it() -> None:
    """What `deliver` raises is raised: a page that cannot be handed on is not passed over in silence."""

    async def scenario() -> None:
        desk = Desk(ScriptedRest(range(1, 9)))
        desk.sequences.begin("BTCUSDT", 1, 0.0)
        desk.sequences.bound("BTCUSDT", 4, 0.0)
        desk.out = None  # type: ignore[assignment]
        async with asyncio.timeout(5):
            with pytest.raises(TypeError):
                await desk.backfill.run()

    run(scenario)
