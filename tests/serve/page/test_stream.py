"""The stream of the page over HTTP, with a real table and a real Redis: nothing is missed, nothing is told twice."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

import pytest

from market.bar import Bar, bars_of
from serve.page.stream import RETRY_MS
from serve.texts import plain
from tests.serve.binance.made import START_MS, trade, trades_at
from tests.serve.binance.stand import Stand
from tests.serve.page.events import Event, Events, listening
from tests.support import eventually

HERE = "exchange=sim-binance&symbol=BTCUSDT&interval=1s"


def seconds(event: Event, *, final: bool) -> list[int]:
    """Which seconds an event tells, as final or as provisional."""
    return [(bar["timestamp"] - START_MS) // 1_000 for bar in event.data["bars"] if bar["final"] is final]


def begun(events: Events) -> Event:
    """The first event of bars that knows what runs."""
    return events.first("bars", lambda data: data["runs"])


def finals(events: Events, count: int) -> list[dict[str, Any]]:
    """The next so many final bars."""
    found: list[dict[str, Any]] = []
    while len(found) < count:
        event = events.first("bars", lambda data: any(bar["final"] for bar in data["bars"]))
        found += [bar for bar in event.data["bars"] if bar["final"]]
    return found


def is_bar(told: dict[str, Any], bar: Bar) -> bool:
    """Whether a bar is told in all that counts."""
    numbers = all(told[name] == plain(getattr(bar, name)) for name in ("open", "high", "low", "close", "volume"))
    ids = all(told[name] == getattr(bar, name) for name in ("timestamp", "first_trade_id", "last_trade_id", "revision"))
    return numbers and ids


def open_trades(stand: Stand) -> list[Any]:
    """Those that the table has not."""
    return [one for one in stand.trades if one.timestamp >= START_MS + 10_000]


def test_a_page_is_told_how_everything_is(served: Stand) -> None:
    """All symbols, their prices as exact text, the state of the parts, without asking for anything."""
    with listening(served.port) as events:
        state = events.first("state", lambda data: not data["redis"]["problem"] and not data["table"]["problem"])
        assert state.data["now"] == START_MS + 12_500
        assert state.data["table"]["end"] == START_MS + 9_000
        assert (state.data["stale_after"], state.data["rate_here"]) == (15_000, None)
    with listening(served.port) as events:
        assert events.first("symbols").data == [["sim-binance", "BTCUSDT"]]
    with listening(served.port) as events:
        (price,) = events.first("prices").data
        assert (price["symbol"], price["price"], price["trade_id"]) == ("BTCUSDT", "120.0", 20)


def test_only_prices_that_have_changed_are_told_again(served: Stand) -> None:
    """The first time all of them."""
    other = ("sim-coinbase", "ETHUSD")
    served.told([trade(1, START_MS, key=other)])
    with listening(served.port) as events:
        events.first("prices", lambda data: [one["symbol"] for one in data] == ["BTCUSDT", "ETHUSD"])
        served.told([trade(2, START_MS + 1_000, key=other)])
        assert events.first("prices").data[0]["trade_id"] == 2


def test_what_runs_is_told_as_provisional(served: Stand) -> None:
    """Every second behind the table, equal to the bars of its trades; and where the final ones end."""
    with listening(served.port, HERE) as events:
        event = begun(events)
        assert (event.data["end"], event.data["runs"], event.data["reread"]) == (START_MS + 9_000, True, "")
        assert seconds(event, final=False) == [10, 11, 12]
        assert seconds(event, final=True) == []
        expected = bars_of(open_trades(served))
        assert all(is_bar(told, bar) for told, bar in zip(event.data["bars"], expected, strict=True))
        served.told([trade(21, START_MS + 12_450)])
        again = events.first("bars")
        assert seconds(again, final=False) == [12]
        assert again.data["bars"][0]["trade_count"] == 3


def test_a_bar_is_told_as_final_once_when_the_table_has_it(served: Stand) -> None:
    """As the table has it; wider ones when they are over."""
    with (
        listening(served.port, HERE) as events,
        listening(served.port, HERE.replace("1s", "1m")) as minutes,
    ):
        events.first("bars")
        minutes.first("bars")
        committed = served.finished(open_trades(served))
        assert all(is_bar(*pair) for pair in zip(finals(events, 3), committed, strict=True))
        served.finished(trades_at([START_MS + 60_100], first_id=21))
        assert [bar["timestamp"] for bar in finals(events, 1)] == [START_MS + 60_000]
        (minute,) = finals(minutes, 1)
        assert is_bar(minute, bars_of(served.trades, 60_000)[0])


def test_amended_bars_are_told_again(served: Stand) -> None:
    """A later revision, a bar where there was none; and the minute that they are in."""
    served.finished(trades_at([START_MS + 60_100], first_id=21))
    served.caught_up()
    with (
        listening(served.port, HERE) as events,
        listening(served.port, HERE.replace("1s", "1m")) as minutes,
    ):
        events.first("bars")
        minutes.first("bars")
        (amended,) = served.finished([trade(7, START_MS + 5_100), trade(8, START_MS + 5_400)], revision=1)
        (told,) = finals(events, 1)
        assert (told["timestamp"], told["revision"]) == (amended.timestamp, 1)
        (minute,) = finals(minutes, 1)
        assert (minute["timestamp"], minute["revision"]) == (START_MS, 1)
        served.finished([trade(99, START_MS + 3_500)])
        (late,) = finals(events, 1)
        assert (late["timestamp"], late["first_trade_id"]) == (START_MS + 3_000, 99)


@pytest.mark.parametrize("way", ["header", "address"])
def test_a_page_that_comes_back_is_told_what_it_has_missed(served: Stand, way: str) -> None:
    """New final bars and amended ones, each once, and nothing else; by the browser's header or the page's own word."""
    with listening(served.port, HERE) as events:
        position = events.first("bars").position
    served.finished(open_trades(served))
    served.finished([trade(7, START_MS + 5_100), trade(8, START_MS + 5_400)], revision=1)
    served.caught_up()
    eventually(lambda: served.app.state.page.watch.journal.sequence == 1)
    asked = HERE if way == "header" else f"{HERE}&after={position}"
    with listening(served.port, asked, last_id=position if way == "header" else "") as events:
        event = events.first("bars")
        assert (event.data["reread"], event.data["begins"]) == ("", False)
        assert seconds(event, final=True) == [5, 10, 11, 12]
        newest = event.position
    with listening(served.port, f"{HERE}&after={newest}") as events:
        assert seconds(events.first("bars"), final=True) == []


def test_where_it_is_not_known_what_was_missed_everything_is_to_be_read_anew(served: Stand) -> None:
    """A position of another process, one of long ago, and one that is none in the browser's header."""
    with listening(served.port, HERE) as events:
        position = events.first("bars").position
    boot, rest = position.split(".", 1)
    with listening(served.port, f"{HERE}&after={'0' * 8}.{rest}") as events:
        assert "not known any more" in events.first("bars").data["reread"]
    epoch, sequence, _ = rest.split(".")
    with listening(served.port, f"{HERE}&after={boot}.{epoch}.{sequence}.0") as events:
        assert events.first("bars").data["reread"] == "much has changed"
    with listening(served.port, HERE, last_id="nonsense") as events:
        event = events.first("bars")
        assert (event.data["reread"], event.data["begins"]) == ("", True)


def test_a_table_that_was_replaced_is_to_be_read_anew(served: Stand) -> None:
    """While a page listens: what it shows is of another table."""
    with listening(served.port, HERE) as events:
        events.first("bars")
        served.table.replace()
        served.finished(trades_at([START_MS + 20_100], first_id=50))
        event = events.first("bars", lambda data: data["reread"])
        assert "another one" in event.data["reread"]


def test_without_redis_final_bars_go_on(served: Stand) -> None:
    """It is said that prices are away, and that it is not known what runs; and afterwards that both are back."""
    with listening(served.port, HERE) as events:
        begun(events)
        served.redis.kill()
        problem = events.first("state", lambda data: data["redis"]["problem"]).data["redis"]["problem"]
        assert served.redis.url in problem
        served.finished(open_trades(served))
        told: list[int] = []
        runs = True
        while told != [10, 11, 12] or runs:
            event = events.first("bars")
            told += seconds(event, final=True)
            runs = event.data["runs"]
        served.redis.start()
        events.first("state", lambda data: not data["redis"]["problem"])


def test_a_symbol_that_nobody_knows_waits(served: Stand) -> None:
    """The rest is told all the same; when it comes, its bars are."""
    with listening(served.port, HERE.replace("BTCUSDT", "ETHUSDT")) as events:
        events.first("state")
        served.finished([trade(1, START_MS + 30_000, key=("sim-binance", "ETHUSDT"))])
        assert events.first("bars").data["symbol"] == "ETHUSDT"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("symbol=BTCUSDT", "exchange and symbol belong together"),
        ("exchange=coinbase", "exchange and symbol belong together"),
        ("exchange=nowhere&symbol=BTCUSDT", "exchange=nowhere is not allowed"),
        ("exchange=coinbase&symbol=../x", "symbol=../x is not allowed"),
        (f"{HERE}0", "interval=1s0 is not allowed"),
        (f"{HERE}&after=1", "after=1 is not allowed"),
        (f"{HERE}&from=1", "there is no parameter 'from'"),
        (f"{HERE}&symbol=ETHUSDT", "symbol is given more than once"),
    ],
)
def test_what_cannot_be_told_is_refused(served: Stand, asked: str, said: str) -> None:
    """400, with what was wrong."""
    status, _, body = served.get(f"/page/stream?{asked}")
    assert status == 400
    assert said in body["error"]


def test_a_browser_is_told_when_to_come_back(served: Stand) -> None:
    """The first line; and pages that have gone are not counted any more."""
    pages = served.app.state.page
    with listening(served.port) as events:
        eventually(lambda: pages.open == 1)
        assert events.response.readline() == f"retry: {RETRY_MS}\n".encode()
    eventually(lambda: pages.open == 0)


def test_the_service_does_not_wait_for_pages_when_it_ends(stand: Stand) -> None:
    """Their streams end first; uvicorn would wait for them for seconds."""
    with ExitStack() as open_for_longer:
        with stand.serving():
            events = open_for_longer.enter_context(listening(stand.port))
            events.first("state")
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert events.ended()
