"""The account of a running producer: it balances at every look, and every metric has its meaning."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

import pytest

from market.metrics import Sample
from producer import status
from producer.exchanges.outcome import Outcome
from producer.ledger import Ledger
from producer.metrics import MEANINGS
from producer.publishing.spill import Spill
from producer.status import Status
from tests.producer.doubles import ScriptedKafka, publisher, trade, until
from tests.producer.wired import SYMBOLS, reading, simulated


def test_the_account_balances_through_everything_and_every_metric_is_told(tmp_path: Path) -> None:
    """Rejected, doubled, retold and back-filled trades, failures of both sides, a spill: at every look nothing lacks.

    Whatever is told has a meaning, and in such a run whatever has a meaning is told.
    """

    async def scenario() -> None:
        spill = Spill(tmp_path, "topic", limit_bytes=2**30)
        first, second = ScriptedKafka(held=True), ScriptedKafka()
        async with simulated() as exchange:
            venues = exchange.venue("binance"), exchange.venue("coinbase")
            symbols = [*SYMBOLS["binance"], *SYMBOLS["coinbase"]]
            async with reading(
                *venues, kafka=first, later=[second], spill=spill, stall_s=0.4, symbols=symbols
            ) as producer:
                exchange.strike({"kind": "duplicate_ids", "probability": 0.1}, {"kind": "drop_ids", "probability": 0.1})
                exchange.strike({"kind": "malformed", "count": 2, "at_s": 0.3}, {"kind": "cut", "at_s": 0.5})
                await until(lambda: producer.publisher.spilled > 50)
                assert producer.samples()["producer_in_hand_trades", "on disk"] > 50
                await until(lambda: producer.publisher.spilled == 0)
                exchange.strike({"kind": "rest_5xx", "count": 2})
                producer.kafka = second
                for name in ("binance", "coinbase"):
                    await producer.has_all(exchange, SYMBOLS[name])
                await until(lambda: {name for name, *_ in producer.samples()} >= MEANINGS.keys())
                assert {name for name, *_ in producer.samples()} == MEANINGS.keys()
                assert producer.samples()["producer_kafka_sessions_total",] == 1

    asyncio.run(scenario())


def test_a_trade_that_disappears_is_seen() -> None:
    """The identity is an account, not a tautology: one that is counted and handed on to nobody is missing."""

    async def scenario() -> None:
        ledger, kafka = Ledger(), ScriptedKafka(held=True)
        target = publisher(kafka)
        account = Status(ledger, target)
        for number in range(5):
            ledger.count("binance", Outcome(trades=(trade(number),)), b"")
            assert account.unaccounted == 1
            if number < 4:
                target.trade(trade(number))
                ledger.new("binance", 1)
            kafka.acknowledge(number % 2)
        assert account.unaccounted == 1
        ledger.doubled("binance", 1)
        assert account.unaccounted == 0
        kafka.acknowledge(5)
        await target.close(1)

    asyncio.run(scenario())


def test_the_account_is_logged_now_and_then(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One line with every count; the last one has the kinds and reasons too."""
    monkeypatch.setattr(status, "REPORT_S", 0.01)
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        ledger = Ledger(lambda: 100.0)
        target = publisher(ScriptedKafka())
        account = Status(ledger, target)
        ledger.count("binance", Outcome(passed_over="reply"), b"")
        telling = asyncio.create_task(account.tell())
        await until(lambda: len(caplog.messages) > 1)
        telling.cancel()
        line = "received 1, published 0, un-acked 0, rejected 0, passed over 1, duplicates 0; trades: none yet"
        assert caplog.messages[:2] == [line, line]
        assert account.last_line() == f"{line}; passed over (reply: 1)"
        await target.close(1)

    asyncio.run(scenario())


def test_another_thread_gets_the_samples_from_the_event_loop() -> None:
    """The parts belong to the loop: whoever scrapes waits for it."""

    async def scenario() -> None:
        target = publisher(ScriptedKafka())
        samples = Status(Ledger(), target).from_another_thread()
        found: list[Sample] = []
        thread = threading.Thread(target=lambda: found.extend(samples()))
        thread.start()
        await until(lambda: not thread.is_alive())
        assert Sample("producer_unaccounted_elements", 0) in found
        await target.close(1)

    asyncio.run(scenario())
