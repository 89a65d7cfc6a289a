"""One exchange at work, when Kafka takes nothing or the program is stopped: nothing that was received is lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from producer.publishing.spill import Spill
from producer.source import STOPPED, UNBEGUN
from tests.producer.doubles import until
from tests.producer.wired import (
    HELD_UP_MS,
    SYMBOLS,
    in_order,
    none_behind_a_heartbeat,
    quick,
    reading,
    simulated,
    tail_of,
    whole,
)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits as long as in earnest."""
    quick(monkeypatch)


def test_frames_that_wait_to_be_mapped_hold_back_the_heartbeat() -> None:
    """While Kafka takes nothing for longer than a heartbeat lags behind, though there is room to go on reading."""

    async def scenario() -> None:
        async with (
            simulated() as exchange,
            reading(exchange.venue("binance"), records_in_flight=10, stall_s=60) as producer,
        ):
            await producer.has_all(exchange, SYMBOLS["binance"])
            producer.kafka.held = True
            await until(lambda: producer.samples()["producer_frames_waiting", "sim-binance"] > 0)
            paused_ms = exchange.now_ms()
            await until(lambda: exchange.now_ms() > paused_ms + HELD_UP_MS)

            def caught_up() -> bool:
                producer.kafka.acknowledge(1)
                return not producer.samples()["producer_frames_waiting", "sim-binance"]

            await until(caught_up)
            producer.kafka.held = False
            producer.kafka.acknowledge(10)
            count = len(producer.beats())
            await until(lambda: len(producer.beats()) > count + 2)
            none_behind_a_heartbeat(producer)

    asyncio.run(scenario())


def test_a_full_kafka_makes_reading_pause_and_nothing_is_lost() -> None:
    """The window fills, then the queue of frames, then nothing is read; and all goes on when Kafka does."""

    async def scenario() -> None:
        async with (
            simulated() as exchange,
            reading(exchange.venue("binance"), records_in_flight=50, stall_s=60, frame_queue=20) as producer,
        ):
            await producer.has_all(exchange, SYMBOLS["binance"])
            producer.kafka.held = True
            await until(lambda: producer.samples()["producer_frames_waiting", "sim-binance"] == 20)
            await until(lambda: producer.samples()["producer_reading_paused_total", "sim-binance"] > 0)
            count = len(producer.kafka.sent)
            told = exchange.next_id("BTCUSDT") + 20
            await until(lambda: exchange.next_id("BTCUSDT") > told)
            samples = producer.samples()
            assert samples["producer_frames_waiting", "sim-binance"] == 20
            assert 50 <= samples["producer_records_in_flight",] < 100
            assert len(producer.kafka.sent) == count
            producer.kafka.held = False
            producer.kafka.acknowledge(10_000)
            await producer.has_all(exchange, SYMBOLS["binance"])
            in_order(producer, exchange, SYMBOLS["binance"])
            none_behind_a_heartbeat(producer)

    asyncio.run(scenario())


def test_a_stop_while_kafka_takes_nothing_leaves_all_that_was_received_on_disk(tmp_path: Path) -> None:
    """The frames that wait to be mapped too: what is on disk goes on where Kafka has ended, without a hole."""

    async def scenario() -> None:
        spill = Spill(tmp_path, "topic", limit_bytes=2**30)
        options = {"records_in_flight": 50, "stall_s": 60, "frame_queue": 20}
        async with simulated() as exchange:
            async with reading(exchange.venue("binance"), spill=spill, **options) as producer:
                await producer.has_all(exchange, SYMBOLS["binance"])
                sent = {symbol: producer.ids(symbol).copy() for symbol in SYMBOLS["binance"]}
                producer.kafka.held = True
                await until(lambda: producer.samples()["producer_frames_waiting", "sim-binance"] == 20)
            await producer.publisher.close(0.1)
            later = Spill(tmp_path, "topic", limit_bytes=2**30)
            left = [json.loads(one.value) for leftover in later.leftovers() for one in leftover.records]
            later.close()
            assert len(left) >= 50 + 20
            for symbol in SYMBOLS["binance"]:
                ids = sent[symbol] + [one["trade_id"] for one in left if one.get("symbol") == symbol]
                assert ids == list(range(exchange.first_id(symbol), exchange.first_id(symbol) + len(ids)))

    asyncio.run(scenario())


def test_what_has_arrived_goes_out_at_the_end_and_what_it_waited_for_is_told() -> None:
    """A stop with trades that wait for missing ones: they are published, and the hole is told as open."""

    async def scenario() -> None:
        async with simulated() as exchange:
            async with reading(exchange.venue("binance")) as producer:
                await producer.has_all(exchange, SYMBOLS["binance"])
                exchange.strike({"kind": "rest_5xx", "for_s": 60}, {"kind": "drop_ids", "symbol": "BTCUSDT"})
                await until(lambda: producer.live.waiting > 5)
                count = len(producer.ids("BTCUSDT"))
            ids = producer.ids("BTCUSDT")
            missing = ids[count - 1] + 1
            assert producer.gaps("BTCUSDT") == [("open", missing, missing, STOPPED)]
            assert ids == [number for number in range(ids[0], ids[-1] + 1) if number != missing]
            assert (producer.live.waiting, producer.publisher.unacknowledged) == (0, 0)

    asyncio.run(scenario())


def test_a_stop_before_the_beginning_is_known_is_told_and_the_next_start_asks_for_it() -> None:
    """The first trades go out, and the edge before each symbol's is open, for nobody has said what went before."""

    async def scenario() -> None:
        async with simulated() as exchange:
            exchange.strike({"kind": "rest_slow", "delay_s": 0.3})
            async with reading(exchange.venue("binance")) as first:
                await until(lambda: first.live.waiting > 5)
            began = [symbol for symbol in SYMBOLS["binance"] if first.ids(symbol)]
            assert {symbol: first.gaps(symbol) for symbol in began} == {
                symbol: [("open", first.ids(symbol)[0] - 1, first.ids(symbol)[0] - 1, UNBEGUN)] for symbol in began
            }
            exchange.schedule.clear()
            async with reading(exchange.venue("binance"), tail=tail_of(first.kafka)) as second:
                await whole(exchange, SYMBOLS["binance"], first, second)

    asyncio.run(scenario())
