"""One exchange at work, against the simulator: complete, in order, through the faults of sockets and of REST."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest

from producer import heartbeats, vigil
from producer.completeness.backfill import MISSED, NOT_SERVED
from producer.feeds.watch import Quiet
from producer.source import UNASKED
from tests.producer.doubles import until
from tests.producer.wired import (
    HELD_UP_MS,
    SYMBOLS,
    Producer,
    in_order,
    none_behind_a_heartbeat,
    quick,
    reading,
    simulated,
)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long as in earnest."""
    quick(monkeypatch)


@pytest.mark.parametrize("name", SYMBOLS)
def test_every_trade_goes_out_in_order_from_the_beginning_of_the_minute(name: str) -> None:
    """None is missing, none is doubled, each is what the exchange made, and no heartbeat runs ahead of one."""

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue(name)) as producer:
            await until(lambda: all(len(producer.ids(symbol)) > 20 for symbol in SYMBOLS[name][:2]))
            await producer.has_all(exchange, SYMBOLS[name])
            await until(lambda: bool(producer.beats()))
            in_order(producer, exchange, SYMBOLS[name])
            none_behind_a_heartbeat(producer)

    asyncio.run(scenario())


def test_a_quiet_symbol_begins_with_the_minute_too() -> None:
    """What it has traded in this minute comes at once, not with its next trade."""

    async def scenario() -> None:
        quiet = ["ZILBTC", "QTUMETH", "DASHBTC"]
        async with (
            simulated("2024-01-01T00:00:50Z", rate=2_000.0) as exchange,
            reading(exchange.venue("binance"), symbols=quiet) as producer,
        ):
            assert any(exchange.next_id(symbol) > exchange.first_id(symbol) for symbol in quiet)
            await until(lambda: bool(producer.beats()))
            await producer.has_all(exchange, quiet)
            none_behind_a_heartbeat(producer)

    asyncio.run(scenario())


@pytest.mark.parametrize("name", SYMBOLS)
def test_faults_of_the_socket_lose_double_and_reorder_nothing(name: str) -> None:
    """Dropped, swapped, doubled, late and spoilt frames, and a cut: what is missing is filled, and all is in order."""

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue(name)) as producer:
            kinds = ("swap", "duplicate_ids", "malformed", "late", "truncated", "number", "unknown_event", "cut")
            exchange.strike({"kind": "drop_ids", "probability": 0.03})
            exchange.strike(*({"kind": kind, "at_s": place / 8} for place, kind in enumerate(kinds)))
            await until(lambda: len(exchange.schedule.struck) > len(kinds))
            await until(lambda: all(value for key, value in producer.samples().items() if key[0].endswith("connected")))
            await producer.has_all(exchange, SYMBOLS[name])
            in_order(producer, exchange, SYMBOLS[name])
            assert producer.ledger.rejected.total() > 0
            assert producer.samples()["producer_backfilled_total", f"sim-{name.partition('-')[0]}"] > 0

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["binance", "coinbase"])
def test_a_silent_symbol_is_asked_about_and_its_connection_renewed(name: str) -> None:
    """An open connection that has stopped to bring one symbol is noticed without another trade of it."""

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue(name)) as producer:
            await producer.has_all(exchange, SYMBOLS[name])
            exchange.strike({"kind": "silent_symbol", "symbol": SYMBOLS[name][0]})
            await until(lambda: producer.samples()["producer_renewals_total", f"sim-{name}", name] >= 1)
            exchange.schedule.clear()
            await producer.has_all(exchange, SYMBOLS[name])
            in_order(producer, exchange, SYMBOLS[name])

    asyncio.run(scenario())


def test_a_symbol_that_is_silent_from_the_start_is_noticed() -> None:
    """Nothing was ever heard of it, and what it has traded comes all the same."""

    async def scenario() -> None:
        async with simulated() as exchange:
            exchange.strike({"kind": "silent_symbol", "symbol": "BTCUSDT"})
            async with reading(exchange.venue("binance")) as producer:
                await until(
                    lambda: producer.samples().get(("producer_renewals_total", "sim-binance", "binance"), 0) >= 1
                )
                exchange.schedule.clear()
                await producer.has_all(exchange, SYMBOLS["binance"])
                in_order(producer, exchange, SYMBOLS["binance"])

    asyncio.run(scenario())


def test_coinbases_heartbeats_tell_of_trades_that_did_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each names the newest trade of its product: nobody has to wait for another one, or to ask."""
    monkeypatch.setattr(vigil, "Quiet", partial(Quiet, suspicion_s=60))

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue("coinbase")) as producer:
            await producer.has_all(exchange, SYMBOLS["coinbase"])
            exchange.strike({"kind": "drop_ids", "symbol": "ETH-USD", "probability": 1})
            await until(lambda: exchange.schedule.struck["drop_ids"] > 50)
            await producer.has_all(exchange, SYMBOLS["coinbase"])
            in_order(producer, exchange, SYMBOLS["coinbase"])

    asyncio.run(scenario())


def test_live_trades_go_on_when_rest_refuses_us(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a cut, neither the missing trades nor the clock are to be had."""
    monkeypatch.setattr(heartbeats, "_CLOCK_RETRY_S", 0.1)

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue("binance"), hole_wait="100ms") as producer:
            await producer.has_all(exchange, SYMBOLS["binance"])
            exchange.strike({"kind": "rest_451"}, {"kind": "cut"})
            await until(lambda: producer.samples()["producer_connects_total", "sim-binance", "binance"] > 1)
            await until(lambda: producer.samples()["producer_rest_banned_seconds", "sim-binance"] > 0)
            mark = len(producer.ids("BTCUSDT"))
            await until(lambda: len(producer.ids("BTCUSDT")) > mark + 10)

    asyncio.run(scenario())


def test_a_server_that_goes_away_is_left_before() -> None:
    """serverShutdown: a second connection takes over, and no trade is lost or doubled, nor had to be asked for."""

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue("binance")) as producer:
            await producer.has_all(exchange, SYMBOLS["binance"])
            backfilled = producer.samples()["producer_backfilled_total", "sim-binance"]
            exchange.strike({"kind": "server_shutdown", "delay_s": 3})
            await until(lambda: producer.samples()["producer_renewals_total", "sim-binance", "binance"] == 1)
            await producer.has_all(exchange, SYMBOLS["binance"])
            in_order(producer, exchange, SYMBOLS["binance"])
            samples = producer.samples()
            assert samples["producer_backfilled_total", "sim-binance"] == backfilled
            assert not [key for key in samples if key[0] == "producer_disconnects_total"]

    asyncio.run(scenario())


def unsettled(producer: Producer) -> Counter[tuple[int, int]]:
    """What gap records of BTCUSDT tell as open, and no later one as filled or lost."""
    gaps = producer.gaps("BTCUSDT")
    opened = Counter((first, last) for status, first, last, _ in gaps if status == "open")
    return opened - Counter((first, last) for status, first, last, _ in gaps if status != "open")


def test_newer_trades_do_not_wait_for_ever_and_the_hole_is_told_open_then_filled() -> None:
    """REST is away for longer than HOLE_WAIT: the missing trades follow late, between the two gap records."""

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue("binance"), hole_wait="200ms") as producer:
            await producer.has_all(exchange, SYMBOLS["binance"])
            await until(lambda: not producer.samples()["producer_holes", "sim-binance"])
            await until(lambda: not unsettled(producer))  # the beginning may have come late
            mark = len(producer.gaps("BTCUSDT"))
            exchange.strike({"kind": "rest_5xx", "for_s": 0.6}, {"kind": "drop_ids", "symbol": "BTCUSDT", "count": 3})
            await until(lambda: len(producer.gaps("BTCUSDT")) > mark + 1)
            (opened, first, last, cause), filled = producer.gaps("BTCUSDT")[mark:]
            assert (opened, last - first, cause) == ("open", 2, MISSED)
            assert filled == ("filled", first, last, "back-filled")
            ids = producer.ids("BTCUSDT")
            assert ids.index(last + 1) < ids.index(first) < ids.index(last)
            contents = [content for content, _, _ in producer.kafka.sent]
            late = [place for place, one in enumerate(contents) if one.get("trade_id") in range(first, last + 1)]
            told = [place for place, one in enumerate(contents) if "status" in one and one["symbol"] == "BTCUSDT"]
            assert told[mark] < late[0] < late[-1] < told[mark + 1]
            assert len(late) == 3
            await producer.has_all(exchange, SYMBOLS["binance"])
            assert len(ids) == len(set(ids))

    asyncio.run(scenario())


def test_a_hole_that_the_exchange_does_not_serve_any_more_is_told_lost() -> None:
    """After some answers without them; newer trades then go at once, and a metric counts the lost ones."""

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue("binance")) as producer:
            await producer.has_all(exchange, SYMBOLS["binance"])
            exchange.strike({"kind": "prune", "keep": 1}, {"kind": "drop_ids", "symbol": "BTCUSDT", "count": 3})
            await until(lambda: bool(producer.gaps("BTCUSDT")))
            ((status, first, last, cause),) = producer.gaps("BTCUSDT")
            assert (status, last - first, cause) == ("lost", 2, NOT_SERVED)
            await until(lambda: producer.ids("BTCUSDT")[-1] > last + 10)
            ids = producer.ids("BTCUSDT")
            assert ids == [*range(exchange.first_id("BTCUSDT"), first), *range(last + 1, ids[-1] + 1)]
            assert producer.samples()["producer_lost_trades_total", "sim-binance"] == 3

    asyncio.run(scenario())


@pytest.mark.parametrize("name", ["binance", "coinbase"])
def test_heartbeats_pause_while_trades_are_missing_or_the_connection_is_down(name: str) -> None:
    """A hole that is open for longer than a heartbeat lags behind, then a cut of that length: none runs ahead."""
    symbols = SYMBOLS[name]

    async def scenario() -> None:
        async with simulated() as exchange, reading(exchange.venue(name)) as producer:
            for faults in (
                ({"kind": "rest_slow", "delay_s": 0.9, "count": 1}, {"kind": "drop_ids", "symbol": symbols[0]}),
                ({"kind": "refuse", "for_s": 0.9}, {"kind": "cut"}),
            ):
                await producer.has_all(exchange, symbols)
                exchange.strike(*faults)
                struck = exchange.schedule.struck
                await until(lambda faults=faults, struck=struck: struck[faults[1]["kind"]] > 0)
                count = none_behind_a_heartbeat(producer)
                await until(lambda count=count: len(producer.beats()) > count)
            in_order(producer, exchange, symbols)
            none_behind_a_heartbeat(producer)

    asyncio.run(scenario())


def test_after_a_cut_no_heartbeat_promises_what_was_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow symbol has traded meanwhile shows only with its next trade, or in the answer to a question."""
    monkeypatch.setattr(vigil, "Quiet", partial(Quiet, suspicion_s=0.6))

    async def scenario() -> None:
        async with (
            simulated(rate=100) as exchange,
            reading(exchange.venue("binance"), symbols=["TRXUSDT"]) as producer,
        ):
            await producer.has_all(exchange, ["TRXUSDT"])
            await until(lambda: bool(producer.beats()))
            exchange.strike({"kind": "refuse", "for_s": 60}, {"kind": "cut"})
            await until(lambda: exchange.schedule.struck["refuse"] > 0)
            missed = exchange.next_id("TRXUSDT")
            await until(lambda: exchange.next_id("TRXUSDT") > missed)
            missed_ms = exchange.now_ms()
            await until(lambda: exchange.now_ms() > missed_ms + HELD_UP_MS)
            exchange.schedule.clear()
            count = len(producer.beats())
            await until(lambda: len(producer.beats()) > count + 5)
            assert missed in producer.ids("TRXUSDT")
            none_behind_a_heartbeat(producer)

    asyncio.run(scenario())


def test_a_symbol_that_was_not_asked_for_is_passed_over() -> None:
    """A server may send what nobody asked for: it is counted, never asked about, and changes nothing."""

    async def scenario() -> None:
        stray = "/stream?streams=dogeusdt@trade/solusdt@trade"
        async with simulated() as exchange, reading(exchange.venue("binance", stream_path=stray)) as producer:
            await producer.has_all(exchange, SYMBOLS["binance"])
            await until(lambda: producer.ledger.passed_over[UNASKED] > 20)
            await asyncio.sleep(0.7)  # longer than silence lasts until somebody is asked about
            await producer.has_all(exchange, SYMBOLS["binance"])
            assert {content["symbol"] for content, _, _ in producer.kafka.sent if "trade_id" in content} <= set(
                SYMBOLS["binance"]
            )

    asyncio.run(scenario())
