"""Which trades are of before, and which were sent: by their places, each id with its time."""

from __future__ import annotations

from market.trade import Trade
from serve.binance.places import Place, Places
from serve.binance.trade_feed import Sent
from tests.serve.binance.made import BTC, trade


def new(sent: Sent, *trades: Trade) -> list[int]:
    """The ids of those that were not sent before; then they were."""
    found = []
    for one in trades:
        if not sent.has(one):
            sent.add(one)
            found.append(one.trade_id)
    return found


def test_each_trade_is_sent_once_in_whatever_order() -> None:
    """And none that is neither by its id nor by its time newer than what was there."""
    sent = Sent(Place(3, 1_000))
    assert new(sent, trade(2, 900), trade(3, 1_000), trade(7, 1_200), trade(5, 1_100), trade(7, 1_200)) == [7, 5]
    assert new(sent, trade(4, 1_000), trade(5, 1_100), trade(4, 1_000)) == [4]


def test_one_time_from_the_future_keeps_no_later_trade_back() -> None:
    """Ids go on."""
    sent = Sent(Place(3, 999_000))
    assert new(sent, trade(3, 999_000), trade(4, 1_000), trade(5, 1_001)) == [4, 5]


def test_trades_that_are_numbered_anew_are_new() -> None:
    """Their times go on; what had the same ids before is not sent for that."""
    sent = Sent(Place(3, 1_000))
    assert new(sent, trade(4, 1_100), trade(1, 2_000), trade(4, 2_100), trade(4, 1_100)) == [4, 1, 4]


def test_what_is_forgotten_is_not_sent_twice_either() -> None:
    """Memory has a bound: beyond it, a trade that comes late may be left out."""
    sent = Sent(Place(0, 0), most=3)
    trades = [trade(number, 1_000 * number) for number in (1, 2, 4, 5, 6, 8)]
    assert new(sent, *trades, *trades) == [1, 2, 4, 5, 6, 8]
    assert new(sent, trade(3, 3_000), trade(7, 7_000)) == [7]


def test_trades_of_before_end_with_the_newest_that_is_known() -> None:
    """Where all symbols are known, one that is not there has none; where they are not, the clock decides."""
    places = Places()
    assert new(Sent(places.before(BTC, 1_000)), trade(1, 999), trade(2, 1_001)) == [2]
    places.are_all = True
    assert new(Sent(places.before(BTC, 1_000)), trade(1, 999), trade(2, 1_001)) == [1, 2]
    places.come(BTC, [trade(5, 500), trade(6, 500), trade(4, 499)])
    places.come(BTC, [trade(2, 400)])
    assert places.before(BTC, 1_000) == Place(6, 500)


def test_the_first_trade_of_a_symbol_is_not_of_before() -> None:
    """Whoever waited for the symbol gets it."""
    places = Places()
    places.begin(BTC, trade(5, 500))
    before = Sent(places.before(BTC, 1_000))
    assert new(before, trade(4, 499), trade(5, 500), trade(6, 500)) == [5, 6]
