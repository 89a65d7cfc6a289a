"""The load of the job's chaos is a function of its seed, and holds everything that it promises."""

from __future__ import annotations

from collections import Counter, defaultdict

from chaos.job import load
from chaos.job.load import HORIZON_MS, MARKETS, PARTITIONS, TICK_MS, Load, Record
from market.trade import Heartbeat, Rejected, Trade, read_record

START_MS = 1_723_161_600_000
SECONDS = 60
RATE = 2_000.0
TOLERANCE_MS = 2_000


def made(seed: int = 1, seconds: int = SECONDS) -> tuple[Load, list[Record]]:
    """A load, and all of its records."""
    one = Load(seed, rate=RATE, start_ms=START_MS)
    records = [record for _ in range(seconds * 1000 // TICK_MS) for record in one.tick()]
    return one, records + one.rest()


def test_the_same_seed_makes_the_same_records() -> None:
    """Two loads of one seed publish the same bytes at the same times; another seed does not."""
    assert made(1, 3)[1] == made(1, 3)[1]
    assert made(1, 3)[1] != made(2, 3)[1]


def test_every_trade_is_published_once_and_its_copies_beside() -> None:
    """Ids are contiguous for each market, the rate is as asked, and copies and conflicts are as counted."""
    one, records = made()
    ids: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    first: dict[tuple[str, str, int], Trade] = {}
    conflicts = 0
    for record in records:
        for element in read_record(record.value, record.due_ms, TOLERANCE_MS):
            if isinstance(element, Trade):
                ids[element.exchange, element.symbol].append(element.trade_id)
                known = first.setdefault((element.exchange, element.symbol, element.trade_id), element)
                conflicts += element != known
    assert len(ids) == len(MARKETS)
    assert all(set(numbers) == set(range(len(set(numbers)))) for numbers in ids.values())
    assert one.trades == len(first)
    assert abs(one.trades - RATE * SECONDS) < len(MARKETS)
    assert one.conflicts == conflicts > 0
    among = sum(1 for record in records if record.value and b"mtgox" in record.value)
    assert sum(map(len, ids.values())) == one.trades + one.copies + among
    assert one.copies > 0.5 * load.COPIES * one.trades


def test_records_are_as_awkward_as_real_ones() -> None:
    """There are arrays and single trades, ties in a millisecond, disorder, very late trades, and nothing too late."""
    one, records = made()
    batched = Counter(record.value[:1] for record in records if record.value)
    assert min(batched[b"{"], batched[b"["]) > 1000
    late, newest, disordered, ties = 0, [0] * PARTITIONS, 0, Counter[tuple[str, str, int]]()
    for record in records:
        for element in read_record(record.value, record.due_ms, TOLERANCE_MS):
            if isinstance(element, Trade):
                behind_ms = record.due_ms - element.timestamp
                assert 0 <= behind_ms < HORIZON_MS
                late += behind_ms >= load.VERY_LATE_MS[0]
                ties[element.exchange, element.symbol, element.timestamp] += 1
                disordered += element.timestamp < newest[record.partition]
                newest[record.partition] = max(newest[record.partition], element.timestamp)
    assert one.late > 0
    assert late >= one.late
    assert disordered > 0.1 * one.trades
    assert sum(1 for number in ties.values() if number > 1) > 0.01 * one.trades


def test_invalid_records_are_counted_and_heartbeats_come_each_second() -> None:
    """So many records hold something invalid as the load says, and every partition has a heartbeat each second."""
    one, records = made()
    invalid, beats = 0, Counter[tuple[int, int]]()
    for record in records:
        elements = read_record(record.value, record.due_ms, TOLERANCE_MS)
        invalid += any(isinstance(element, Rejected) for element in elements)
        for element in elements:
            if isinstance(element, Heartbeat):
                beats[record.partition, element.heartbeat] += 1
    assert invalid == one.invalid > 0
    expected = {(partition, START_MS + 1000 * s) for partition in range(PARTITIONS) for s in range(SECONDS)}
    assert beats == Counter(expected)


def test_every_kind_of_spoiled_record_is_invalid() -> None:
    """Whatever is drawn to spoil a trade, something in the record is rejected."""
    trade = Trade("binance", "BTCUSDT", "1.5", "0.1", START_MS, 7, True)
    for spoil in load._SPOILED:
        elements = read_record(spoil(trade), START_MS, TOLERANCE_MS)
        assert any(isinstance(element, Rejected) for element in elements), spoil(trade)
