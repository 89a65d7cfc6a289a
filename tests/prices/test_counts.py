"""What a member tells of itself: metrics, and lines in the log."""

from __future__ import annotations

import logging
import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from market.metrics import Collected, served
from prices import report
from prices.chunks import Chunk
from prices.counts import Counts
from prices.metrics import MEANINGS
from prices.report import Report
from prices.retry import LONGEST_S, SHORTEST_S, Retry
from prices.store import Outcome
from tests.support import free_ports


def filled() -> Counts:
    """An account in which every metric has a series."""
    counts = Counts(is_redis_up=True, lag={0: 3, 2: 4}, begun=Counter(empty=2))
    chunk = Chunk(0, 9, records=9, heartbeats=1, rejected=Counter(wrong=2), kafka_time=1_762_702_223_500)
    counts.written(chunk, Outcome(True, new=4, seen=2, late=1))
    return counts


def test_a_chunk_is_counted() -> None:
    """What is in it, and what became of its trades."""
    counts = filled()
    counts.written(Chunk(9, 10, records=1), Outcome(True, new=1, seen=0, late=0))
    assert (counts.records, counts.heartbeats, counts.rejected) == (10, 1, {"wrong": 2})
    assert (counts.new, counts.seen, counts.late, counts.kafka_time) == (5, 2, 1, 1_762_702_223_500)
    assert counts.line() == (
        "5 trades written, 2 had come before, 1 too late, 2 rejected; partitions 0, 2, 7 records behind"
    )


def test_every_metric_is_served_with_its_meaning() -> None:
    """Each that is promised, and no other; read anew at each request."""
    counts = filled()
    (port,) = free_ports(1)
    with served(port, Collected(counts.samples, MEANINGS), setting="PRICES_METRICS_PORT") as taken:
        assert taken == port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    assert {sample.name for sample in samples} == MEANINGS.keys()
    values = {(sample.name, *sample.labels.values()): sample.value for sample in samples}
    assert values["prices_redis_up",] == 1
    assert values["prices_trades_total", "seen"] == 2
    assert values["prices_rejected_total", "wrong"] == 2
    assert values["prices_lag_records", "2"] == 4
    assert values["prices_newest_record_timestamp_seconds",] == 1_762_702_223.5


def test_pauses_grow_up_to_a_bound() -> None:
    """Soon at first; what failed last is what is told."""
    retry = Retry()
    assert (retry.is_due(), retry.has_failed) == (True, False)
    retry.failed("gone")
    assert (retry.is_due(), retry.has_failed, retry.error) == (False, True, "gone")
    retry.failed()
    assert retry.error == "gone"
    pauses = []
    for _ in range(10):
        retry.failed()
        pauses.append(retry._pause_s)
    assert pauses[0] == 8 * SHORTEST_S / 2
    assert pauses[-1] == LONGEST_S


def test_the_log_is_bounded(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for all that was no trade, one for what stands still, and none where nothing has changed."""
    caplog.set_level(logging.INFO)
    counts, retry = Counts(lag={1: 0}), Retry()
    told = Report(counts, "crypto-trades")
    for offset in range(1_000):
        told.written(1, Chunk(offset, offset + 1, rejected=Counter(wrong=1), rejected_at=offset))
    retry.failed("Redis at redis://127.0.0.1:1/0: gone")
    told.tell(retry)
    assert [record.getMessage() for record in caplog.records] == [
        "not valid trades (the last at partition 1, offset 999): wrong: 1000",
        "prices stand still since 0 s: Redis at redis://127.0.0.1:1/0: gone",
        "0 trades written, 0 had come before, 0 too late, 0 rejected; partitions 1, 0 records behind",
    ]
    caplog.clear()
    told.tell(Retry())
    assert caplog.records == []
    monkeypatch.setattr(report, "REPORT_S", 0.0)
    told.tell(Retry())
    told.tell(Retry())
    assert caplog.messages == ["no record of crypto-trades for 0 s: are Kafka and the producer running?"]
