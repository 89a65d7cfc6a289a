"""The account of everything that came in: it balances after every frame, and says itself in one line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import BINANCE, COINBASE
from producer.ledger import Ledger
from tests.fuzz import LATEST_MS, SAMPLES, elements_in

_FRAMES = [(name, json.dumps(sample)) for name, (_, _, samples) in SAMPLES.items() for sample in samples]


@given(st.lists(st.sampled_from(_FRAMES) | st.tuples(st.sampled_from(sorted(SAMPLES)), st.binary(max_size=30))))
@settings(max_examples=100, deadline=None)
def test_the_account_always_balances(frames: list[tuple[str, str | bytes]]) -> None:
    """received = new trades + rejected + passed over + duplicates, after every frame, and none is counted twice."""
    ledger = Ledger()
    handed_on = elements = 0
    for name, frame in [*frames, *frames]:
        exchange, protocol, _ = SAMPLES[name]
        outcome = protocol.read(frame, exchange=exchange, latest_ms=LATEST_MS)
        handed_on += len(ledger.enter(exchange, outcome, frame))
        elements += elements_in(frame)
        others = ledger.rejected.total() + ledger.passed_over.total() + ledger.duplicates.total()
        assert (ledger.received.total(), handed_on + others) == (elements, elements)
        assert ledger.difference(waiting=0) == 0


def test_each_trade_passes_once_and_the_report_is_one_line() -> None:
    """A trade that comes twice is a duplicate; the report has every count and the rate since the last one."""
    now_s = [100.0]
    ledger = Ledger(lambda: now_s[0])
    match, kline = json.dumps(SAMPLES["coinbase"][2][0]), '{"type":"ticker"}'
    for frame, trades in ((match, 1), (match, 0), ("{", 0), (kline, 0)):
        outcome = COINBASE.read(frame, exchange="coinbase", latest_ms=LATEST_MS)
        assert len(ledger.enter("coinbase", outcome, frame)) == trades
    now_s[0] = 100.5
    assert ledger.report(1, 0) == (
        "received 4, published 1, un-acked 0, rejected 1, passed over 1, duplicates 1; trades: coinbase 2/s"
    )
    assert ledger.details() == (
        "rejected (not JSON, or not one object or an array of objects: 1); passed over (ticker: 1)"
    )


def test_what_waits_for_a_missing_trade_is_accounted_for() -> None:
    """A trade that is counted but not yet handed on is the difference, unless it is said to wait."""
    ledger = Ledger()
    frame = json.dumps(SAMPLES["binance"][2][0])
    ledger.count("binance", BINANCE.read(frame, exchange="binance", latest_ms=LATEST_MS), frame)
    assert (ledger.difference(waiting=0), ledger.difference(waiting=1)) == (1, 0)


def test_names_from_outside_are_counted_one_by_one_up_to_a_bound() -> None:
    """Each frame may bring another kind: beyond fifty they are counted together, and none is forgotten."""
    ledger = Ledger()
    for number in range(200):
        ledger.count("binance", Outcome(passed_over=f"kind{number % 100}"), b"")
    assert len(ledger.passed_over) == 51
    assert (ledger.passed_over["kind0"], ledger.passed_over["other"]) == (2, 100)
    assert ledger.difference(waiting=0) == 0


def test_a_flood_of_bad_frames_is_told_once_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the first of each reason, with its frame, cut short; the counters have all."""
    now_s = [100.0]
    ledger = Ledger(lambda: now_s[0])
    for number in range(25):
        now_s[0] = 100.0 + number
        ledger.count("binance", Outcome(rejected="bad", rejections=("worse",)), "x" * 400)
    shown = repr("x" * 400)[:300]
    assert caplog.messages == [f"binance: rejected: {reason}: {shown}" for _ in range(3) for reason in ("worse", "bad")]
    assert (ledger.rejected, ledger.received.total()) == ({"bad": 25, "worse": 25}, 50)


def test_what_the_exchange_complains_of_is_told_as_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """It is about what we asked for, so somebody has to look."""
    Ledger().count("coinbase", Outcome(passed_over="error", complaint='{"reason": "no"}'), b"")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", 'coinbase answers with an error: {"reason": "no"}')
    ]
