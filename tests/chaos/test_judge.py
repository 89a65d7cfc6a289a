"""The judgement over a real topic that the test has filled, with a program in the producer's place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from chaos import scene as scenes
from chaos.programs import Program
from chaos.scene import Judgement, Ports, Scene, judge, now_us
from chaos.truth import Key, Truth
from local.broker import Broker
from tests.support import eventually

pytestmark = pytest.mark.e2e

TRUTH = Truth(seed=5, rate=40.0)
WAITS = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {15}); print(flush=True); signal.sigwait({15})"
"""A program that ends in order when it is asked to."""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"

Trades = list[dict[str, Any]]


class Stage:
    """A topic and its gaps topic, to be filled and judged."""

    def __init__(self, bootstrap: str, topic: str, folder: Path) -> None:
        self._bootstrap, self._topic, self._folder = bootstrap, topic, folder
        self.settled_us = now_us()
        begin_us = self.settled_us - 2_000_000
        self.began_us = begin_us
        since = TRUTH.ids_before(begin_us - begin_us % 60_000_000)
        settled = TRUTH.ids_before(self.settled_us)
        whole = [trade for key in since for trade in TRUTH.trades(key, since[key], settled[key])]
        self.trades = sorted(whole, key=lambda trade: trade["timestamp"])
        """Everything that the topic has to hold, from the beginning of the minute on."""
        newest = settled[Key("sim-binance", "BTCUSDT")] - 1
        self.newest = {"first_trade_id": newest, "last_trade_id": newest}
        """A range of one market, as a gap record has it."""

    def fill(self, trades: Trades, *gaps: dict[str, Any]) -> None:
        """Write trades and gap records."""
        producer = KafkaProducer(bootstrap_servers=self._bootstrap)
        for trade in trades:
            producer.send(self._topic, key=trade["symbol"].encode(), value=json.dumps(trade).encode())
        for gap in gaps:
            producer.send(f"{self._topic}-gaps", value=json.dumps(gap).encode())
        producer.close()

    def judged(self, *, heal_s: float = 30.0, program: str = WAITS) -> Judgement:
        """The judgement, with a program in Python as the producer."""
        producer = Program("producer", [sys.executable, "-c", program], {}, self._folder / "producer.log")
        kafka = Broker(folder=self._folder, port=int(self._bootstrap.rpartition(":")[2]), controller_port=1)
        other = Program("none", [], {}, self._folder / "none.log")
        ports = Ports(kafka.port, 1, 1)
        scene = Scene(self._folder, ports, kafka, other, other, producer, TRUTH, 40.0, 0, self.began_us, self._topic)
        producer.start()
        eventually(lambda: producer.log.stat().st_size > 0)  # from now on it hears what it is told
        try:
            return judge(scene, self.settled_us, heal_s=heal_s)
        finally:
            producer.kill()


@pytest.fixture
def stage(kafka: str, topic: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Of this minute, with trades of two seconds at least."""
    monkeypatch.setattr(scenes, "_PRESENT_US", 3_600_000_000)  # nobody goes on publishing here
    return Stage(kafka, topic, tmp_path)


def test_a_complete_topic_is_exact(stage: Stage) -> None:
    """All trades, some twice, and gaps that were filled: no failure; the producer ended in order."""
    gap = {"exchange": "sim-binance", "symbol": "BTCUSDT", "status": "open"} | stage.newest
    stage.fill(stage.trades + stage.trades[10:20], gap, gap | {"status": "filled"})
    judgement = stage.judged()
    assert judgement.failures == []
    assert (judgement.trades.trades, judgement.trades.duplicates) == (len(stage.trades), 10)
    assert (judgement.gaps.records, judgement.exit_code) == (2, 0)
    assert judgement.catch_up_s is not None


def missing(trades: Trades) -> Trades:
    return trades[:-5] + trades[-4:]


def reordered(trades: Trades) -> Trades:
    return [trades[1], trades[0], *trades[2:]] if trades[0]["symbol"] == trades[1]["symbol"] else trades[::-1]


def altered(trades: Trades) -> Trades:
    return [trades[0] | {"quantity": "1"}, *trades]


def foreign(trades: Trades) -> Trades:
    return [*trades, trades[0] | {"exchange": "binance"}]


@pytest.mark.parametrize(
    ("harm", "found", "heal_s"),
    [
        (missing, "1 trades are missing in 1 ranges: ", 0.5),
        (reordered, " follow later ones of their market", 30.0),
        (altered, "altered: 1", 30.0),
        (foreign, "no trade: 1", 30.0),
    ],
)
def test_a_topic_that_is_not_exact_is_found(
    stage: Stage, harm: Callable[[Trades], Trades], found: str, heal_s: float
) -> None:
    """A missing trade, another order, another content, another exchange: each is told."""
    stage.fill(harm(stage.trades))
    judgement = stage.judged(heal_s=heal_s)
    assert any(found in failure for failure in judgement.failures)
    late = [failure for failure in judgement.failures if "caught up" in failure]
    assert late == (["the topic has not caught up within 0.5 s"] if harm is missing else [])
    assert (judgement.catch_up_s is None) == (harm is missing)


def test_what_the_gaps_topic_says_counts(stage: Stage) -> None:
    """A complete topic with a loss on record is a failure."""
    gap = {"exchange": "sim-binance", "symbol": "BTCUSDT", "status": "lost"} | stage.newest
    stage.fill(stage.trades, gap)
    assert stage.judged().failures == [
        "reported lost: sim-binance BTCUSDT {first_trade_id}–{last_trade_id}".format(**stage.newest)
    ]


@pytest.mark.parametrize(
    ("program", "failures"),
    [
        (f"{WAITS}; raise SystemExit(1)", ["the producer ended with exit code 1 after SIGTERM"]),
        ("print(flush=True); raise SystemExit(3)", None),
        (DEAF, ["the producer did not end within 0.5 s of SIGTERM and was killed"]),
    ],
)
def test_a_producer_that_does_not_end_in_order_is_a_failure(
    stage: Stage, program: str, failures: list[str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another exit code than 0, an end by itself, and no end at all: each is told, beside an exact topic."""
    monkeypatch.setattr(scenes, "EXIT_S", 0.5)
    stage.fill(stage.trades if failures else stage.trades[:-1])
    judgement = stage.judged(program=program)
    if failures:
        assert judgement.failures == failures
    else:
        assert judgement.failures[0] == "the producer ended with exit code 3 before it was asked to"
