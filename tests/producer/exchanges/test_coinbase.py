"""Coinbase Exchange's frames, against the exchange's documentation."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.trade import Reason, Trade
from producer.exchanges import coinbase
from producer.exchanges.outcome import Outcome, read

LATEST_MS = 1_800_000_000_000


def match_frame(**changes: Any) -> dict[str, Any]:
    """The match of Coinbase's documentation of the matches channel."""
    frame = {
        "type": "match",
        "trade_id": 10,
        "sequence": 50,
        "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
        "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
        "time": "2014-11-07T08:19:27.028459Z",
        "product_id": "BTC-USD",
        "size": "5.23512",
        "price": "400.23",
        "side": "sell",
    }
    return frame | changes


def outcome(message: object) -> Outcome:
    """What the mapper makes of a message."""
    return read(json.dumps(message), coinbase.outcome_of, exchange="coinbase", latest_ms=LATEST_MS)


TRADE = Trade("coinbase", "BTCUSD", "400.23", "5.23512", 1415348367028, 10, False)


def test_a_match_is_a_trade() -> None:
    """A match becomes the trade it documents; its symbol has no separator, its time is floored."""
    assert outcome(match_frame()) == Outcome(trades=(TRADE,))


def test_the_last_match_is_a_trade_too() -> None:
    """What comes first after subscribing is a trade, marked as one that went before."""
    assert outcome(match_frame(type="last_match")) == Outcome(trades=(TRADE,), is_retold=True)


@pytest.mark.parametrize(("side", "expected"), [("buy", True), ("sell", False)])
def test_the_side_is_the_makers(side: str, expected: bool) -> None:
    """`buy` says that the buyer made the order: the documentation calls it the maker's side."""
    assert outcome(match_frame(side=side)).trades[0].is_buyer_maker is expected


@given(
    st.datetimes(min_value=datetime(2011, 1, 1), max_value=datetime(2026, 12, 31)),  # noqa: DTZ001
    st.integers(0, 9),
    st.sampled_from(["Z", "+00:00"]),
)
def test_times_with_any_number_of_decimals_are_read_exactly(moment: datetime, digits: int, zone: str) -> None:
    """An ISO time with 0 to 9 decimals is the same moment that datetime reads, floored to ms."""
    decimals = f"{moment.microsecond:06d}000"[:digits]
    text = f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{decimals}" if decimals else "") + zone
    whole = int(moment.replace(microsecond=0, tzinfo=UTC).timestamp()) * 1000
    assert coinbase.time_ms(text) == whole + int(decimals.ljust(3, "0")[:3])


@pytest.mark.parametrize(
    "time",
    [
        "",
        "2021-04-17",
        "2021-04-17T16:43:37",
        "2021-04-17 16:43:37Z",
        "2021-02-30T16:43:37Z",
        "2021-04-17T24:00:00Z",
        "2021-04-17T16:43:60Z",
        "2021-04-17T16:43:37.Z",
        "2021-04-17T16:43:37+02:00",
        "٢٠٢١-04-17T16:43:37Z",
        1618677817,
        None,
        {},
    ],
)
def test_other_times_are_rejected(time: object) -> None:
    """What is not an ISO time in UTC is no trade time."""
    assert outcome(match_frame(time=time)) == Outcome(rejected=Reason.TIMESTAMP)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"side": "BUY"}, Reason.SIDE),
        ({"side": ["buy"]}, Reason.SIDE),
        ({"product_id": 7}, Reason.SYMBOL),
        ({"product_id": "btc-usd"}, Reason.SYMBOL),
        ({"price": "400,23"}, Reason.PRICE),
        ({"size": "0"}, Reason.QUANTITY_SIGN),
        ({"size": "0.123456789"}, Reason.QUANTITY_SCALE),
        ({"trade_id": None}, Reason.TRADE_ID),
    ],
)
def test_a_match_that_is_no_valid_trade_is_rejected_with_the_reason(changes: dict[str, Any], reason: str) -> None:
    """Each field is held to the one rule of valid trades."""
    assert outcome(match_frame(**changes)) == Outcome(rejected=reason)


BEAT = {
    **{"type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": "BTC-USD"},
    **{"time": "2014-11-07T08:19:28.464459Z"},
}


def test_a_heartbeat_tells_the_exchanges_clock_and_its_newest_trade() -> None:
    """The documented heartbeat is passed over; its time is the exchange's, and it says how far ids have come."""
    assert outcome(BEAT) == Outcome(passed_over="heartbeat", clock_ms=1415348368464, newest=("BTCUSD", 20))
    assert outcome(BEAT | {"time": "soon"}) == Outcome(passed_over="heartbeat", newest=("BTCUSD", 20))


@pytest.mark.parametrize(
    "changes",
    [
        {"last_trade_id": 0},  # for months of 2019 and 2020, with trades going on
        {"last_trade_id": None},
        {"last_trade_id": -5},
        {"last_trade_id": 2**53},
        {"last_trade_id": 20.5},
        {"last_trade_id": True},
        {"product_id": None},
        {"product_id": "btc-usd"},
    ],
)
def test_a_heartbeat_that_names_no_trade_bounds_nothing(changes: dict[str, Any]) -> None:
    """A bound taken from nonsense would be a hole that nobody can fill."""
    assert outcome(BEAT | changes) == Outcome(passed_over="heartbeat", clock_ms=1415348368464)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "subscriptions", "channels": []}, "subscriptions"),
        ({"type": "ticker", "trade_id": 1, "side": "buy"}, "ticker"),
        ({"type": "new one"}, "unknown"),
        ({"type": 5}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_frames_that_are_no_trades_are_passed_over_by_their_kind(message: object, kind: str) -> None:
    """New kinds may appear at any time: they are counted, not refused."""
    assert outcome(message) == Outcome(passed_over=kind)


@pytest.mark.parametrize(
    ("reason", "refused", "some"),
    [
        ("XXX-USD is not a valid product", "XXX-USD", False),
        ("00-USD has been delisted", "00-USD", False),
        ("Invalid product ID provided", None, True),
        (" is not a valid product", None, True),
        ("No channels provided", None, False),
        ("You need to specify at least one product ID for channel heartbeat", None, False),
        ("re-subscribe", None, False),
        (None, None, False),
        (["XXX-USD"], None, False),
    ],
)
def test_the_exchanges_errors_are_told_with_the_product_they_name(
    reason: object, refused: str | None, some: bool
) -> None:
    """A refused subscription is said, for the exchange ignores all of it; the product it names can then be left out.

    Where it names none, it is said at least that some product is refused.
    """
    found = outcome({"type": "error", "message": "Failed to subscribe", "reason": reason})
    said = reason if reason is None or isinstance(reason, str) else "unknown"
    complaint = json.dumps({"message": "Failed to subscribe", "reason": said})
    assert found == Outcome(passed_over="error", complaint=complaint, refused_product=refused, refused_some=some)


def test_the_oldest_error_text_says_that_some_product_is_refused() -> None:
    """It came as the message itself, without a reason."""
    found = outcome({"type": "error", "message": "Invalid product ID provided"})
    assert (found.passed_over, found.refused_product, found.refused_some) == ("error", None, True)


def test_one_message_subscribes_to_matches_and_heartbeats() -> None:
    """The subscription is the documented one."""
    (message,) = coinbase.subscriptions(["BTC-USD", "ETH-USD"])
    assert json.loads(message) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD", "ETH-USD"],
        "channels": ["matches", "heartbeat"],
    }


def test_only_products_that_are_online_are_listed() -> None:
    """Of /products, those whose status is online."""
    assert list(
        coinbase.products_of([{"id": "BTC-USD", "status": "online"}, {"id": "OLD-USD", "status": "delisted"}])
    ) == ["BTC-USD"]
