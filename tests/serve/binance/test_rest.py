"""Binance's REST routes, asked over HTTP: of a real table and a real Redis, both of which may go and change."""

from __future__ import annotations

from typing import Any

import pytest

from market.widths import WIDTHS
from tests.serve.binance.made import START_MS, listed, trade, trades_at
from tests.serve.binance.stand import Stand
from tests.support import eventually

BAD = {"code": -1121, "msg": "Invalid symbol."}
AWAY = -1008


def seconds(rows: Any) -> list[int]:
    """Open times, in seconds after the start."""
    return [(row[0] - START_MS) // 1_000 for row in rows]


def as_rows(stand: Stand, interval: str) -> list[list[Any]]:
    """Every kline of the stand's trades, as it is to be answered."""
    width_ms = WIDTHS[interval]
    return [
        [
            bar.timestamp,
            *(f"{number:.8f}" for number in (bar.open, bar.high, bar.low, bar.close, bar.volume)),
            bar.timestamp + width_ms - 1,
            f"{bar.quote_volume:.8f}",
            bar.trade_count,
            f"{bar.taker_buy_volume:.8f}",
            f"{bar.taker_buy_quote_volume:.8f}",
            "0",
        ]
        for bar in listed(stand.trades, stand.clock() + 1, width_ms)
    ]


@pytest.mark.parametrize("interval", WIDTHS)
def test_klines_are_those_of_the_trades_finished_ones_and_the_running_one(stand: Stand, interval: str) -> None:
    """At every width: seconds of the table and trades of Redis make what all trades make at once."""
    expected = as_rows(stand, interval)
    eventually(lambda: stand.klines(interval=interval) == expected)
    assert stand.rows(f"/api/v3/uiKlines?symbol=BTCUSDT&interval={interval}&limit=1000") == expected
    assert stand.klines(interval=interval, startTime=0) == expected


def test_klines_are_chosen_by_their_open_time(stand: Stand) -> None:
    """Start and end count; a start gives the oldest first, an end alone the newest; 500 by default."""
    eventually(lambda: seconds(stand.klines()) == list(range(13)))

    def asked(**parameters: int) -> list[int]:
        return seconds(stand.klines(**parameters))

    assert asked(startTime=START_MS + 2_000, endTime=START_MS + 5_000) == [2, 3, 4, 5]
    assert asked(startTime=START_MS + 2_001, limit=2) == [3, 4]
    assert asked(endTime=START_MS + 4_999, limit=2) == [3, 4]
    assert asked(startTime=(START_MS + 2_000) * 1_000, limit=1) == [2]
    assert asked(startTime=START_MS + 5_000, endTime=START_MS + 4_000) == []
    assert asked(startTime=START_MS + 60_000) == []
    assert asked(endTime=START_MS - 1) == []


def test_times_are_in_microseconds_where_the_header_asks_for_them(stand: Stand) -> None:
    """X-MBX-TIME-UNIT: all times, those of klines, trades, tickers and the clock."""
    header = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    path = f"/api/v3/klines?symbol=BTCUSDT&interval=1s&startTime={START_MS}&limit=1"
    ((opened, *_, closed), *_) = [row[:7] for row in stand.get(path, header)[2]]
    assert (opened, closed) == (START_MS * 1_000, START_MS * 1_000 + 999_999)
    assert stand.get("/api/v3/trades?symbol=BTCUSDT&limit=1", header)[2][0]["time"] == (START_MS + 12_400) * 1_000
    assert stand.get("/api/v3/time", header)[2] == {"serverTime": (START_MS + 12_500) * 1_000}
    assert stand.get("/api/v3/time", {"X-MBX-TIME-UNIT": "SECOND"})[2]["code"] == -1194


def test_an_amended_bar_is_answered_instead_of_the_first_one(stand: Stand) -> None:
    """A trade comes late for second 5; texts that were kept are not answered again, nor wider klines."""
    eventually(lambda: seconds(stand.klines()) == list(range(13)))
    before, minute = stand.klines()[5], stand.klines(interval="1m")[0]
    late = trade(1_000, START_MS + 5_900, price="77")
    amended = [one for one in stand.trades if START_MS + 5_000 <= one.timestamp < START_MS + 6_000]
    stand.finished([*amended, late], revision=1)
    stand.caught_up()
    after = eventually(lambda: (row := stand.klines()[5]) != before and row)
    assert (after[4], after[8]) == ("77.00000000", before[8] + 1)
    assert eventually(lambda: stand.klines(interval="1m")[0] != minute)


def test_a_gap_has_no_rows(stand: Stand) -> None:
    """Ids are missing between two bars: what was in the seconds between is not known, and not told as quiet."""
    stand.finished(trades_at([START_MS + 20_000, START_MS + 22_000], first_id=500))
    stand.stop_clock(START_MS + 23_500)
    stand.caught_up()
    rows = eventually(lambda: (found := seconds(stand.klines(endTime=START_MS + 22_000)))[-1] == 22 and found)
    assert [second for second in rows if second > 8] == [20, 21, 22]


def test_without_redis_klines_come_from_the_table_alone_and_prices_do_not_come(stand: Stand) -> None:
    """What runs is then absent, in every width; everything is as before when Redis has it all again."""
    eventually(lambda: seconds(stand.klines()) == list(range(13)))
    stand.redis.kill()
    eventually(lambda: seconds(stand.klines()) == list(range(9)))
    assert stand.klines(interval="1m") == []
    assert seconds(stand.klines(startTime=START_MS)) == list(range(9))
    for path in ("ticker/price", *(f"{name}?symbol=BTCUSDT" for name in ("ticker/price", "ticker/24hr", "avgPrice"))):
        status, headers, body = stand.get(f"/api/v3/{path}")
        assert (status, body["code"], headers["Retry-After"]) == (503, AWAY, "1")
    assert stand.get("/api/v3/trades?symbol=BTCUSDT")[0] == 503
    assert [row["symbol"] for row in stand.rows("/api/v3/exchangeInfo")["symbols"]] == ["BTCUSDT"]
    stand.redis.start()
    trades, stand.trades = stand.trades, []
    stand.told(trades)
    eventually(lambda: seconds(stand.klines()) == list(range(13)))


def test_what_redis_lost_is_absent_until_the_table_has_it(stand: Stand) -> None:
    """It comes back empty, and with trades that do not reach back to the table: nothing is told that may be wrong."""
    eventually(lambda: seconds(stand.klines()) == list(range(13)))
    stand.redis.client.flushall()
    trades, stand.trades = stand.trades, []
    stand.told(trades[-2:])  # those of second 12
    eventually(lambda: seconds(stand.klines()) == list(range(9)))
    stand.finished([one for one in trades if START_MS + 10_000 <= one.timestamp < START_MS + 12_000])
    stand.caught_up()
    eventually(lambda: seconds(stand.klines()) == list(range(13)))


def test_another_table_is_answered_from_at_once(stand: Stand) -> None:
    """It was deleted and made again, with other bars in it."""
    stand.table.replace()
    stand.finished(trades_at([START_MS + 1_000 * second for second in range(3)], first_id=900))
    stand.caught_up()
    eventually(lambda: [row[8] for row in stand.klines(endTime=START_MS + 2_000)] == [1, 1, 1])


def test_trades_are_the_newest_or_those_from_an_id_on(stand: Stand) -> None:
    """Oldest first; `historicalTrades` from an id, or from the first one that is still held."""
    newest = stand.rows("/api/v3/trades?symbol=BTCUSDT&limit=3")
    assert [row["id"] for row in newest] == [18, 19, 20]
    assert newest[-1] == {
        "id": 20,
        "price": "120.00000000",
        "qty": "0.50000000",
        "quoteQty": "60.00000000",
        "time": START_MS + 12_400,
        "isBuyerMaker": True,
        "isBestMatch": True,
    }
    path = "/api/v3/historicalTrades?symbol=BTCUSDT"
    assert [row["id"] for row in stand.rows(f"{path}&fromId=5&limit=3")] == [5, 6, 7]
    assert [row["id"] for row in stand.rows(f"{path}&fromId=0&limit=2")] == [1, 2]
    assert [row["id"] for row in stand.rows(path)] == list(range(1, 21))
    assert stand.rows(f"{path}&fromId=21") == []


def test_each_venue_has_its_own_symbols_and_the_bare_routes_the_first(stand: Stand) -> None:
    """BTCUSD and BTCUSDT of both venues; the bare routes answer for the first source that lists a symbol."""
    ours = trades_at([START_MS + 1_000], first_id=70, key=("sim-coinbase", "BTCUSDT"))
    others = trades_at([START_MS + 1_000], first_id=80, key=("sim-coinbase", "BTCUSD"))
    stand.finished([*ours, *others])
    stand.caught_up()

    def listed_by(venue: str) -> list[tuple[str, str]]:
        rows = stand.rows(f"{venue}/api/v3/exchangeInfo")["symbols"]
        return [(row["baseAsset"], row["quoteAsset"]) for row in rows]

    assert listed_by("") == [("BTC", "USD"), ("BTC", "USDT")]
    assert listed_by("/binance") == [("BTC", "USDT")]
    assert listed_by("/coinbase") == [("BTC", "USD"), ("BTC", "USDT")]
    end = f"endTime={START_MS + 1_000}&limit=1"
    rows = {
        venue: stand.rows(f"{venue}/api/v3/klines?symbol=BTCUSDT&interval=1s&{end}")[0][1]
        for venue in ("", "/binance", "/coinbase")
    }
    assert rows[""] == rows["/binance"] != rows["/coinbase"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/v3/klines?symbol=NOPE&interval=1s", 400, -1121),
        ("/api/v3/klines?symbol=BTCUSDT&interval=2s", 400, -1120),
        ("/api/v3/klines?interval=1s", 400, -1102),
        ("/api/v3/klines?symbol=%ff&interval=1s", 400, -1100),
        ("/api/v3/depth?symbol=BTCUSDT", 400, -1020),
        ("/coinbase/api/v3/aggTrades?symbol=BTCUSDT", 400, -1020),
        ("/api/v3/ticker/bookTicker", 400, -1020),
        ("/api/v3/account", 401, -2014),
        ("/api/v3/myTrades?symbol=BTCUSDT", 401, -2014),
        ("/binance/api/v3/order", 401, -2014),
    ],
)
def test_what_is_wrong_or_not_there_is_said_in_binances_form(stand: Stand, path: str, status: int, code: int) -> None:
    """A status, a code and words."""
    answered, _, body = stand.get(path)
    assert (answered, body["code"]) == (status, code)
    assert body["msg"]


def test_other_methods_and_unknown_addresses_are_refused(stand: Stand) -> None:
    """405 says what is allowed; an order without a key is refused as one; nothing is found where nothing is."""
    status, headers, _ = stand.get("/api/v3/klines", method="POST")
    assert (status, headers["Allow"]) == (405, "GET")
    assert stand.get("/api/v3/order", method="POST")[0] == 401
    assert stand.get("/api/v3/order", {"X-MBX-APIKEY": "x"}, method="DELETE")[2]["code"] == -2015
    status, _, body = stand.get("/api/v3/nope")
    assert (status, body) == (404, "<html><body><h2>404 Not found</h2></body></html>")


def test_each_answer_tells_the_weight_used(stand: Stand) -> None:
    """X-MBX-USED-WEIGHT-1M adds up, also of refused requests."""
    assert stand.get("/api/v3/ping")[1]["X-MBX-USED-WEIGHT-1M"] == "1"
    assert stand.get("/api/v3/klines?symbol=NOPE&interval=1s")[1]["X-MBX-USED-WEIGHT-1M"] == "3"
    assert stand.rows("/api/v3/ping") == {}


def test_every_route_is_described(stand: Stand) -> None:
    """OpenAPI has each path of each venue, with every status."""
    paths = stand.rows("/openapi.json")["paths"]
    assert {"/api/v3/klines", "/binance/api/v3/ticker/24hr", "/coinbase/api/v3/historicalTrades"} <= paths.keys()
    assert {"200", "400", "401", "429", "503"} <= paths["/api/v3/klines"]["get"]["responses"].keys()


def test_days_can_begin_by_another_clock(stand: Stand) -> None:
    """timeZone=8: a day of UTC+8 is made of the end of one day of UTC and the beginning of the next."""
    hour = 3_600_000
    times = [START_MS + hour * number for number in range(1, 60, 3)]
    trades = trades_at(times, first_id=21)
    stand.finished([one for one in stand.trades if one.timestamp >= START_MS + 10_000] + trades)
    stand.trades += trades
    stand.stop_clock(times[-1] + 1_500)
    stand.caught_up()
    days = listed(stand.trades, times[-1] + 1_000, 24 * hour, 16 * hour)
    finished = [(bar.timestamp, f"{bar.volume:.8f}") for bar in days[:-1]]
    for parameters in ({"startTime": 0}, {"endTime": finished[-1][0]}):
        rows = stand.klines(interval="1d", timeZone="8", **parameters)
        assert [(row[0], row[5]) for row in rows][: len(finished)] == finished
