"""Redundancy: two producers at once, and the bars that are made of what both have published."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from bars.recovery.checkpoint import last_committed
from bars.recovery.identity import checkpoint_of
from chaos.programs import Program, python
from chaos.scene import TOPIC, Ports, Scene, now_us, scene
from market.bar import bars_of
from market.trade import Trade
from tests.bars.runs import Job, configured
from tests.support import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.spark]

COPIES = 300


def test_two_producers_change_no_bar(spark: SparkSession, tmp_path: Path) -> None:
    """Both publish every trade of both exchanges, and the bars are those of the exchanges' trades."""
    with scene(tmp_path, Ports.free(), seed=4, rate=300, seconds=30, settings={}) as running:
        job = Job(configured(running.bootstrap, TOPIC, tmp_path), spark)
        twin = twin_of(running)
        running.begin()
        twin.start()
        try:
            eventually(lambda: copies(job) > COPIES, within_s=60)
            since_ms = now_us() // 1_000_000 * 1000 + 1000  # both are live: where their records begin does not matter
            until_ms = since_ms + 4_000
            made = trades_of(running, since_ms, until_ms)
            closing = trades_of(running, until_ms, until_ms + 4_000)  # carry the watermark past the last second
            eventually(lambda: {*made, *closing} <= set(published(job)), within_s=60)
            assert running.producer.end(within_s=15)[0] == 0
        finally:
            twin.kill()
        assert job.process() == 0
        batch = last_committed(checkpoint_of(job.settings, "bars"))
        assert batch is not None
        assert batch.watermark_ms >= until_ms
        assert [bar for bar in job.bars() if since_ms <= bar.timestamp < until_ms] == bars_of(made)
        assert len(made) > COPIES


def twin_of(running: Scene) -> Program:
    """A second producer, with the settings of the first and a disk of its own."""
    environment = {
        "KAFKA_BOOTSTRAP": running.bootstrap,
        "KAFKA_TOPIC": TOPIC,
        "SOURCE": "simulator",
        "SIMULATOR_HOST": "127.0.0.1",
        "SIMULATOR_PORT": str(running.ports.simulator),
        "SPILL_DIR": str(running.folder / "twins-spill"),
        "METRICS_PORT": "0",
    }
    return python("twin", "producer", environment=environment, folder=running.folder)


def copies(job: Job) -> int:
    """How many trades of the topic bear an id that another one bears too."""
    trades = published(job)
    return len(trades) - len({(trade.exchange, trade.symbol, trade.trade_id) for trade in trades})


def published(job: Job) -> list[Trade]:
    """All trades of the topic."""
    return [element for element in job.elements().values() if isinstance(element, Trade)]


def trades_of(running: Scene, since_ms: int, until_ms: int) -> list[Trade]:
    """What the exchanges have traded in a time, from their own record."""
    first, end = (running.truth.ids_before(time_ms * 1000) for time_ms in (since_ms, until_ms))
    rows = [row for key in running.truth.tapes for row in running.truth.trades(key, first[key], end[key])]
    return [Trade(**row) for row in rows]
