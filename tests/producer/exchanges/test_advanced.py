"""Coinbase Advanced's frames, against the exchange's documentation and frames of it quoted in public."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.trade import Reason, Trade
from producer.exchanges import advanced, coinbase
from producer.exchanges.outcome import Outcome, read
from tests.recordings import path

LATEST_MS = 1_800_000_000_000
TIME = "2025-12-31T06:00:12.44524Z"
TIME_MS = 1_767_160_812_445


def row(trade_id: object = "929248657", **changes: Any) -> dict[str, Any]:
    """One trade of a frame."""
    fields = {"product_id": "BTC-USD", "price": "88355.59", "size": "0.00136573", "time": TIME, "side": "SELL"}
    return {"trade_id": trade_id, **fields, **changes}


def frame(*trades: object, kind: str = "update", **changes: Any) -> dict[str, Any]:
    """A frame of the market_trades channel."""
    envelope = {"channel": "market_trades", "client_id": "", "timestamp": "2025-12-31T06:00:12.516946132Z"}
    return {**envelope, "sequence_num": 1851, "events": [{"type": kind, "trades": list(trades)}], **changes}


def outcome(message: object) -> Outcome:
    """What the mapper makes of a message."""
    return read(json.dumps(message), advanced.outcome_of, exchange="coinbase", latest_ms=LATEST_MS)


def trade(trade_id: int, symbol: str = "BTCUSD") -> Trade:
    """The trade that `row` describes."""
    return Trade("coinbase", symbol, "88355.59", "0.00136573", TIME_MS, trade_id, False)


def test_a_frame_holds_its_trades_in_the_order_of_their_ids() -> None:
    """The exchange sends the newest first; all are kept, the oldest first, and ids are compared as numbers."""
    found = outcome(frame(row("1000"), row("999"), row("98")))
    assert found == Outcome(trades=(trade(98), trade(999), trade(1000)), sequence=1851)


@given(st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=40), st.integers(1, 4))
def test_every_trade_of_every_event_comes_out_once_and_in_order(numbers: list[int], events: int) -> None:
    """However many trades a frame has, in however many events, of whatever product, none is dropped or added."""
    products = ["BTC-USD", "ETH-USD"]
    rows = [row(str(number), product_id=products[number % 2]) for number in numbers]
    parts = [{"type": "update", "trades": rows[start::events]} for start in range(events)]
    found = outcome(frame(events=parts))
    expected = [(number, products[number % 2].replace("-", "")) for number in numbers]
    assert sorted((t.trade_id, t.symbol) for t in found.trades) == sorted(expected)
    assert [t.trade_id for t in found.trades] == sorted(numbers)


@pytest.mark.parametrize(("side", "expected"), [("BUY", True), ("SELL", False)])
def test_the_side_is_the_makers(side: str, expected: bool) -> None:
    """`BUY` says that the buyer made the order, as on Coinbase Exchange."""
    assert outcome(frame(row(side=side))).trades[0].is_buyer_maker is expected


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"side": "buy"}, Reason.SIDE),
        ({"side": None}, Reason.SIDE),
        ({"product_id": None}, Reason.SYMBOL),
        ({"price": 88355.5}, None),  # a number is its own text
        ({"price": "1e-9"}, Reason.PRICE_SCALE),
        ({"size": "0"}, Reason.QUANTITY_SIGN),
        ({"trade_id": "0x1"}, Reason.TRADE_ID),
        ({"time": "soon"}, Reason.TIMESTAMP),
        ({"time": "2035-12-31T06:00:12Z"}, Reason.FUTURE),
    ],
)
def test_a_row_that_is_no_valid_trade_is_rejected_and_the_others_stand(changes: dict[str, Any], reason: str) -> None:
    """One bad trade of a batch is counted with its reason; it takes none of the others with it."""
    found = outcome(frame(row("3"), row(**{"trade_id": "2", **changes}), row("1")))
    assert (len(found.trades), found.rejections) == ((3, ()) if reason is None else (2, (reason,)))
    assert found.elements == 3


def test_a_batch_without_a_good_trade_is_rejected_with_every_reason() -> None:
    """What cannot be read counts once per element: a row, or the event that should have rows."""
    broken = frame(None, row(side=""), events=[{"trades": [None, row(side="")]}, {"type": "update"}, 7])
    malformed = Reason.MALFORMED
    assert outcome(broken) == Outcome(rejected=malformed, rejections=(Reason.SIDE, malformed, malformed), sequence=1851)
    assert outcome(frame(events=None)) == Outcome(rejected=malformed, sequence=1851)


def test_a_batch_without_trades_is_passed_over() -> None:
    """An empty frame of the trades' channel holds nothing to reject."""
    assert outcome(frame()) == Outcome(passed_over="market_trades", sequence=1851)


def test_a_snapshot_tells_trades_that_went_before() -> None:
    """Marked as the last_match of Coinbase Exchange is; where live trades are among them, it is not."""
    snapshot = frame(row("2"), row("1"), kind="snapshot")
    assert outcome(snapshot) == Outcome(trades=(trade(1), trade(2)), sequence=1851, is_retold=True)
    mixed = [{"type": "snapshot", "trades": [row("1")]}, {"type": "update", "trades": [row("2")]}]
    assert not outcome(frame(events=mixed)).is_retold
    assert not outcome(frame(row(), kind="a new one")).is_retold


def test_a_heartbeat_tells_the_exchanges_clock_by_its_envelope() -> None:
    """The event prints the time as Go does, with a monotonic reading; the envelope prints ISO, to the ns, floored."""
    beat = {
        "channel": "heartbeats",
        "client_id": "",
        "timestamp": "2023-06-23T20:31:26.122969572Z",
        "sequence_num": 0,
        "events": [
            {"current_time": "2023-06-23 20:31:56.121961769 +0000 UTC m=+91717.525857105", "heartbeat_counter": "3049"}
        ],
    }
    assert outcome(beat) == Outcome(passed_over="heartbeats", clock_ms=1_687_552_286_122, sequence=0)
    assert outcome(beat | {"timestamp": None}).clock_ms is None


@pytest.mark.parametrize("printed", [None, "x", -1, 1.5, True])
def test_a_frame_without_a_number_has_no_sequence(printed: object) -> None:
    """What is no number of a frame cannot tell that one was lost."""
    assert outcome(frame(row(), sequence_num=printed)).sequence is None


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"channel": "subscriptions", "events": [{"subscriptions": {"market_trades": ["BTC-USD"]}}]}, "subscriptions"),
        ({"channel": "l2_data", "events": []}, "l2_data"),
        ({"channel": 5}, "unknown"),
        ({"channel": ["market_trades"]}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_frames_that_are_no_trades_are_passed_over_by_their_channel(message: object, kind: str) -> None:
    """Channels that we did not ask for are counted, not refused."""
    assert outcome(message) == Outcome(passed_over=kind)


def test_the_exchanges_errors_are_told() -> None:
    """An error has no channel; a product that it names is the one to leave out."""
    found = outcome({"type": "error", "message": "XXX-USD is not a valid product"})
    complaint = '{"message": "XXX-USD is not a valid product", "reason": null}'
    assert found == Outcome(passed_over="error", complaint=complaint, refused_product="XXX-USD")


def test_each_channel_is_subscribed_by_a_message_of_its_own() -> None:
    """The exchange takes one channel per message: trades first, for they are due within 5 s, then heartbeats."""
    assert [json.loads(message) for message in advanced.subscriptions(["BTC-USD", "ETH-USD"])] == [
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "market_trades"},
        {"type": "subscribe", "channel": "heartbeats"},
    ]


def test_products_that_are_streamed_as_another_are_not_taken_for_markets() -> None:
    """`…-USDC` is the other name of `…-USD`; USDT-USDC and EURC-USDC, as the exchange documents, are on their own."""
    names = ["BTC-USD", "BTC-USDC", "USDT-USD", "USDT-USDC", "EURC-USDC", "ETH-EUR"]
    listing = [{"id": name, "status": "online"} for name in names]
    assert list(advanced.products_of(listing)) == ["BTC-USD", "USDT-USD", "USDT-USDC", "EURC-USDC", "ETH-EUR"]
    assert [advanced.alias_of(name) for name in names] == ["BTC-USDC", None, None, None, None, None]


def test_frames_quoted_in_public_are_read() -> None:
    """Three real frames of one trade each: ids, prices, times and numbers are those printed in them."""
    lines = path("wire_examples/coinbase_advanced_market_trades.jsonl").read_text().splitlines()
    found = [read(line, advanced.outcome_of, exchange="coinbase", latest_ms=LATEST_MS) for line in lines]
    assert [t for each in found for t in each.trades] == [
        Trade("coinbase", "BTCUSD", "88355.59", "0.00136573", 1767160812445, 929248657, False),
        Trade("coinbase", "BTCUSD", "88355.59", "0.00022409", 1767160812605, 929248658, False),
        Trade("coinbase", "BTCUSD", "88355.58", "0.00006677", 1767160813456, 929248659, True),
    ]
    assert [each.sequence for each in found] == [1851, 1852, 1853]
    assert sum(Decimal(t.quantity) for each in found for t in each.trades) == Decimal("0.00165659")


def test_both_feeds_of_the_exchange_tell_the_same_trade() -> None:
    """One trade, told by Coinbase Exchange and by Coinbase Advanced, is the same in every field."""
    match = {
        **{"type": "match", "trade_id": 929248657, "side": "sell", "size": "0.00136573", "price": "88355.59"},
        **{"product_id": "BTC-USD", "sequence": 1, "time": TIME},
    }
    exchange = read(json.dumps(match), coinbase.outcome_of, exchange="coinbase", latest_ms=LATEST_MS)
    assert exchange.trades == outcome(frame(row())).trades
