"""Several exchanges at once: what is read of them, who is left out, and how a run goes on where another ended."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from market.gap import Gap, gap_record
from producer.exchanges.venues import COINBASE
from producer.feeds.answers import REFUSALS
from producer.feeds.feed import FeedRefusedError
from producer.live import NothingToReadError
from producer.publishing.record import Record
from producer.publishing.spill import Spill
from tests.producer.doubles import ScriptedKafka, until
from tests.producer.wired import SYMBOLS, Producer, in_order, reading, simulated, tail_of, whole

BOTH = ("BTCUSDT", "coinbase:BTC-USD")


def told(caplog: pytest.LogCaptureFixture, *modules: str) -> list[str]:
    """What modules of the producer have said in warnings and errors."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.name.removeprefix("producer.") in modules
    ]


def cut_off(kafka: ScriptedKafka, records: int) -> ScriptedKafka:
    """A Kafka that has got only the first records: the rest of the run was killed."""
    left = ScriptedKafka()
    left.sent, left.topics = kafka.sent[:records], kafka.topics[:records]
    return left


@pytest.mark.parametrize("name", ["binance", "coinbase"])
@pytest.mark.parametrize("is_killed", [False, True])
def test_a_run_goes_on_where_the_topic_ends(name: str, is_killed: bool) -> None:
    """Without a hole and without a double, whether the run before was stopped or killed at any record."""

    async def scenario() -> None:
        async with simulated() as exchange:
            async with reading(exchange.venue(name)) as first:
                await first.has_all(exchange, SYMBOLS[name])
                await until(lambda: len(first.kafka.sent) > 100)
            if is_killed:
                first = Producer([exchange.venue(name)], cut_off(first.kafka, 71), first.publisher)
            async with reading(exchange.venue(name), tail=tail_of(first.kafka)) as second:
                await whole(exchange, SYMBOLS[name], first, second)
                await until(lambda: all(second.ids(symbol) for symbol in SYMBOLS[name][:2]))
                for symbol in SYMBOLS[name]:
                    assert second.ids(symbol) == sorted(second.ids(symbol))

    asyncio.run(scenario())


def test_a_stopped_run_with_a_hole_is_made_whole_by_the_next() -> None:
    """What was missing at the stop is asked for at the next start, and told as filled."""

    async def scenario() -> None:
        async with simulated() as exchange:
            async with reading(exchange.venue("binance")) as first:
                await first.has_all(exchange, SYMBOLS["binance"])
                exchange.strike({"kind": "rest_5xx", "for_s": 0.5}, {"kind": "drop_ids", "symbol": "BTCUSDT"})
                await until(lambda: first.live.waiting > 5)
            ((_, missing, _, _),) = first.gaps("BTCUSDT")
            async with reading(exchange.venue("binance"), tail=tail_of(first.kafka)) as second:
                await until(lambda: ("filled", missing, missing, "back-filled") in second.gaps("BTCUSDT"))
                await whole(exchange, SYMBOLS["binance"], first, second)

    asyncio.run(scenario())


def test_two_venues_of_one_exchange_make_up_for_each_other() -> None:
    """One is cut, later it refuses us for good and is told so; the trades are whole, and heartbeats go on."""

    async def scenario() -> None:
        async with simulated() as exchange:
            venues = [exchange.venue("coinbase"), exchange.venue("coinbase-advanced")]
            async with reading(*venues, symbols=SYMBOLS["coinbase"]) as producer:
                await producer.has_all(exchange, SYMBOLS["coinbase"])
                exchange.strike({"kind": "refuse", "status": 403, "count": 1}, {"kind": "cut", "frame": 5})
                await until(lambda: exchange.schedule.struck["refuse"] == 1)
                count = len(producer.beats())
                await until(lambda: len(producer.beats()) > count)
                await producer.has_all(exchange, SYMBOLS["coinbase"])
                in_order(producer, exchange, SYMBOLS["coinbase"])
                assert producer.samples()["producer_connected", "sim-coinbase"] == 1

    asyncio.run(scenario())


def test_a_bad_product_is_left_out_and_the_rest_subscribed_again(caplog: pytest.LogCaptureFixture) -> None:
    """One bad product voids Coinbase's whole subscription: it is told, and the others are complete."""

    async def scenario() -> None:
        async with simulated() as exchange:
            venue = exchange.venue("coinbase", products_of=lambda listing: [*COINBASE.products_of(listing), "GONE-USD"])
            async with reading(venue, symbols=["GONE-USD", *SYMBOLS["coinbase"]]) as producer:
                await producer.has_all(exchange, SYMBOLS["coinbase"])
                await until(lambda: producer.ledger.passed_over["heartbeat"] > 0)
                in_order(producer, exchange, SYMBOLS["coinbase"])

    asyncio.run(scenario())
    assert told(caplog, "streams", "ledger") == [
        'sim-coinbase answers with an error: {"message": "Failed to subscribe", '
        '"reason": "GONE-USD is not a valid product"}',
        "sim-coinbase does not know GONE-USD any more: it is left out, the others are read on",
    ]


def test_a_refused_exchange_is_left_out_and_the_other_read_on(caplog: pytest.LogCaptureFixture) -> None:
    """HTTP 451 is told whole, with what helps; the other exchange is complete."""

    async def scenario() -> str:
        async with simulated() as exchange:
            exchange.strike({"kind": "rest_451", "venue": "binance"})
            symbols = [*BOTH, "binance:ETHUSDT"]  # of which nothing need be said any more
            async with reading(exchange.venue("binance"), exchange.venue("coinbase"), symbols=symbols) as producer:
                await producer.has_all(exchange, ["BTCUSD"])
                assert producer.ids("BTCUSDT") == []
            return exchange.address

    address = asyncio.run(scenario())
    assert told(caplog, "live") == [
        f"sim-binance is left out: sim-binance: http://{address}/api/v3/exchangeInfo answered HTTP 451: "
        "the exchange does not serve this address (Binance refuses some countries and many cloud providers); "
        "connect from elsewhere, or choose another SOURCE, such as coinbase or simulator",
        "SYMBOLS: BTCUSDT: not traded at coinbase; skipped",
    ]


def test_an_exchange_that_refuses_later_hands_on_what_it_has_brought() -> None:
    """A handshake is answered with 451, and trades wait for a missing one: they go out, and the other goes on."""

    async def scenario() -> None:
        async with (
            simulated() as exchange,
            reading(exchange.venue("binance"), exchange.venue("coinbase"), symbols=BOTH) as producer,
        ):
            await producer.has_all(exchange, ["BTCUSDT", "BTCUSD"])
            exchange.strike({"kind": "rest_5xx", "for_s": 60, "venue": "binance"})
            exchange.strike({"kind": "drop_ids", "symbol": "BTCUSDT"})
            await until(lambda: producer.live.waiting > 3)
            exchange.strike({"kind": "refuse", "status": 451, "venue": "binance", "for_s": 60})
            exchange.strike({"kind": "cut", "venue": "binance"})
            await until(lambda: producer.live.waiting == 0)
            await producer.has_all(exchange, ["BTCUSD"])
            assert [status for status, *_ in producer.gaps("BTCUSDT")] == ["open"]

    asyncio.run(scenario())


def test_when_all_refuse_the_program_ends_with_the_first_refusal() -> None:
    """The error is that of an exchange, and names what helps."""

    async def scenario() -> None:
        async with simulated() as exchange:
            exchange.strike({"kind": "rest_451"})
            async with reading(exchange.venue("coinbase"), ends_with=FeedRefusedError) as producer:
                pass
            assert str(producer.error) == (
                f"sim-coinbase: http://{exchange.address}/products answered HTTP 451: {REFUSALS[451]}"
            )

    asyncio.run(scenario())


def test_symbols_that_nobody_trades_end_the_program(caplog: pytest.LogCaptureFixture) -> None:
    """The error says what was asked for, where, and how to say it; each entry is told once, when all have answered."""

    async def scenario() -> str:
        async with simulated() as exchange:
            venues = exchange.venue("binance"), exchange.venue("coinbase")
            async with reading(*venues, symbols=["XXX-USD", "kraken:BTC-USD"], ends_with=NothingToReadError) as found:
                pass
            return str(found.error)

    assert asyncio.run(scenario()) == (
        "none of SYMBOLS=XXX-USD,kraken:BTC-USD is traded at sim-binance, sim-coinbase; "
        "name symbols as the exchange lists them, such as binance:BTCUSDT or coinbase:BTC-USD"
    )
    assert told(caplog, "live") == [
        "SYMBOLS: XXX-USD: not traded at binance or coinbase; skipped",
        "SYMBOLS: kraken:BTC-USD: kraken is not among the sources (binance, coinbase); skipped",
    ]


def test_of_a_simulated_exchange_every_symbol_is_read(caplog: pytest.LogCaptureFixture) -> None:
    """SYMBOLS is for real ones, and nothing is said of it."""

    async def scenario() -> None:
        async with simulated() as exchange:
            venue = replace(exchange.venue("binance"), source="simulator")
            async with reading(venue, symbols=["XXX"]) as producer:
                await until(lambda: len(producer.ids("LINKUSDT")) > 0 and len(producer.ids("ETHBTC")) > 0)

    asyncio.run(scenario())
    assert told(caplog, "live") == []


def test_an_exchange_without_a_listing_does_not_hold_up_the_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked again until it answers; meanwhile the other is read, and complaints wait for both."""

    async def scenario() -> None:
        async with simulated() as exchange:
            exchange.strike({"kind": "rest_5xx", "venue": "binance", "for_s": 60})
            symbols = [*BOTH, "XXX-USD"]
            async with reading(exchange.venue("binance"), exchange.venue("coinbase"), symbols=symbols) as producer:
                await producer.has_all(exchange, ["BTCUSD"])
                assert {text.partition(" (")[0] for text in told(caplog, "live")} == {"sim-binance: no list of symbols"}
                exchange.schedule.clear()
                await producer.has_all(exchange, ["BTCUSDT"])
                in_order(producer, exchange, ["BTCUSDT", "BTCUSD"])

    asyncio.run(scenario())
    assert told(caplog, "live")[-1] == "SYMBOLS: XXX-USD: not traded at binance or coinbase; skipped"


def test_what_an_earlier_run_left_on_disk_is_published_once_and_forgotten_when_it_is_safe(tmp_path: Path) -> None:
    """Trades of the disk go through the sequences with those of the topic and of the exchange: whole, none doubled.

    A hole that has been filled since is not told as open again.
    """

    async def scenario() -> None:
        async with simulated() as exchange:
            async with reading(exchange.venue("binance")) as first:
                await first.has_all(exchange, SYMBOLS["binance"])
                await until(lambda: len(first.kafka.sent) > 60)
            values = [content for content, _, _ in first.kafka.sent]
            left = Spill(tmp_path, "topic", limit_bytes=2**30)
            for content in values[20:50]:  # ten of them are in the topic already
                trades = int("trade_id" in content)
                left.append(Record("topic", None, b"key", json.dumps(content, separators=(",", ":")).encode(), trades))
            there = first.ids("BTCUSDT")[0]
            for status in ("open", "filled"):  # of a trade that is in the topic by now
                gap = Gap("sim-binance", "BTCUSDT", there, there, status, "left", 1_704_067_202_000)
                left.append(Record("topic-gaps", None, b"BTCUSDT", gap_record(gap), 0))
            await left.sync()
            left.close()
            files = list(tmp_path.rglob("*.records"))
            assert files
            spill = Spill(tmp_path, "topic", limit_bytes=2**30)
            kafka = ScriptedKafka(held=True)
            known = cut_off(first.kafka, 30)
            async with reading(exchange.venue("binance"), kafka=kafka, tail=tail_of(known), spill=spill) as second:
                await until(lambda: len(kafka.sent) >= len([1 for one in values[30:50] if "trade_id" in one]))
                assert list(tmp_path.rglob("*.records")) == files
                kafka.held = False
                kafka.acknowledge(1_000)
                await until(lambda: not [path for path in files if path.exists()])
                first = Producer([exchange.venue("binance")], known, first.publisher)
                await whole(exchange, SYMBOLS["binance"], first, second)
                assert [gap for gap in second.gaps("BTCUSDT") if gap[3] == "left"] == [("filled", there, there, "left")]

    asyncio.run(scenario())
