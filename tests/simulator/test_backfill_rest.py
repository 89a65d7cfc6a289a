"""The REST routes from which missing trades are fetched, held to the tape and to one another."""

from __future__ import annotations

import asyncio
import re
from decimal import Decimal
from itertools import groupby, pairwise
from typing import Any

import pytest
from aiohttp import ClientSession

from simulator.server import Simulator
from simulator.sockets import Limits
from tests.simulator.clients import START_US, answer_to, tape_of

START_MS = START_US // 1000
AGGREGATES = "/api/v3/aggTrades?symbol=BTCUSDT"


def grouped(trades: list[Any]) -> list[dict[str, Any]]:
    """The aggregates of some rows of historicalTrades (in µs): neighbours at one time, one price and one side."""
    rows = []
    for (time, price, buyer_maker), group in groupby(
        trades, key=lambda row: (row["time"], row["price"], row["isBuyerMaker"])
    ):
        inside = list(group)
        first, last, quantity = inside[0]["id"], inside[-1]["id"], sum(Decimal(row["qty"]) for row in inside)
        row = {"a": first, "p": price, "q": f"{quantity:.8f}", "f": first, "l": last}
        rows.append(row | {"T": time, "m": buyer_maker, "M": True})
    return rows


def microseconds(get: Any, *paths: str) -> list[Any]:
    answers = get(*paths, headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
    assert {status for status, _, _ in answers} == {200}
    return [body for _, _, body in answers]


def test_aggregates_are_the_trades_with_nothing_left_out(get: Any) -> None:
    """Rows as Binance prints them; f and l join without a gap; some hold several trades; the newest are the default."""
    trades, newest, few = microseconds(
        get, "/api/v3/trades?symbol=BTCUSDT&limit=1000", f"{AGGREGATES}&limit=100", AGGREGATES
    )
    assert list(newest[0]) == ["a", "p", "q", "f", "l", "T", "m", "M"]
    expected = grouped(trades)
    assert len(expected) < len(trades)
    assert newest == expected[-100:]
    assert few[-100:] == newest
    assert len(few) == 500
    assert all(later["f"] == earlier["l"] + 1 for earlier, later in pairwise(few))


def test_aggregates_are_asked_for_by_id_and_by_time(get: Any) -> None:
    """fromId is inclusive; so are startTime and endTime, in ms or µs; an aggregate is the same however it is found."""
    (all_of_them,) = microseconds(get, f"{AGGREGATES}&limit=1000")
    several = next(row for row in all_of_them[100:] if row["l"] > row["f"])
    at = all_of_them.index(several)
    time_us = several["T"]
    in_its_ms = [row for row in all_of_them if row["T"] // 1000 == time_us // 1000]
    by_id, within, by_us, by_ms, one_us, one_ms, up_to, nothing, later, beyond = microseconds(
        get,
        f"{AGGREGATES}&fromId={several['a']}&limit=3",
        f"{AGGREGATES}&fromId={several['a'] + 1}&limit=3",
        f"{AGGREGATES}&startTime={time_us}&limit=3",
        f"{AGGREGATES}&startTime={time_us // 1000}&limit=1",
        f"{AGGREGATES}&startTime={time_us}&endTime={time_us}",
        f"{AGGREGATES}&startTime={time_us // 1000}&endTime={time_us // 1000}",
        f"{AGGREGATES}&endTime={time_us}&limit=3",
        f"{AGGREGATES}&startTime={time_us}&endTime={time_us - 1}",
        f"{AGGREGATES}&startTime={START_MS + 60_000}",
        f"{AGGREGATES}&fromId=99999999999999999999",
    )
    assert by_id == all_of_them[at : at + 3]
    assert within == all_of_them[at + 1 : at + 4]
    assert by_us[0]["T"] == time_us
    assert by_ms == in_its_ms[:1]
    assert {row["T"] for row in one_us} == {time_us}
    assert several in one_us
    assert one_ms == in_its_ms
    assert up_to[-1]["T"] == time_us
    assert len(up_to) == 3
    assert (nothing, later, beyond) == ([], [], [])


def test_aggregates_are_the_same_from_a_restarted_exchange(get: Any) -> None:
    """Ids are a matter of the tape alone."""
    path = f"{AGGREGATES}&fromId=100000000&limit=1000"
    assert microseconds(get, path) == microseconds(get, path)


def test_single_trades_are_the_tapes_and_end_with_the_newest(get: Any, against: Any) -> None:
    """historicalTrades: rows of the tape from fromId on, at most 1000, none of the future, none beyond the newest."""
    (newest,) = microseconds(get, "/api/v3/historicalTrades?symbol=BTCUSDT&limit=1")
    number = newest[0]["id"]
    path = "/api/v3/historicalTrades?symbol=BTCUSDT"
    pages = microseconds(
        get,
        f"{path}&fromId={number - 5000}&limit=9999",
        f"{path}&fromId={number - 1}&limit=1000",
        f"{path}&fromId={number + 1000}",
        f"{path}&fromId=0&limit=3",
    )
    assert [row["id"] for row in pages[0]] == list(range(number - 5000, number - 4000))
    assert pages[1][:2][-1] == newest[0]
    assert pages[2] == []
    assert [row["id"] for row in pages[3]] == [0, 1, 2]
    expected: list[Any] = []

    async def scenario(simulator: Simulator) -> None:
        market, tape = tape_of(simulator, "BTCUSDT")
        for trade_id, time_us, price, quantity, buyer_maker in tape.numbered(number - 5000, number - 4000).rows():
            exact = Decimal(price).scaleb(-market.price_decimals), Decimal(quantity).scaleb(-market.quantity_decimals)
            expected.append((trade_id, *exact, time_us, buyer_maker))

    against(scenario, rate=200.0)
    found = [
        (row["id"], Decimal(row["price"]), Decimal(row["qty"]), row["time"], row["isBuyerMaker"]) for row in pages[0]
    ]
    assert found == expected


def test_prices_are_those_of_the_last_trades(get: Any) -> None:
    """/ticker/price: an object for one symbol, a list for some or all; many cost more."""
    one, some, everything, last = get(
        "/api/v3/ticker/price?symbol=ETHBTC",
        '/api/v3/ticker/price?symbols=["BTCUSDT","ETHBTC"]',
        "/api/v3/ticker/price",
        "/api/v3/trades?symbol=ETHBTC&limit=1",
    )
    assert one[2] == {"symbol": "ETHBTC", "price": last[2][0]["price"]}
    assert [row["symbol"] for row in some[2]] == ["BTCUSDT", "ETHBTC"]
    assert one[2] in everything[2]
    assert [answer[1]["X-MBX-USED-WEIGHT-1M"] for answer in (one, some, everything, last)] == ["2", "6", "10", "35"]


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("ping", 1),
        ("time", 1),
        ("exchangeInfo", 20),
        ("trades?symbol=BTCUSDT", 25),
        ("historicalTrades?symbol=BTCUSDT&fromId=1", 25),
        ("aggTrades?symbol=BTCUSDT", 4),
        ("klines?symbol=BTCUSDT&interval=1s", 2),
        ("klines?symbol=NOPE&interval=1s", 2),
    ],
)
def test_each_request_has_its_weight(get: Any, path: str, weight: int) -> None:
    """As documented, also where the answer is an error."""
    ((_, headers, _),) = get(f"/api/v3/{path}")
    assert headers["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_too_much_weight_is_refused_until_the_minute_is_over(against: Any) -> None:
    """429 with Binance's words and Retry-After; who waits for so long is answered again."""

    async def scenario(simulator: Simulator) -> None:
        async with ClientSession(simulator.http) as session:
            for used in ("25", "50"):
                status, headers, _ = await answer_to(session, "/api/v3/trades?symbol=BTCUSDT&limit=1")
                assert (status, headers["X-MBX-USED-WEIGHT-1M"]) == (200, used)
            status, headers, body = await answer_to(session, "/api/v3/ping")
            assert (status, headers["X-MBX-USED-WEIGHT-1M"], headers["Retry-After"]) == (429, "51", "1")
            assert body == {
                "code": -1003,
                "msg": "Too much request weight used; current limit is 50 request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API.",
            }
            assert (await answer_to(session, "/products"))[0] == 200  # the other exchange
            await asyncio.sleep(int(headers["Retry-After"]))
            assert (await answer_to(session, "/api/v3/ping"))[0] == 200

    against(scenario, limits=Limits(weight_per_minute=50, weight_minute_s=1.0))


def test_who_asks_on_is_banned(against: Any) -> None:
    """418 with the end of the ban in ms and as Retry-After; afterwards requests are answered again."""

    async def scenario(simulator: Simulator) -> None:
        async with ClientSession(simulator.http) as session:
            answers = [await answer_to(session, "/api/v3/time") for _ in range(7)]
            assert [status for status, _, _ in answers] == [200, 200, 429, 429, 429, 418, 418]
            _, headers, body = answers[-1]
            assert headers["Retry-After"] == "2"
            until = re.search("[0-9]{13}", body["msg"])
            assert until is not None
            assert body == {
                "code": -1003,
                "msg": f"Way too much request weight used; IP banned until {until[0]}. "
                "Please use WebSocket Streams for live updates to avoid bans.",
            }
            assert int(until[0]) > simulator.clock.now_us() // 1000
            await asyncio.sleep(2)
            assert (await answer_to(session, "/api/v3/time"))[0] == 200

    limits = Limits(weight_per_minute=2, weight_minute_s=1.0, tries_after_429=3, ban_s=2.0)
    against(scenario, limits=limits)


def test_coinbase_refuses_more_than_its_rate(against: Any) -> None:
    """A burst of half as many more, then 429 with its words, and answers again as time goes on; Binance has its own."""

    async def scenario(simulator: Simulator) -> None:
        async with ClientSession(simulator.http) as session:
            answers = [await answer_to(session, "/products/BTC-USD/trades?limit=1") for _ in range(40)]
            statuses = [status for status, _, _ in answers]
            assert statuses[:15] == [200] * 15
            assert 429 in statuses
            assert answers[statuses.index(429)][2] == {"message": "Public rate limit exceeded"}
            assert (await answer_to(session, "/api/v3/ping"))[0] == 200
            while (await answer_to(session, "/time"))[0] == 429:
                await asyncio.sleep(0.05)

    against(scenario, rate=100.0, limits=Limits(requests_per_s=10.0))


def test_too_many_connections_are_refused(against: Any) -> None:
    """Binance counts attempts to connect; Coinbase's feed is not concerned."""

    async def scenario(simulator: Simulator) -> None:
        async with ClientSession(simulator.http) as session:
            for _ in range(2):
                async with session.ws_connect("/ws"):
                    pass
            async with session.get("/ws") as response:
                assert (response.status, int(response.headers["Retry-After"])) == (429, 300)
            async with session.ws_connect("/"):
                pass

    against(scenario, limits=Limits(connections_per_5_min=2))


def test_coinbase_pages_cover_a_hole_without_a_gap(against: Any) -> None:
    """Walking down with `after` from above a hole: each page joins the one before it, and each row is the tape's."""

    async def scenario(simulator: Simulator) -> None:
        market, tape = tape_of(simulator, "BTC-USD")
        first, last = 500_000_000, 500_002_500
        rows: list[Any] = []
        async with ClientSession(simulator.http) as session:
            cursor = str(last + 1)
            while not rows or rows[-1]["trade_id"] > first:
                _, headers, page = await answer_to(session, f"/products/BTC-USD/trades?after={cursor}")
                assert (headers["CB-BEFORE"], len(page)) == (str(int(cursor) - 1), 1000)
                cursor = headers["CB-AFTER"]
                rows += page
        numbers = [row["trade_id"] for row in rows]
        assert numbers == list(range(last, last - 3000, -1))
        for row, expected in zip(reversed(rows), tape.numbered(numbers[-1], last + 1).rows(), strict=True):
            assert (row["trade_id"], row["side"]) == (expected[0], "buy" if expected[4] else "sell")
            assert Decimal(row["price"]) == Decimal(expected[2]).scaleb(-market.price_decimals)
            assert Decimal(row["size"]) == Decimal(expected[3]).scaleb(-market.quantity_decimals)

    against(scenario)


def test_coinbase_cursors_beyond_the_ends_give_empty_pages(get: Any) -> None:
    """Below the first id and above the newest there is nothing, and no cursor; both cursors bound a page."""
    (_, headers, newest), nothing, above, beyond, between = get(
        "/products/BTC-USD/trades?limit=1",
        "/products/BTC-USD/trades?after=0",
        "/products/BTC-USD/trades?before=999999999999",
        "/products/BTC-USD/trades?after=999999999999&limit=1",
        "/products/BTC-USD/trades?before=100&after=104",
    )
    assert newest[0]["trade_id"] == int(headers["CB-BEFORE"]) == int(headers["CB-AFTER"])
    for empty in (nothing, above):
        assert (empty[0], empty[2], "CB-AFTER" in empty[1]) == (200, [], False)
    assert beyond[2] == newest
    assert [row["trade_id"] for row in between[2]] == [103, 102, 101]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=1001", "limit must be from 1 to 1000"),
        ("limit=0", "limit must be from 1 to 1000"),
        ("after=x", 'Invalid after: "x"'),
        ("before=-1", 'Invalid before: "-1"'),
    ],
)
def test_coinbase_refuses_cursors_that_are_none(get: Any, query: str, message: str) -> None:
    """400 with a message."""
    ((status, _, body),) = get(f"/products/BTC-USD/trades?{query}")
    assert (status, body) == (400, {"message": message})
