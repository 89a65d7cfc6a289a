"""Every frame becomes exactly one thing, or one thing per element, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producer.exchanges.outcome import Outcome, gathered
from tests.fuzz import SAMPLES, checked, elements_in, run

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)


@st.composite
def mutated(draw: st.DrawFn, samples: list[dict[str, Any]]) -> bytes:
    """A frame with some fields changed or gone, wrapped or not, and perhaps cut or with bytes changed."""
    frame = draw(st.sampled_from(samples))
    changed = frame | draw(st.dictionaries(st.sampled_from(sorted(frame)), JSON, max_size=3))
    for field in draw(st.sets(st.sampled_from(sorted(frame)), max_size=2)):
        del changed[field]
    message: Any = draw(st.sampled_from([changed, {"stream": "x@trade", "data": changed}, [changed]]))
    text = bytearray(json.dumps(message).encode())
    for place in draw(st.lists(st.integers(0, len(text) - 1), max_size=3)):
        text[place] = draw(st.integers(0, 255))
    return bytes(text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text)


@pytest.mark.parametrize("name", sorted(SAMPLES))
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_a_mutated_frame_is_one_thing_and_a_trade_from_it_is_valid(name: str, data: st.DataObject) -> None:
    """No frame breaks a mapper; each is trades, rejected or passed over; and what it calls a trade is one."""
    exchange, protocol, samples = SAMPLES[name]
    checked(protocol, exchange, data.draw(mutated(samples)))


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_of_ten_thousand_damaged_frames_each_element_is_accounted_for_once(name: str) -> None:
    """received = published + rejected + passed over + duplicates, over frames that are damaged in every way."""
    ledger = run(name, 10_000, seed=1)
    counts = (ledger.trades, ledger.duplicates, ledger.rejected, ledger.passed_over)
    assert all(counter.total() > 10 for counter in counts)  # the damage leaves some of each


def test_the_samples_themselves_are_understood() -> None:
    """Undamaged, the frames that these tests damage are trades, replies, errors and farewells, none rejected."""
    outcomes = [
        checked(protocol, exchange, json.dumps(sample))
        for exchange, protocol, samples in SAMPLES.values()
        for sample in samples
    ]
    assert [(len(outcome.trades), outcome.passed_over) for outcome in outcomes] == [
        *[(1, None), (1, None), (1, None), (0, "serverShutdown"), (0, "error"), (0, "reply")],
        *[(1, None), (1, None), (0, "heartbeat"), (0, "error")],
        *[(3, None), (6, None), (0, "heartbeats"), (0, "error")],
    ]


@pytest.mark.parametrize(
    ("outcome", "elements"),
    [
        (Outcome(passed_over="x"), 1),
        (Outcome(rejected="x"), 1),
        (Outcome(rejected="x", rejections=("y", "x")), 3),
        (gathered([Outcome(rejected="x"), Outcome(rejected="y")], kind="k"), 2),
        (gathered([], kind="k"), 1),
    ],
)
def test_elements_are_what_is_counted(outcome: Outcome, elements: int) -> None:
    """A frame is one element, a batch one per trade in it, rejected or not; an empty batch is one, passed over."""
    assert outcome.elements == elements


def test_the_oracle_counts_rows() -> None:
    """What the damaged frames are held to is counted apart from the mappers."""
    assert elements_in('{"channel":"market_trades","events":[{"trades":[1,2]},{"trades":5},7,{"trades":[]}]}') == 4
    assert [elements_in(frame) for frame in ("{", "[]", "{}", '{"channel":"market_trades"}')] == [1, 1, 1, 1]
