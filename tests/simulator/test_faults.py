from __future__ import annotations

import json
from contextlib import suppress
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.chaos import chaos, kinds_of
from simulator.faults import KINDS, REST_KINDS, SOCKET_KINDS, FaultError, read_fault, read_faults
from simulator.schedule import Schedule

ALL_KINDS = (
    "cut, silence, server_shutdown, short_life, slow_reader, refuse, accept_then_drop, drop_ids, duplicate_ids, swap, "
    "late, malformed, truncated, wrong_unit, number, unknown_event, oversized, silent_symbol, clock_offset, "
    "zero_last_trade_id, rest_429, rest_418, rest_451, rest_5xx, rest_slow, prune"
)
REQUIRED: dict[str, dict[str, Any]] = {"clock_offset": {"ms": 1}, "prune": {"keep": 1}}


def test_every_kind_can_be_had_by_its_name_alone_and_what_it_needs() -> None:
    """All kinds are read; those of sockets and those of REST are all kinds."""
    assert ", ".join(KINDS) == ALL_KINDS
    assert {*SOCKET_KINDS, *REST_KINDS} == set(KINDS)
    for kind in KINDS:
        fault = read_fault({"kind": kind, **REQUIRED.get(kind, {})})
        assert (fault.kind, fault.at_s, fault.for_s, fault.seed, fault.symbol) == (kind, 0, None, 0, None)


def test_faults_are_a_list_or_lines() -> None:
    """A JSON list and the same as NDJSON, blank lines between, give the same faults; nothing gives none."""
    specs = [{"kind": "cut", "frame": 5}, {"kind": "late", "delay_s": 2.5, "for_s": 3}]
    lines = "\n\n".join(json.dumps(spec) for spec in specs) + "\n"
    assert read_faults(json.dumps(specs)) == read_faults(lines) == [read_fault(spec) for spec in specs]
    assert read_faults("[]") == read_faults("") == []


def test_a_symbol_may_be_written_either_way() -> None:
    """BTC-USD and BTCUSD are the same, and belong to their venue."""
    assert read_fault({"kind": "late", "symbol": "BTC-USD"}).symbol == "BTCUSD"
    assert read_fault({"kind": "late", "symbol": "BTCUSD", "venue": "coinbase"}).symbol == "BTCUSD"


def test_a_fault_of_frames_strikes_once_unless_it_lasts_or_is_random() -> None:
    """`count` is 1 by default, without end with `for_s` or `probability`; drop_ids always drops a number of trades."""
    assert read_fault({"kind": "swap"}).count == 1
    assert read_fault({"kind": "swap", "for_s": 1}).count is None
    assert read_fault({"kind": "swap", "probability": 0.5}).count is None
    assert read_fault({"kind": "swap", "for_s": 1, "count": 4}).count == 4
    assert read_fault({"kind": "drop_ids", "for_s": 1}).count == 1
    assert read_fault({"kind": "drop_ids", "probability": 0.1}).count is None
    assert read_fault({"kind": "rest_slow"}).count is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{",
            "expected a JSON list of faults, or one fault a line; line 1 is no JSON: "
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (
            "[1,",
            "expected a JSON list of faults, or one fault a line; no JSON: Expecting value: line 1 column 4 (char 3)",
        ),
        ('[{"kind":"cut"},5]', "fault 2: expected an object, saw 5"),
        ("{}", f"fault 1: kind is null; allowed: {ALL_KINDS}"),
        ('{"kind":["cut"]}', f'fault 1: kind is ["cut"]; allowed: {ALL_KINDS}'),
        ('{"kind":"cutt"}', f'fault 1: kind is "cutt"; allowed: {ALL_KINDS}'),
        (
            '{"kind":"cut","delay":1}',
            'fault 1 (cut): unknown field "delay"; allowed: kind, venue, at_s, for_s, seed, frame',
        ),
        (
            '{"kind":"late","frame":1}',
            'fault 1 (late): unknown field "frame"; '
            "allowed: kind, venue, symbol, at_s, for_s, seed, count, probability, delay_s",
        ),
        ('{"kind":"cut","frame":0}', "fault 1 (cut): frame is 0; allowed: a whole number from 1 to 1000000000"),
        ('{"kind":"cut","frame":1.5}', "fault 1 (cut): frame is 1.5; allowed: a whole number from 1 to 1000000000"),
        ('{"kind":"cut","frame":true}', "fault 1 (cut): frame is true; allowed: a whole number from 1 to 1000000000"),
        ('{"kind":"cut","at_s":-1}', "fault 1 (cut): at_s is -1; allowed: a number from 0 to 1000000000"),
        ('{"kind":"cut","at_s":NaN}', "fault 1 (cut): at_s is NaN; allowed: a number from 0 to 1000000000"),
        ('{"kind":"cut","for_s":0}', "fault 1 (cut): for_s is 0; allowed: a number from 0.001 to 1000000000"),
        ('{"kind":"swap","probability":"1"}', 'fault 1 (swap): probability is "1"; allowed: a number from 0 to 1'),
        (
            '{"kind":"clock_offset"}',
            "fault 1 (clock_offset): ms is missing; allowed: a whole number from -1000000000 to 1000000000",
        ),
        (
            '{"kind":"rest_5xx","status":404}',
            "fault 1 (rest_5xx): status is 404; allowed: a whole number from 500 to 599",
        ),
        ('{"kind":"cut","venue":"kraken"}', 'fault 1 (cut): venue is "kraken"; allowed: binance, coinbase'),
        ('{"kind":"cut","venue":["binance"]}', 'fault 1 (cut): venue is ["binance"]; allowed: binance, coinbase'),
        ('{"kind":"wrong_unit","venue":"coinbase"}', 'fault 1 (wrong_unit): venue is "coinbase"; allowed: binance'),
        (
            '{"kind":"swap","symbol":"BTCUSDT","venue":"coinbase"}',
            'fault 1 (swap): symbol is "BTCUSDT"; allowed: BTC-USD, ETH-USD, SOL-USD, XRP-USD, DOGE-USD, ADA-USD, '
            "USDT-USD, LTC-USD, LINK-USD, BAND-GBP",
        ),
        (
            '{"kind":"drop_ids","count":2,"probability":0.1}',
            "fault 1 (drop_ids): has both count and probability; allowed: one of them",
        ),
    ],
)
def test_a_wrong_fault_is_refused_with_what_was_seen_and_what_is_allowed(text: str, message: str) -> None:
    """The message says which fault it is, which field, what stands there and what may."""
    with pytest.raises(FaultError) as refused:
        read_faults(text)
    assert str(refused.value) == message


def test_a_long_value_is_shown_in_part() -> None:
    """A message stays readable whatever was posted."""
    with pytest.raises(FaultError) as refused:
        read_fault({"kind": "cut", "frame": "x" * 1000})
    shown = '"' + "x" * 76 + "..."
    assert str(refused.value) == f"fault (cut): frame is {shown}; allowed: a whole number from 1 to 1000000000"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=8), values, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(["venue", "symbol", "at_s", "for_s", "seed", "probability", "count", "frame", "delay_s", "x"])


@settings(deadline=None)
@given(spec=st.dictionaries(fields, json_values) | json_values, kind=st.sampled_from([*KINDS]) | json_values)
def test_whatever_is_posted_is_a_fault_or_refused(spec: Any, kind: Any) -> None:
    """No JSON value at all raises anything but a FaultError."""
    if isinstance(spec, dict):
        spec = {**spec, "kind": kind}
    with suppress(FaultError):
        assert read_fault(spec).kind == kind


def beginning(seed: int, kinds: tuple[str, ...] | None = None) -> list[Any]:
    """The first 300 faults of a seed, as they are written."""
    return [fault.spec for fault in islice(chaos(seed, kinds), 300)]


@settings(deadline=None)
@given(seed=st.integers(-(2**70), 2**70))
def test_chaos_is_the_same_for_the_same_seed(seed: int) -> None:
    """A seed gives one schedule, in the order of time, which can be posted as it is; the next seed another."""
    faults = beginning(seed)
    assert faults == beginning(seed)
    assert faults != beginning(seed + 1)
    times = [fault["at_s"] for fault in faults]
    assert times == sorted(times)
    assert [fault.spec for fault in read_faults(json.dumps(faults))] == faults


def test_chaos_makes_every_kind_of_sockets_or_those_asked_for() -> None:
    """All kinds come up, none of REST; or only those named."""
    assert {fault["kind"] for fault in beginning(1)} == set(SOCKET_KINDS)
    assert {fault["kind"] for fault in beginning(1, kinds_of("cut, late"))} == {"cut", "late"}


def test_chaos_never_lasts_for_ever() -> None:
    """Each of its faults ends by itself: by time, by count, or when it has struck."""
    for fault in islice(chaos(3), 2000):
        assert fault.for_s is not None or fault.count is not None or fault.once, fault.spec


def test_a_kind_that_chaos_does_not_know_is_named() -> None:
    """The message has the name and all the allowed ones."""
    with pytest.raises(FaultError) as refused:
        kinds_of("cut,prune")
    assert str(refused.value) == f'"prune" is no kind of chaos; allowed: {", ".join(SOCKET_KINDS)}'


def shown(schedule: Schedule, now_s: float) -> list[tuple[str, str]]:
    return [(fault["kind"], fault["state"]) for fault in schedule.shown(now_s)]


def test_faults_come_and_go_by_the_time() -> None:
    """A fault is active from at_s for for_s, a lasting one for ever; what has ended is shown no more."""
    schedule = Schedule()
    schedule.add(read_faults('[{"kind":"swap","at_s":2,"for_s":3},{"kind":"rest_451","at_s":1}]'), 100.0)
    assert shown(schedule, 100.0) == [("rest_451", "coming"), ("swap", "coming")]
    assert shown(schedule, 101.5) == [("rest_451", "active"), ("swap", "coming")]
    assert shown(schedule, 102.0) == [("rest_451", "active"), ("swap", "active")]
    assert shown(schedule, 104.99) == [("rest_451", "active"), ("swap", "active")]
    assert shown(schedule, 105.0) == [("rest_451", "active")]
    assert shown(schedule, 1e12) == [("rest_451", "active")]
    schedule.clear()
    assert shown(schedule, 1e12) == []


def test_a_script_is_followed_without_end_and_ends_when_it_is_cleared() -> None:
    """Each fault of an endless script begins at its time, however long nobody looked; the next one is shown coming."""
    expected = list(islice(chaos(7, ("silent_symbol",)), 500))
    schedule = Schedule()
    schedule.follow(chaos(7, ("silent_symbol",)), 50.0)
    for fault, following in pairwise(expected):
        states = schedule.shown(50.0 + fault.at_s)
        active = [state["seed"] for state in states if state["state"] == "active"]
        assert fault.seed in active
        assert states[-1]["state"] == "coming"
        assert states[-1]["seed"] == following.seed
    schedule.clear()
    assert schedule.shown(10_000.0) == []
