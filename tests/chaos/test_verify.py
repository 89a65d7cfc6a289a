"""The verifier finds every way in which the topic can differ from the truth, and nothing where it does not."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chaos.truth import Key, Truth, rate_for
from chaos.verify import Range, Verifier
from simulator.markets import MARKETS
from simulator.tape import SECOND_US

TRUTH = Truth(seed=3, rate=200.0)
START_US = 1_700_000_040 * SECOND_US
SINCE, SETTLED = TRUTH.ids_before(START_US), TRUTH.ids_before(START_US + 2 * SECOND_US)
BTC, COIN = Key("sim-binance", "BTCUSDT"), Key("sim-coinbase", "BTCUSD")

Trades = list[dict[str, Any]]

few = settings(max_examples=25, deadline=None)
"""For what takes milliseconds each time."""


def trades() -> Trades:
    """All trades of two seconds, in the order of their times."""
    all_trades = [trade for key in SINCE for trade in TRUTH.trades(key, SINCE[key], SETTLED[key])]
    return sorted(all_trades, key=lambda trade: trade["timestamp"])


def of(key: Key, all_trades: Trades) -> list[int]:
    """Where the trades of one market are."""
    return [number for number, trade in enumerate(all_trades) if (trade["exchange"], trade["symbol"]) == key]


def verified(values: list[Any]) -> Verifier:
    """The verifier after one record for each value, each symbol in a partition of its own."""
    verifier = Verifier(TRUTH, since=SINCE, settled=SETTLED)
    for offset, value in enumerate(values):
        element = value[0] if isinstance(value, list) and value else value
        partition = len(element.get("symbol", "")) % 4 if isinstance(element, dict) else 0
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        verifier.take(partition, offset, 1_000 + offset, content)
    return verifier


def test_the_truth_is_what_the_exchange_prints() -> None:
    """Numbers as each exchange prints them: Binance with 8 decimals, Coinbase without zeros at the end."""
    first = TRUTH.trades(BTC, SINCE[BTC], SINCE[BTC] + 1)[0]
    assert list(first) == ["exchange", "symbol", "price", "quantity", "timestamp", "trade_id", "is_buyer_maker"]
    assert len(first["price"].partition(".")[2]) == 8
    assert all(not trade["price"].endswith("0") or "." not in trade["price"] for trade in TRUTH.trades(COIN, 0, 300))
    tape = TRUTH.tapes[BTC]
    (row,) = tape.numbered(SINCE[BTC], SINCE[BTC] + 1).rows()
    assert (first["trade_id"], first["timestamp"]) == (row[0], row[1] // 1000)
    assert len(TRUTH.tapes) == len(MARKETS) == 36


@few
@given(st.integers(0, 10**7), st.sampled_from(sorted(SINCE)))
def test_a_trade_is_the_same_alone_and_in_its_block(number: int, key: Key) -> None:
    """Asking for one trade and for many gives the same."""
    assert TRUTH.trade(key, number) == TRUTH.trades(key, number, number + 1)[0]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([0.5, 3.0]))
def test_the_rate_is_high_enough_for_its_time_and_no_higher_than_needed(seed: int, seconds: float) -> None:
    """At the rate found there are as many trades as asked for, and at the one before it there are not."""

    def made(rate: float) -> int:
        truth = Truth(seed=seed, rate=rate)
        ends = (truth.ids_before(START_US + round(seconds * SECOND_US)), truth.ids_before(START_US))
        return sum(ends[0].values()) - sum(ends[1].values())

    rate = rate_for(100, seed=seed, start_us=START_US, seconds=seconds)
    assert made(rate) >= 100 * seconds
    assert rate == 100 or made(rate - 10) < 100 * seconds


def test_a_complete_topic_has_no_failure() -> None:
    """Every trade once, singly or in arrays, with heartbeats between: counted, settled, and nothing found."""
    whole = trades()
    values: list[Any] = [whole[0], *whole[1:50], {"exchange": "sim-coinbase", "heartbeat": START_US // 1000}]
    rest = whole[50:]
    for key in SINCE:
        mine = [rest[number] for number in of(key, rest)]
        values += [mine[start : start + 7] for start in range(0, len(mine), 7)]
    verifier = verified(values)
    assert verifier.failures() == []
    assert verifier.is_settled
    assert verifier.settled_ms == 1_000 + len(values) - 1
    counts = (verifier.trades, verifier.records, verifier.heartbeats, verifier.duplicates, verifier.disordered)
    assert counts == (len(whole), len(values), 1, 0, 0)


def test_more_than_is_demanded_is_allowed_where_it_is_whole() -> None:
    """Trades before the beginning and after the settled end are welcome, if no id among them is missing."""
    early, late = TRUTH.trades(BTC, SINCE[BTC] - 3, SINCE[BTC]), TRUTH.trades(BTC, SETTLED[BTC], SETTLED[BTC] + 3)
    assert verified(early + trades() + late).failures() == []
    name = "sim-binance BTCUSDT"
    assert verified(early[:1] + trades()).failures() == [
        f"2 trades are missing in 1 ranges: {name} {SINCE[BTC] - 2}–{SINCE[BTC] - 1}"
    ]
    later = SETTLED | {BTC: SETTLED[BTC] + 3}
    assert verified(trades() + late).reaches(later)
    assert not verified(trades() + late[1:]).reaches(later)
    assert verified(trades() + late[1:]).is_settled
    assert verified(trades() + late[1:]).failures() == [
        f"1 trades are missing in 1 ranges: {name} {SETTLED[BTC]}–{SETTLED[BTC]}"
    ]


@few
@given(st.integers(0, 10**6))
def test_each_missing_trade_is_found(draw: int) -> None:
    """Without any one trade, the first and the last of a market among them, that id is named and nothing is settled."""
    whole = trades()
    lost = whole.pop(draw % len(whole))
    verifier = verified(whole)
    name = f"{lost['exchange']} {lost['symbol']} {lost['trade_id']}–{lost['trade_id']}"
    assert verifier.failures() == [f"1 trades are missing in 1 ranges: {name}"]
    assert verifier.missing() == [Range(Key(lost["exchange"], lost["symbol"]), lost["trade_id"], lost["trade_id"])]
    assert not verifier.is_settled


def test_a_market_that_is_not_there_at_all_is_found() -> None:
    """Nothing of a market that has traded: its whole range is missing."""
    whole = [trade for trade in trades() if trade["symbol"] != "BTCUSD"]
    assert verified(whole).missing() == [Range(COIN, SINCE[COIN], SETTLED[COIN] - 1)]


@few
@given(st.integers(0, 10**6), st.integers(1, 200))
def test_exact_duplicates_are_counted_and_harmless(draw: int, later: int) -> None:
    """A trade that comes again, at once or later, is one duplicate and no disorder."""
    whole = trades()
    place = draw % len(whole)
    whole.insert(min(place + later, len(whole)), whole[place])
    verifier = verified(whole)
    assert (verifier.failures(), verifier.duplicates, verifier.disordered) == ([], 1, 0)


def test_missing_trades_that_were_told_of_are_no_failure() -> None:
    """Those inside a range that is known to be open; not those beside it."""
    whole = trades()
    places = of(BTC, whole)
    lost = [whole.pop(place)["trade_id"] for place in (places[9], places[8], places[3])]
    verifier = verified(whole)
    told = [Range(BTC, lost[1] - 2, lost[0])]
    assert verifier.missing(told) == [Range(BTC, lost[2], lost[2])]
    assert verifier.failures(told) == [f"1 trades are missing in 1 ranges: sim-binance BTCUSDT {lost[2]}–{lost[2]}"]


def test_what_went_before_the_run_may_follow_later() -> None:
    """A start that knows nothing of a market asks for a minute more than need be: those trades come behind."""
    before = TRUTH.trades(BTC, SINCE[BTC] - 2, SINCE[BTC])
    verifier = verified([*trades(), *before])
    assert (verifier.failures(), verifier.disordered) == ([], 0)


@few
@given(st.integers(0, 10**6))
def test_two_trades_in_the_wrong_order_are_found(draw: int) -> None:
    """Neighbours of a market that have changed places: one of them follows a later one."""
    whole = trades()
    places = of(BTC, whole)
    first = draw % (len(places) - 1)
    one, other = places[first], places[first + 1]
    whole[one], whole[other] = whole[other], whole[one]
    verifier = verified(whole)
    assert verifier.disordered == 1
    late, early = whole[one]["trade_id"], whole[other]["trade_id"]
    assert verifier.failures() == [
        f"partition 3, offset {other}: BTCUSDT {early} follows {late}",
        "1 trades follow later ones of their market",
    ]


def test_the_order_of_markets_among_each_other_is_free() -> None:
    """Only the ids of one market ascend: partitions are read in any order."""
    whole = trades()
    random.Random(1).shuffle(whole)
    whole.sort(key=lambda trade: trade["trade_id"])
    assert verified(whole).failures() == []


ALTERATIONS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "price": lambda trade: trade | {"price": trade["price"][:-1] + ("2" if trade["price"][-1] == "1" else "1")},
    "price as another text": lambda trade: trade | {"price": trade["price"] + "0"},
    "price as a number": lambda trade: trade | {"price": float(trade["price"])},
    "quantity": lambda trade: trade | {"quantity": "1" + trade["quantity"]},
    "time": lambda trade: trade | {"timestamp": trade["timestamp"] + 1},
    "time as a fraction": lambda trade: trade | {"timestamp": float(trade["timestamp"])},
    "side": lambda trade: trade | {"is_buyer_maker": not trade["is_buyer_maker"]},
    "side as a number": lambda trade: trade | {"is_buyer_maker": int(trade["is_buyer_maker"])},
    "one field more": lambda trade: trade | {"more": 1},
    "one field less": lambda trade: {name: trade[name] for name in trade if name != "quantity"},
}


@pytest.mark.parametrize("alter", ALTERATIONS.values(), ids=ALTERATIONS.keys())
def test_an_altered_trade_is_found(alter: Callable[[dict[str, Any]], Any]) -> None:
    """A difference in any field or type is a failure, also beside the right trade; both are told whole."""
    whole = trades()
    place = of(BTC, whole)[5]
    right, wrong = whole[place], alter(whole[place])
    whole.insert(place, wrong)
    verifier = verified(whole)
    told = f"partition 3, offset {place}: {json.dumps(wrong)} should be {json.dumps(right)}"
    assert verifier.failures() == ["altered: 1", told]
    whole.pop(place + 1)
    assert [failure.partition(":")[0] for failure in verified(whole).failures()] == [
        "altered",
        f"partition 3, offset {place}",
        "1 trades are missing in 1 ranges",
    ]


STRANGERS: dict[str, tuple[Any, str]] = {
    "another exchange": ({"exchange": "binance", "symbol": "BTCUSDT", "trade_id": 1}, "no trade"),
    "another symbol": ({"exchange": "sim-binance", "symbol": "BTC-USDT", "trade_id": 1}, "no trade"),
    "no id": ({"exchange": "sim-binance", "symbol": "BTCUSDT"}, "no trade"),
    "an id as text": ({"exchange": "sim-binance", "symbol": "BTCUSDT", "trade_id": "1"}, "no trade"),
    "an id below zero": ({"exchange": "sim-binance", "symbol": "BTCUSDT", "trade_id": -1}, "no trade"),
    "no object": (17, "no trade"),
    "a heartbeat of nobody": ({"exchange": "nobody", "heartbeat": 1}, "no heartbeat"),
    "a heartbeat without a time": ({"exchange": "sim-binance", "heartbeat": "1"}, "no heartbeat"),
    "an empty array": ([], "unreadable"),
    "no JSON": (b"{", "unreadable"),
    "nothing": (b"", "unreadable"),
}


@pytest.mark.parametrize(("value", "kind"), STRANGERS.values(), ids=STRANGERS.keys())
def test_what_is_neither_trade_nor_heartbeat_is_found(value: Any, kind: str) -> None:
    """Anything else in the topic is a failure, and told."""
    count, told = verified([*trades(), value]).failures()
    assert count == f"{kind}: 1"
    assert f", offset {len(trades())}: " in told


def test_a_market_in_two_partitions_is_found() -> None:
    """There is no order between partitions, so a market must be in one."""
    verifier = Verifier(TRUTH, since=SINCE, settled=SETTLED)
    for offset, trade in enumerate(trades()):
        verifier.take(offset % 2, offset, 0, json.dumps(trade).encode())
    assert "two partitions" in verifier.problems


def test_trades_behind_a_later_heartbeat_are_counted() -> None:
    """A heartbeat says that nothing earlier follows in its partition; what follows all the same is counted."""
    whole = trades()
    ahead = {"exchange": "sim-binance", "heartbeat": whole[-1]["timestamp"] + 1}
    binance_below = sum(trade["exchange"] == "sim-binance" and len(trade["symbol"]) % 4 == 0 for trade in whole)
    verifier = verified([ahead, *whole])  # without a symbol, it is in partition 0
    assert (verifier.behind_heartbeats, verifier.failures()) == (binance_below, [])
    assert verified([*whole, ahead]).behind_heartbeats == 0
