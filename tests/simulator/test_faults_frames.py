from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.faults import read_faults
from simulator.schedule import Schedule
from simulator.wire import Wire
from tests.simulator.wires import Client, batch, combined, match, raw


def test_without_faults_frames_pass_as_they_are() -> None:
    """Nothing is read and nothing changed, also under faults of the other exchange."""
    frames = [raw(1), "anything at all", match(3)]
    assert Client().gets(*frames) == frames
    assert Client({"kind": "malformed", "venue": "coinbase", "for_s": 9}).gets(*frames) == frames


@pytest.mark.parametrize("form", [raw, combined])
def test_each_way_of_spoiling_changes_what_it_says_and_nothing_else(form: Any) -> None:
    """One frame is struck, the next one is not: price as number, time in the other unit, sent twice."""
    first, second = form(1), form(2)
    price, time = '"p":"42150.50000000"', '"T":1704067200001'
    assert Client({"kind": "number"}).gets(first, second) == [first.replace(price, '"p":42150.50000000'), second]
    assert Client({"kind": "wrong_unit"}).gets(first, second) == [first.replace(time, time + "000"), second]
    assert Client({"kind": "duplicate_ids"}).gets(first, second) == [first, first, second]
    microseconds = first.replace(time, time + "007")
    assert Client({"kind": "wrong_unit"}).gets(microseconds) == [first]


@pytest.mark.parametrize(("frame", "venue"), [(match(1), "coinbase"), (batch(1, 2), "coinbase"), (raw(1), "binance")])
def test_prices_become_numbers_on_every_venue(frame: str, venue: str) -> None:
    """All prices of a frame, digits as they were; sizes stay strings."""
    (got,) = Client({"kind": "number"}, venue=venue).gets(frame)
    assert got == frame.replace('"42148.1"', "42148.1").replace('"42150.50000000"', "42150.50000000")
    assert got != frame


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 2**53), min_size=1, max_size=20), seed=st.integers(0, 2**63 - 1))
def test_malformed_and_truncated_are_no_json(numbers: list[int], seed: int) -> None:
    """Whatever the seed, no parser takes them; a truncated frame is the beginning of the true one."""
    frames = [raw(number) for number in numbers]
    for kind in ("malformed", "truncated"):
        got = Client({"kind": kind, "for_s": 9, "seed": seed}).gets(*frames)
        assert len(got) == len(frames)
        for text in got:
            with pytest.raises(ValueError, match=r"line \d+ column \d+"):
                json.loads(text)
        if kind == "truncated":
            assert all(text and frame.startswith(text) for frame, text in zip(frames, got, strict=True))


@pytest.mark.parametrize(
    ("frame", "venue", "unknown"),
    [
        (raw(1), "binance", {"e": "somethingNew", "E": 1704067200001, "s": "BTCUSDT"}),
        (
            combined(1),
            "binance",
            {"stream": "btcusdt@somethingNew", "data": {"e": "somethingNew", "E": 1704067200001, "s": "BTCUSDT"}},
        ),
        (
            match(1),
            "coinbase",
            {"type": "something_new", "product_id": "BTC-USD", "time": "2024-01-01T00:00:00.1Z"},
        ),
        (
            batch(1),
            "coinbase",
            {
                "channel": "something_new",
                "client_id": "",
                "timestamp": "2024-01-01T00:00:00.123456789Z",
                "events": [],
            },
        ),
    ],
)
def test_additional_frames_are_in_the_form_of_the_connection(frame: str, venue: str, unknown: Any) -> None:
    """An unknown event precedes the frame; an oversized one too, of exactly as many bytes as asked for."""
    before, same = Client({"kind": "unknown_event"}, venue=venue).gets(frame)
    assert (json.loads(before), same) == (unknown, frame)
    before, same = Client({"kind": "oversized", "bytes": 5000}, venue=venue).gets(frame)
    assert (len(before), same) == (5000, frame)
    inner = json.loads(before)
    inner = inner.get("data", inner)
    assert set(inner) == set(unknown.get("data", unknown)) | {"pad"}
    assert len(Client({"kind": "oversized"}, venue=venue).gets(frame)[0]) == 17 * 2**20


def test_a_swapped_frame_comes_after_the_next_one_of_its_symbol() -> None:
    """Only its own symbol's next frame passes it; alone it waits no longer than 250 ms."""
    btc, eth = [raw(number) for number in (1, 2, 3)], [raw(number, "ETHUSDT") for number in (1, 2)]
    client = Client({"kind": "swap", "symbol": "BTCUSDT"})
    assert client.gets(btc[0], eth[0], eth[1]) == eth
    assert client.gets(btc[1], btc[2]) == [btc[1], btc[0], btc[2]]
    client = Client({"kind": "swap"})
    assert client.gets(btc[0]) == client.waits(0.24) == []
    assert client.waits(0.01) == [btc[0]]
    assert client.waits(1) == []


def test_late_frames_come_in_their_time_and_nothing_waits_for_them() -> None:
    """Others pass; what is late keeps its order; it comes also when the fault has gone meanwhile."""
    client = Client({"kind": "late", "delay_s": 2, "count": 2})
    assert client.gets(raw(1), raw(2), raw(3)) == [raw(3)]
    assert client.waits(1.9) == []
    client.schedule.clear()
    assert client.gets(raw(4)) == [raw(4)]
    assert client.waits(0.2) == [raw(1), raw(2)]


def test_dropped_ids_are_the_same_on_every_connection() -> None:
    """The next ids of the symbol, in a row, wherever and in whatever form they are sent; then none."""
    client = Client({"kind": "drop_ids", "symbol": "BTC-USD", "count": 3}, venue="coinbase")
    other = Wire("coinbase", 100.0, combined=False)
    client.gets(match(6, kind="last_match"), batch(4, 5, 6, kind="snapshot"))
    assert client.gets(match(7), match(7, "ETH-USD"), match(8), match(9), match(10)) == [
        match(7, "ETH-USD"),
        match(10),
    ]
    faults = client.schedule.active(100.5)
    assert other.outgoing([batch(6, 7, 8), batch(8, 9), batch(9, 10, 11)], faults, 100.5) == (
        [batch(6), batch(10, 11)],
        None,
    )
    assert client.schedule.struck["drop_ids"] == 8
    assert client.schedule.active(101.1) == ()


def test_dropped_at_random_an_id_is_dropped_everywhere() -> None:
    """With `probability` each id has its chance by the seed: another connection loses the same ones."""
    fault = {"kind": "drop_ids", "probability": 0.3, "seed": 5}
    frames = [raw(number) for number in range(1000)]
    first, second = Client(fault), Client(fault)
    got = first.gets(*frames)
    assert 600 < len(got) < 800
    assert [text for frame in frames for text in second.gets(frame)] == got
    assert Client({**fault, "seed": 6}).gets(*frames) != got
    assert first.schedule.struck["drop_ids"] == 1000 - len(got)


def test_a_silent_symbol_says_nothing_at_all() -> None:
    """No trades, klines or heartbeats of it, nor its trades in others' batches; others go on."""
    kline = '{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":0}}'
    client = Client({"kind": "silent_symbol", "symbol": "BTCUSDT"})
    assert client.gets(raw(1), kline, raw(1, "ETHUSDT"), '{"result":null,"id":1}') == [
        raw(1, "ETHUSDT"),
        '{"result":null,"id":1}',
    ]
    heartbeat = (
        '{"type":"heartbeat","last_trade_id":5,"product_id":"BTC-USD","sequence":6,"time":"2024-01-01T00:00:00Z"}'
    )
    client = Client({"kind": "silent_symbol", "symbol": "BTC-USD", "for_s": 5}, venue="coinbase")
    assert client.gets(heartbeat, batch(1, 2), batch(1, product="ETH-USD")) == [batch(1, product="ETH-USD")]
    client.waits(5)
    assert client.gets(heartbeat) == [heartbeat]


@pytest.mark.parametrize("kind", ["drop_ids", "silent_symbol"])
def test_a_random_symbol_is_one_of_those_on_the_wire(kind: str) -> None:
    """The seed and the frames pick it: the same frames the same one, and some seed another one."""
    symbols = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
    frames = [raw(number, symbol) for number in range(200) for symbol in symbols]

    def lost(seed: int) -> set[str]:
        got = Client({"kind": kind, "seed": seed, "for_s": 9}).gets(*frames)
        return {json.loads(text)["s"] for text in set(frames) - set(got)}

    picked = [lost(seed) for seed in range(12)]
    assert picked == [lost(seed) for seed in range(12)]
    assert all(len(one) == 1 for one in picked)
    assert set.union(*picked) == set(symbols)


def test_a_clock_that_is_off_shifts_event_times_and_no_trade_time() -> None:
    """Binance's E in its unit, Coinbase's heartbeat, Advanced's time stamps; matches have trade times alone."""
    binance = Client({"kind": "clock_offset", "ms": -1500})
    assert binance.gets(combined(1000)) == [combined(1000).replace('"E":1704067201000', '"E":1704067199500')]
    microseconds = '{"e":"trade","E":1704067200000123,"s":"X","t":1,"p":"1","q":"1","T":1704067200000100,"m":true}'
    assert binance.gets(microseconds) == [microseconds.replace("1704067200000123", "1704067198500123")]
    coinbase = Client({"kind": "clock_offset", "ms": 1500}, venue="coinbase")
    assert coinbase.gets(match(1)) == [match(1)]
    assert coinbase.gets(batch(1)) == [batch(1).replace("00:00:00.123456789Z", "00:00:01.623456789Z")]
    heartbeat = '{"type":"heartbeat","last_trade_id":5,"product_id":"BTC-USD","time":"2023-12-31T23:59:59.600000Z"}'
    assert coinbase.gets(heartbeat) == [heartbeat.replace("2023-12-31T23:59:59.600000Z", "2024-01-01T00:00:01.100000Z")]
    beat = '{"channel":"heartbeats","events":[{"current_time":"2024-01-01 00:00:00.123456789 +0000 UTC m=+9.5"}]}'
    assert coinbase.gets(beat) == [beat.replace("00:00:00.123456789", "00:00:01.623456789")]


def test_a_heartbeat_may_know_no_last_trade() -> None:
    """Its last_trade_id is 0; trades keep theirs."""
    heartbeat = '{"type":"heartbeat","last_trade_id":987,"product_id":"BTC-USD","time":"2024-01-01T00:00:00Z"}'
    client = Client({"kind": "zero_last_trade_id"}, venue="coinbase")
    assert client.gets(heartbeat, match(987)) == [heartbeat.replace("987", "0"), match(987)]


def test_a_connection_is_cut_when_it_has_sent_so_many_frames() -> None:
    """Frames of any kind count, from the fault's begin on, late ones when they come; the next connection lives."""
    client = Client({"kind": "cut", "frame": 3, "at_s": 1}, {"kind": "late", "delay_s": 2, "at_s": 1})
    assert client.gets(raw(1), raw(2)) == [raw(1), raw(2)]
    client.waits(1)
    assert client.gets(raw(3), '{"result":null,"id":1}', raw(4)) == ['{"result":null,"id":1}', raw(4)]
    assert not client.cut
    assert client.waits(2) == [raw(3)]
    assert client.cut
    assert Wire("binance", 103.0, combined=False).outgoing([raw(5)] * 9, client.schedule.active(103.0), 103.0) == (
        [raw(5)] * 9,
        None,
    )


def test_each_connection_is_cut_while_the_fault_lasts() -> None:
    """With `for_s` every connection in that time sends so many frames and no more."""
    schedule = Schedule()
    schedule.add(read_faults('{"kind":"cut","frame":2,"for_s":10}'), 0.0)
    for _ in range(3):
        got, fate = Wire("binance", 1.0, combined=False).outgoing([raw(1), raw(2), raw(3)], schedule.active(1.0), 1.0)
        assert got == [raw(1), raw(2)]
        assert fate is not None
    assert schedule.struck["cut"] == 3
