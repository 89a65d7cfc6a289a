from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.faults import KINDS, SOCKET_KINDS
from tests.simulator.wires import Client, batch, combined, match, raw

KINDS_THAT_KEEP_IDS = ("duplicate_ids", "swap", "late", "wrong_unit", "number", "unknown_event", "oversized")
KINDS_WITHOUT_TIME = ("duplicate_ids", "malformed", "truncated", "wrong_unit", "number", "unknown_event")


faults_of_frames = st.lists(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(KINDS_THAT_KEEP_IDS), "seed": st.integers(0, 2**63 - 1)},
        optional={"probability": st.floats(0, 1), "count": st.integers(1, 9), "for_s": st.floats(0.5, 60)},
    ),
    max_size=4,
)


@settings(deadline=None)
@given(faults=faults_of_frames, ticks=st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8))
def test_what_is_not_withheld_arrives_in_the_end(faults: list[dict[str, Any]], ticks: list[list[int]]) -> None:
    """Delays, swaps, doubles and additions lose no trade and make up none, whatever their mixture."""
    client = Client(*({**fault, "bytes": 300} if fault["kind"] == "oversized" else fault for fault in faults))
    sent: Counter[tuple[str, int]] = Counter()
    got: list[str] = []
    for tick in ticks:
        frames = []
        for symbol in (f"S{number}USDT" for number in tick):
            number = sum(count for (name, _), count in sent.items() if name == symbol)
            sent[symbol, number] += 1
            frames.append(raw(number, symbol))
        got += client.gets(*frames) + client.waits(0.1)
    got += client.waits(60)
    arrived = {(row["s"], row["t"]) for row in map(json.loads, got) if row["e"] == "trade"}
    assert arrived == set(sent)
    doubled = len([text for text in got if '"e":"trade"' in text]) - len(arrived)
    assert doubled == client.schedule.struck["duplicate_ids"]


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS_WITHOUT_TIME),
    probability=st.floats(0, 1),
    seed=st.integers(0, 2**63 - 1),
    splits=st.sets(st.integers(0, 40)),
)
def test_the_same_frames_are_struck_the_same_way(kind: str, probability: float, seed: int, splits: set[int]) -> None:
    """Whatever the ticks that they are sent in, and whatever was sent before on the connection."""
    frames = [raw(number) for number in range(40)]
    fault = {"kind": kind, "probability": probability, "seed": seed}
    one, other = Client(fault), Client(fault)
    other.gets(*(raw(number, "ETHUSDT") for number in range(3)))
    at_once = one.gets(*frames)
    bounds = [0, *sorted(splits), 40]
    in_parts = [other.gets(*frames[begin:end]) for begin, end in pairwise(bounds)]
    assert [text for part in in_parts for text in part] == at_once


OTHERS = (
    '{"result":null,"id":1}',
    '{"error":{"code":3,"msg":"Invalid JSON: expected value at line 1 column 2"}}',
    '{"e":"kline","E":1704067201001,"s":"BTCUSDT","k":{"t":1704067200000,"T":1704067200999,"s":"BTCUSDT"}}',
    '{"stream":"btcusdt@kline_1s","data":{"e":"kline","E":1704067201001,"s":"BTCUSDT","k":{"t":1704067200000}}}',
    '{"type":"subscriptions","channels":[{"name":"matches","product_ids":["BTC-USD"]}]}',
    '{"type":"error","message":"Failed to subscribe","reason":"X is not a valid product"}',
    '{"type":"heartbeat","last_trade_id":9,"product_id":"BTC-USD","sequence":74,"time":"2024-01-01T00:00:01.002096Z"}',
    '{"channel":"subscriptions","client_id":"","timestamp":"2024-01-01T00:00:01Z","sequence_num":0,'
    '"events":[{"subscriptions":{"market_trades":["BTC-USD"]}}]}',
    '{"channel":"heartbeats","client_id":"","timestamp":"2024-01-01T00:00:01Z","sequence_num":7,'
    '"events":[{"current_time":"2024-01-01 00:00:00.123456789 +0000 UTC m=+9.5","heartbeat_counter":5}]}',
)
"""Frames without trades, as the exchanges print them."""


@settings(deadline=None)
@given(
    kinds=st.lists(st.sampled_from(SOCKET_KINDS), max_size=4),
    symbol=st.sampled_from([None, "BTCUSDT", "BTC-USD"]),
    venue=st.sampled_from(["binance", "coinbase"]),
    numbers=st.lists(st.integers(0, 14), max_size=30),
)
def test_no_fault_fails_on_any_frame(kinds: list[str], symbol: str | None, venue: str, numbers: list[int]) -> None:
    """Replies, errors, klines and heartbeats pass every fault; only a silent symbol keeps any of them back."""
    trades = (raw(1), combined(2), match(3), match(2, kind="last_match"), batch(3, 4), batch(1, 2, kind="snapshot"))
    faults: list[dict[str, Any]] = []
    for kind in kinds:
        takes = {"symbol": symbol} if symbol and "symbol" in KINDS[kind].takes else {}
        if not symbol or "symbol" not in takes or set(KINDS[kind].venues) == {"binance", "coinbase"}:
            own = {"clock_offset": {"ms": 5}, "oversized": {"bytes": 300}}.get(kind, {})
            faults.append({"kind": kind, **takes, **own})
    client = Client(*faults, venue=venue)
    frames = [(*trades, *OTHERS)[number] for number in numbers]
    got = client.gets(*frames) + client.waits(5)
    if "silent_symbol" not in kinds:
        control = [text for text in frames if "subscriptions" in text or "error" in text or "result" in text]
        assert [text for text in got if text in control] == control or "clock_offset" in kinds
