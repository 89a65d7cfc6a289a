"""What is asked over REST, and what the answers say: every id asked for is a trade, or said not to be there."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_DOWN, Decimal
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.trade import Reason, Trade, problem_of
from producer.exchanges.history import History, Page, Request
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import ADVANCED, BINANCE, COINBASE
from tests.recordings import path

LATEST_MS = 1_800_000_000_000
PRODUCTS = {"binance": "BTCUSDT", "coinbase": "BTC-USD"}
HISTORIES = {"binance": BINANCE.history, "coinbase": COINBASE.history}
both = pytest.mark.parametrize("name", sorted(HISTORIES))


def binance_row(number: object, **changes: Any) -> dict[str, Any]:
    """A row of `historicalTrades`, as documented."""
    row = {"price": "4.00000100", "qty": "12.00000000", "quoteQty": "48.000012", "time": 1499865549590}
    return {"id": number, **row, "isBuyerMaker": True, "isBestMatch": True, **changes}


def coinbase_row(number: object, **changes: Any) -> dict[str, Any]:
    """A row of `trades`, as documented."""
    row = {"side": "sell", "size": "0.01000000", "price": "4.50", "time": "2019-11-05T10:27:01.123456Z"}
    return {"trade_id": number, **row, **changes}


ROWS: dict[str, Callable[..., dict[str, Any]]] = {"binance": binance_row, "coinbase": coinbase_row}


def answer_of(name: str, held: set[int], request: Request, most: int) -> list[dict[str, Any]]:
    """What an exchange that has these ids, and serves `most` rows at once, answers; by its own documentation."""
    query = {key: value[0] for key, value in parse_qs(urlsplit(request.path).query).items()}
    limit = min(int(query["limit"]), most)
    if name == "binance":
        numbers = sorted(number for number in held if number >= int(query["fromId"]))
    else:
        numbers = sorted((number for number in held if number < int(query["after"])), reverse=True)
    return [ROWS[name](number) for number in numbers[:limit]]


def read(name: str, answer: Any, first: int, last: int) -> Page:
    """The page of an answer."""
    return HISTORIES[name].read(answer, name, PRODUCTS[name], first, last, LATEST_MS)


def trade_ids(page: Page) -> list[int]:
    """The ids of its trades."""
    return [trade.trade_id for outcome in page.outcomes for trade in outcome.trades]


@both
@given(
    held=st.sets(st.integers(0, 60)),
    asked=st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda ends: tuple(sorted(ends))),
    most=st.integers(1, 20),
)
@settings(max_examples=300, deadline=None)
def test_page_by_page_every_id_is_brought_once_or_said_not_to_be_there(
    name: str, held: set[int], asked: tuple[int, int], most: int
) -> None:
    """Asked for again until nothing is left: trades and missing ids are the asked range, and each page is a step."""
    history, (first, last) = HISTORIES[name], asked
    brought: list[int] = []
    missing: list[int] = []
    while first <= last:
        page = read(name, answer_of(name, held, history.page(PRODUCTS[name], first, last), most), first, last)
        assert first == page.first if name == "binance" else last == page.last
        assert first <= page.first <= page.last <= last
        ids = trade_ids(page)
        assert set(ids) <= set(range(page.first, page.last + 1))
        brought += ids
        missing += set(range(page.first, page.last + 1)) - set(ids)
        first, last = (page.last + 1, last) if name == "binance" else (first, page.first - 1)
    assert sorted(brought) == sorted(held & set(range(asked[0], asked[1] + 1)))
    assert sorted(brought + missing) == list(range(asked[0], asked[1] + 1))


ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=2)


@st.composite
def odd_answers(draw: st.DrawFn, row: Callable[..., dict[str, Any]]) -> list[Any]:
    """Rows in any order, some with fields changed or gone, or no rows at all."""
    rows: list[Any] = []
    for number in draw(st.lists(st.integers(-2, 40), max_size=12)):
        fields = row(number)
        fields |= draw(st.dictionaries(st.sampled_from(sorted(fields)), ODD, max_size=2))
        for gone in draw(st.sets(st.sampled_from(sorted(fields)), max_size=1)):
            del fields[gone]
        rows.append(fields if draw(st.integers(0, 9)) else draw(ODD))
    return rows


@both
@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_of_any_page_the_trades_and_the_missing_ids_are_what_it_speaks_for(name: str, data: st.DataObject) -> None:
    """Whatever the rows are: one element each, valid trades alone, all within the asked range, and a step ahead."""
    answer = data.draw(odd_answers(ROWS[name]))
    first, last = sorted((data.draw(st.integers(0, 40)), data.draw(st.integers(0, 40))))
    page = read(name, answer, first, last)
    assert len(page.outcomes) == len(answer)
    assert all(outcome.elements == 1 for outcome in page.outcomes)
    assert first <= page.first <= page.last <= last
    assert page.first == first if name == "binance" else page.last == last
    assert set(trade_ids(page)) <= set(range(page.first, page.last + 1))
    for outcome in page.outcomes:
        assert [bool(outcome.trades), bool(outcome.rejected), bool(outcome.passed_over)].count(True) == 1
        assert all(problem_of(trade, LATEST_MS) is None for trade in outcome.trades)


def test_binance_is_asked_from_the_first_id_up() -> None:
    """`historicalTrades` from an id, as many as are wanted, at most 1,000; weight 25."""
    assert BINANCE.history.page("BTCUSDT", 5, 5000) == (
        "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=1000",
        25,
    )
    assert BINANCE.history.page("BTCUSDT", 5, 5).path == "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=5&limit=1"


def test_coinbase_is_asked_from_the_last_id_down() -> None:
    """`after` is above the last wanted id, for the exchange answers with those below it; at most 1,000, weight 1."""
    assert COINBASE.history.page("BTC-USD", 5, 5000) == ("/products/BTC-USD/trades?after=5001&limit=1000", 1)
    assert COINBASE.history.page("BTC-USD", 5, 6).path == "/products/BTC-USD/trades?after=7&limit=2"


def test_both_coinbase_feeds_have_one_history() -> None:
    """The ids of Coinbase Advanced are those of Coinbase Exchange, whose REST interface needs no key."""
    assert ADVANCED.history is COINBASE.history


def test_product_names_cannot_change_the_request() -> None:
    """What an exchange lists goes into paths and queries as a name, whatever is in it."""
    assert BINANCE.history.newest("A&B=/").path == "/api/v3/aggTrades?symbol=A%26B%3D%2F&limit=1"
    assert COINBASE.history.newest("../A B").path == "/products/..%2FA%20B/trades?limit=1"


def test_rows_are_the_trades_they_document() -> None:
    """Prices as printed, times in ms or µs floored, Coinbase's side the maker's, and its pages turned round."""
    page = read(
        "binance", [binance_row(28457), binance_row(28458, time=1499865549590999, isBuyerMaker=False)], 1, 28458
    )
    assert page == Page(
        (
            Outcome(trades=(Trade("binance", "BTCUSDT", "4.00000100", "12.00000000", 1499865549590, 28457, True),)),
            Outcome(trades=(Trade("binance", "BTCUSDT", "4.00000100", "12.00000000", 1499865549590, 28458, False),)),
        ),
        1,
        28458,
        28458,
    )
    page = read("coinbase", [coinbase_row(74), coinbase_row(73, side="buy")], 1, 74)
    assert page == Page(
        (
            Outcome(trades=(Trade("coinbase", "BTCUSD", "4.50", "0.01000000", 1572949621123, 73, True),)),
            Outcome(trades=(Trade("coinbase", "BTCUSD", "4.50", "0.01000000", 1572949621123, 74, False),)),
        ),
        73,
        74,
        74,
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": "0"}, Reason.PRICE_SIGN),
        ({"qty": None}, Reason.QUANTITY),
        ({"time": 1499865549}, Reason.TOO_OLD),
        ({"time": 10**14}, Reason.TIMESTAMP),
        ({"isBuyerMaker": "true"}, Reason.SIDE),
        ({"id": "x"}, Reason.TRADE_ID),
    ],
)
def test_rows_are_held_to_the_one_rule_of_valid_trades(changes: dict[str, Any], reason: str) -> None:
    """A row that is no valid trade is rejected with its reason; its id, if it has one, is told with that."""
    told = () if "id" in changes else ((5, reason),)
    assert read("binance", [binance_row(5, **changes)], 5, 5) == Page((Outcome(rejected=reason),), 5, 5, -1, told)


@both
def test_a_page_tells_how_far_the_history_reaches(name: str) -> None:
    """The highest id of its valid trades, asked for or not; an id without a trade proves nothing."""
    spoilt = ROWS[name](7, price="x")
    assert [read(name, rows, 1, 5).newest for rows in ([ROWS[name](5), ROWS[name](6), spoilt], [])] == [6, -1]
    assert [read(name, [spoilt], 1, last).rejected for last in (7, 5)] == [((7, Reason.PRICE),), ()]


def test_trades_that_were_not_asked_for_are_passed_over() -> None:
    """An answer for other ids than ours, from a cache or a changed rule, closes no hole and opens none."""
    for name in HISTORIES:
        page = read(name, [ROWS[name](9)], 5, 6)
        assert [outcome.passed_over for outcome in page.outcomes] == ["trade that was not asked for"]


@both
@pytest.mark.parametrize("answer", [{"code": -1121, "msg": "Invalid symbol."}, {"message": "NotFound"}, None, "x", 5])
def test_an_answer_that_is_no_list_says_so(name: str, answer: object) -> None:
    """It speaks for no id: nothing is counted as gone because of an error message."""
    with pytest.raises(ValueError, match="no list") as caught:
        read(name, answer, 5, 6)
    assert str(caught.value) == f"the answer is no list of trades: {answer!r}"


def test_a_pruned_past_is_told_as_missing() -> None:
    """Binance answers fromId=1 with the first trade that it still has: what is below is gone, at once."""
    page = read("binance", [binance_row(437921759)], 1, 437921760)
    assert (trade_ids(page), page.first, page.last) == ([437921759], 1, 437921759)


def test_the_newest_trade_is_the_last_of_the_newest_aggregate() -> None:
    """Binance: `l` and `T`, for weight 4; Coinbase: the first row."""
    assert BINANCE.history.newest("BTCUSDT") == ("/api/v3/aggTrades?symbol=BTCUSDT&limit=1", 4)
    row = {"a": 26129, "p": "0.01633102", "q": "4.70443515", "f": 27781, "l": 27783, "T": 1498793709153, "m": True}
    assert BINANCE.history.newest_of([row]) == (27783, 1498793709153)
    assert BINANCE.history.newest_of([row | {"T": 1498793709153999}]) == (27783, 1498793709153)
    assert COINBASE.history.newest("BTC-USD") == ("/products/BTC-USD/trades?limit=1", 1)
    assert COINBASE.history.newest_of([coinbase_row(74), coinbase_row(73)]) == (74, 1572949621123)


def test_the_first_trade_since_a_time_is_the_first_of_the_first_aggregate() -> None:
    """Binance: `f`, for weight 4; Coinbase has no such question."""
    since, since_of = BINANCE.history.since, BINANCE.history.since_of
    assert since is not None
    assert since_of is not None
    assert since("BTCUSDT", 1498793700000) == (
        "/api/v3/aggTrades?symbol=BTCUSDT&startTime=1498793700000&limit=1",
        4,
    )
    assert since_of([{"f": 27781, "l": 27783, "T": 1498793709153}]) == 27781
    assert since_of([]) is None
    assert since_of([{"f": -1}]) is None
    assert COINBASE.history.since is None


@both
@pytest.mark.parametrize("answer", [[], None, {}, "x", [None], [{}], [{"l": 5, "trade_id": 5}], [{"T": 1, "time": 1}]])
def test_an_answer_without_a_newest_trade_names_none(name: str, answer: object) -> None:
    """A market without a trade, or an answer of another shape."""
    assert HISTORIES[name].newest_of(answer) is None


@pytest.mark.parametrize("history", [BINANCE.history, COINBASE.history])
def test_the_budget_leaves_room_for_others_at_the_same_address(history: History) -> None:
    """Binance allows a weight of 6,000 a minute, Coinbase 10 requests a second: four fifths are ours."""
    assert history.weight_per_minute == (4_800 if history is BINANCE.history else 480)


@cache
def recorded(route: str) -> list[list[dict[str, Any]]]:
    """Every recorded body of one route that is a list."""
    routes = json.loads(path("gocryptotrader_rest/binance_http_mock.json").read_text())["routes"]
    return [answer["data"] for answer in routes[route]["GET"] if isinstance(answer["data"], list)]


def test_recorded_trades_parse_and_their_quote_quantities_agree_by_truncation() -> None:
    """1,000 recorded rows of `trades`: as printed, and quoteQty is price times qty cut at 8 decimals in all of them."""
    rows = max(recorded("/api/v3/trades"), key=len)
    first, last = rows[0]["id"], rows[-1]["id"]
    page = BINANCE.history.read(rows, "binance", "ETHBTC", first, last, LATEST_MS)
    trades = [trade for outcome in page.outcomes for trade in outcome.trades]
    assert (len(rows), len(trades), page.first, page.last) == (1_000, 1_000, first, last)
    for row, trade in zip(rows, trades, strict=True):
        assert trade == ("binance", "ETHBTC", row["price"], row["qty"], row["time"], row["id"], row["isBuyerMaker"])
    agree = [
        (Decimal(trade.price) * Decimal(trade.quantity)).quantize(Decimal("1e-8"), ROUND_DOWN)
        == Decimal(row["quoteQty"])
        for row, trade in zip(rows, trades, strict=True)
    ]
    assert sum(agree) == 1_000


def test_recorded_historical_trades_parse() -> None:
    """The recorded rows of `historicalTrades` are trades, each with the id it prints."""
    for rows in recorded("/api/v3/historicalTrades"):
        page = read("binance", rows, rows[0]["id"], rows[-1]["id"])
        assert trade_ids(page) == [row["id"] for row in rows]


def test_recorded_aggregates_name_their_trades() -> None:
    """Every recorded body of `aggTrades` names its last row's last id and time, and its first row's first id."""
    bodies = recorded("/api/v3/aggTrades")
    assert len(bodies) > 10
    assert BINANCE.history.since_of is not None
    for rows in bodies:
        assert BINANCE.history.newest_of(rows) == (rows[-1]["l"], rows[-1]["T"])
        assert BINANCE.history.since_of(rows) == rows[0]["f"]
