"""Records → what is written to Redis at once."""

from __future__ import annotations

from collections import Counter

import pytest

from market.trade import Reason
from prices import chunks as module
from prices.chunks import Chunk, Newest, chunks
from tests.prices.made import BTC, NOW_MS, Record, record, trade

TOLERANCE_MS = 2_000


def chunked(*records: Record, start: int = 0) -> list[Chunk]:
    """The chunks of some records."""
    return list(chunks(records, start, tolerance_ms=TOLERANCE_MS))


def test_trades_are_gathered_by_symbol_in_their_order() -> None:
    """One chunk for some records, with a text for each symbol, and how far it goes."""
    (found,) = chunked(
        record(5, trade(1)), record(6, trade(7, symbol="ETHUSDT")), record(7, trade(2), trade(3)), start=5
    )
    assert (found.start, found.end, found.records, found.trades) == (5, 8, 3, 4)
    assert [line.split()[1] for line in found.lines[BTC]] == ["1", "2", "3"]
    assert list(found.lines) == [BTC, ("binance", "ETHUSDT")]


def test_the_newest_of_each_symbol_is_by_time_and_number() -> None:
    """Not the last that came, nor the highest number alone."""
    same = trade(3).timestamp
    (found,) = chunked(record(0, trade(3)), record(1, trade(2)), record(2, trade(4, at=same)), record(3, trade(1)))
    assert found.newest == {BTC: Newest(same, 4, found.lines[BTC][2])}


def test_what_is_no_trade_is_counted_and_passed_by() -> None:
    """Heartbeats are none; everything else has a reason, and the place of the last one is kept."""
    (found,) = chunked(
        record(0, {"exchange": "binance", "heartbeat": NOW_MS}),
        Record(1, b"nonsense"),
        Record(2, None),
        record(3, trade(1), {"exchange": "nowhere"}),
        record(4, trade(2)),
    )
    assert (found.trades, found.heartbeats, found.records, found.end) == (2, 1, 5, 5)
    assert found.beats == {"binance": NOW_MS}
    assert found.rejected == Counter([Reason.MALFORMED, Reason.NO_VALUE, Reason.EXCHANGE])
    assert found.rejected_at == 3


def test_a_trade_of_the_future_is_no_trade() -> None:
    """By the rule of all consumers: not later than its record's Kafka time and the tolerance."""
    (found,) = chunked(
        record(0, trade(1, at=NOW_MS + TOLERANCE_MS), at=NOW_MS),
        record(1, trade(2, at=NOW_MS + TOLERANCE_MS + 1), at=NOW_MS),
    )
    assert [line.split()[1] for line in found.lines[BTC]] == ["1"]
    assert found.rejected == Counter([Reason.FUTURE])


def test_no_chunk_has_more_than_redis_is_asked_to_do_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut, within a long record too; only with the whole of a record does the position move past it."""
    monkeypatch.setattr(module, "MOST_TRADES", 2)
    found = chunked(record(0, trade(1)), record(1, *(trade(number) for number in range(2, 7))), record(2, trade(7)))
    assert [[int(line.split()[1]) for line in one.lines[BTC]] for one in found] == [[1, 2], [3, 4], [5, 6], [7]]
    assert [(one.start, one.end) for one in found] == [(0, 1), (1, 1), (1, 2), (2, 3)]
    assert sum(one.records for one in found) == 3


def test_no_chunk_has_more_symbols_than_redis_takes_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record may name a thousand of them."""
    monkeypatch.setattr(module, "MOST_SYMBOLS", 2)
    (first, second) = chunked(record(0, *(trade(number, symbol=f"SYM{number}") for number in range(3))))
    assert [symbol for _, symbol in first.lines] == ["SYM0", "SYM1"]
    assert [symbol for _, symbol in second.lines] == ["SYM2"]


def test_records_that_are_gone_leave_no_gap_in_the_positions() -> None:
    """What retention has deleted counts as read: nobody could read it."""
    (found,) = chunked(record(10, trade(1)), start=3)
    assert (found.start, found.end) == (3, 11)


def test_nothing_makes_no_chunk() -> None:
    """There is nothing to write."""
    assert chunked() == []
