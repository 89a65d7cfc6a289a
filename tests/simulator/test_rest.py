from __future__ import annotations

from decimal import ROUND_DOWN, Decimal
from typing import Any

import pytest

from simulator.clock import parse_us
from tests.simulator.clients import START_US

START_MS = START_US // 1000


def cut(price: str, quantity: str) -> Decimal:
    return (Decimal(price) * Decimal(quantity)).quantize(Decimal("1e-8"), rounding=ROUND_DOWN)


def test_binance_tells_that_it_is_there_and_its_time(get: Any) -> None:
    """/ping is empty, /time in ms, /healthz says it is serving; the weight used is in the header and adds up."""
    ping, time, health = get("/api/v3/ping", "/api/v3/time", "/healthz")
    assert (ping[0], ping[2]) == (200, {})
    assert START_MS <= time[2]["serverTime"] < START_MS + 1000
    assert (health[0], health[2]["status"]) == (200, "serving")
    assert (ping[1]["X-MBX-USED-WEIGHT-1M"], time[1]["X-MBX-USED-WEIGHT-1M"]) == ("1", "2")


def test_binance_lists_its_markets(get: Any) -> None:
    """All of them, one, or some, with the fields by which clients choose."""
    everything, one, some = get(
        "/api/v3/exchangeInfo",
        "/api/v3/exchangeInfo?symbol=ETHBTC",
        '/api/v3/exchangeInfo?symbols=["BTCUSDT","SHIBUSDT"]',
    )
    assert len(everything[2]["symbols"]) >= 20
    assert [(row["symbol"], row["baseAsset"], row["quoteAsset"], row["status"]) for row in one[2]["symbols"]] == [
        ("ETHBTC", "ETH", "BTC", "TRADING")
    ]
    assert [row["symbol"] for row in some[2]["symbols"]] == ["BTCUSDT", "SHIBUSDT"]


def test_binance_lists_trades_from_an_id(get: Any) -> None:
    """historicalTrades starts at fromId, oldest first; /trades are the newest; quoteQty is cut at 8 decimals."""
    (_, _, newest), (_, _, few) = get("/api/v3/trades?symbol=ETHBTC&limit=1000", "/api/v3/trades?symbol=ETHBTC&limit=2")
    assert [row["id"] for row in newest] == list(range(newest[0]["id"], newest[0]["id"] + 1000))
    assert few == newest[-2:]
    assert newest[-1]["time"] <= START_MS + 1
    assert all(Decimal(row["quoteQty"]) == cut(row["price"], row["qty"]) for row in newest)
    assert any(Decimal(row["quoteQty"]) != Decimal(row["price"]) * Decimal(row["qty"]) for row in newest)
    names = ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]
    assert list(newest[0]) == names
    first = newest[500]["id"]
    (_, _, page), (_, _, default) = get(
        f"/api/v3/historicalTrades?symbol=ETHBTC&fromId={first}&limit=3",
        f"/api/v3/historicalTrades?symbol=ETHBTC&fromId={first - 1000}",
    )
    assert page == newest[500:503]
    assert len(default) == 500


@pytest.mark.parametrize("symbol", ["BTCUSDT", "ETHBTC", "QTUMETH"])
@pytest.mark.parametrize("interval", ["1s", "1m"])
def test_klines_equal_the_listed_trades(get: Any, symbol: str, interval: str) -> None:
    """Klines are, field by field, what the trades of historicalTrades add up to; quiet intervals stand at the close."""
    width_ms = {"1s": 1000, "1m": 60_000}[interval]
    (_, _, newest), (_, _, klines) = get(
        f"/api/v3/trades?symbol={symbol}&limit=1000", f"/api/v3/klines?symbol={symbol}&interval={interval}&limit=1000"
    )
    opens = [kline[0] for kline in klines]
    assert opens == list(range(opens[0], opens[0] + 1000 * width_ms, width_ms))
    assert opens[-1] == START_MS - START_MS % width_ms
    known = [kline for kline in klines if newest[0]["time"] < kline[0]]
    close = [row for row in newest if row["time"] < known[0][0]][-1]["price"]
    for kline in known:
        inside = [row for row in newest if kline[0] <= row["time"] < kline[0] + width_ms]
        assert kline[6] == kline[0] + width_ms - 1
        if inside:
            prices = [Decimal(row["price"]) for row in inside]
            taker = [row for row in inside if not row["isBuyerMaker"]]
            assert [Decimal(text) for text in kline[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
            assert Decimal(kline[5]) == sum(Decimal(row["qty"]) for row in inside)
            assert Decimal(kline[7]) == sum(cut(row["price"], row["qty"]) for row in inside)
            assert kline[8] == len(inside)
            assert Decimal(kline[9]) == sum(Decimal(row["qty"]) for row in taker)
            assert Decimal(kline[10]) == sum(cut(row["price"], row["qty"]) for row in taker)
        else:
            zero = "0.00000000"
            assert kline[1:6] + kline[7:] == [close, close, close, close, zero, zero, 0, zero, zero, "0"]
        close = kline[4]


def test_klines_are_chosen_by_their_open_time(get: Any) -> None:
    """Start and end count inclusively; a start gives the oldest first, an end alone the newest; 500 by default."""
    url = "/api/v3/klines?symbol=BTCUSDT&interval=1s"
    minute_ms = START_MS - 30_000
    answers = get(
        f"{url}&startTime={minute_ms}&endTime={minute_ms + 5000}",
        f"{url}&startTime={minute_ms + 1}&limit=3",
        f"{url}&endTime={minute_ms + 999}&limit=3",
        f"{url}&startTime={minute_ms}&endTime={minute_ms - 1}",
        f"{url}&startTime={minute_ms * 1000}&limit=1",
        url,
        f"{url}&limit=5000",
        f"{url}&startTime={START_MS + 60_000}",
    )
    opens = [[kline[0] - minute_ms for kline in body] for _, _, body in answers]
    assert opens[:5] == [[0, 1000, 2000, 3000, 4000, 5000], [1000, 2000, 3000], [-2000, -1000, 0], [], [0]]
    assert [len(rows) for rows in opens[5:]] == [500, 1000, 0]


def test_binance_answers_in_microseconds_where_asked_for(get: Any) -> None:
    """X-MBX-TIME-UNIT: MICROSECOND switches all times; a kline then ends at …999999."""
    (_, _, klines), (_, _, trades) = get(
        "/api/v3/klines?symbol=BTCUSDT&interval=1s&limit=1",
        "/api/v3/trades?symbol=BTCUSDT&limit=1",
        headers={"X-MBX-TIME-UNIT": "MICROSECOND"},
    )
    assert (klines[0][0], klines[0][6]) == (START_US, START_US + 999_999)
    assert START_US - 60_000_000 < trades[0]["time"] <= START_US + 1_000_000


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("klines?symbol=NOPE&interval=1s", -1121, "Invalid symbol."),
        (
            "klines?symbol=btcusdt&interval=1s",
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        ),
        ("klines?interval=1s", -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."),
        ("klines?symbol=BTCUSDT", -1102, "Mandatory parameter 'interval' was not sent, was empty/null, or malformed."),
        ("klines?symbol=BTCUSDT&interval=7s", -1120, "Invalid interval."),
        (
            "trades?symbol=BTCUSDT&limit=x",
            -1100,
            "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "historicalTrades?symbol=BTCUSDT&fromId=-1",
            -1100,
            "Illegal characters found in parameter 'fromId'; legal range is '^[0-9]{1,20}$'.",
        ),
        (
            "exchangeInfo?symbols=BTCUSDT",
            -1100,
            "Illegal characters found in parameter 'symbols'; "
            """legal range is '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$'.""",
        ),
        (
            "historicalTrades?fromId=1",
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        ("historicalTrades?symbol=NOPE&fromId=1", -1121, "Invalid symbol."),
        ("historicalTrades?symbol=BTCUSDT&limit=0", -1130, "Data sent for parameter 'limit' is not valid."),
        ("aggTrades?symbol=BTCUSDT&startTime=", -1105, "Parameter 'startTime' was empty."),
        ("aggTrades?symbol=BTCUSDT&fromId=1&endTime=2", -1128, "Combination of optional parameters invalid."),
        ("ticker/price?symbol=BTCUSDT&symbols=[]", -1128, "Combination of optional parameters invalid."),
        ("trades?symbol=BTCUSDT&symbol=BTCUSDT", -1101, "Duplicate values for a parameter detected."),
        ("time?symbol=BTCUSDT", -1101, "Too many parameters; expected '0' and received '1'."),
        (
            "historicalTrades?symbol=BTCUSDT&startTime=1",
            -1104,
            "Not all sent parameters were read; read '1' parameter(s) but was sent '2'.",
        ),
        ("trades?symbol=BTCUSDT&limit=0", -1130, "Data sent for parameter 'limit' is not valid."),
        ("historicalTrades?symbol=BTCUSDT&fromId=", -1105, "Parameter 'fromId' was empty."),
        ('exchangeInfo?symbols=["BTCUSDT","NOPE"]', -1121, "Invalid symbol."),
    ],
)
def test_binance_answers_mistakes_with_400_a_code_and_a_message(get: Any, path: str, code: int, message: str) -> None:
    """Each mistake has its documented code."""
    ((status, _, body),) = get(f"/api/v3/{path}")
    assert (status, body) == (400, {"code": code, "msg": message})


def test_coinbase_lists_its_products_and_its_time(get: Any) -> None:
    """/products has ids and currencies, /time both forms of the time; what is not there is 404."""
    products, one, time, missing = get("/products", "/products/USDT-USD", "/time", "/products/XXX-USD/trades")
    assert len(products[2]) >= 8
    row = one[2]
    assert (row["id"], row["base_currency"], row["quote_currency"], row["status"]) == (
        "USDT-USD",
        "USDT",
        "USD",
        "online",
    )
    assert row in products[2]
    assert abs(parse_us(time[2]["iso"]) - START_US) < 1_000_000
    assert abs(float(time[2]["epoch"]) - START_US / 1e6) < 1.0
    assert (missing[0], missing[2]) == (404, {"message": "NotFound"})


def test_coinbase_pages_trades_downwards(get: Any) -> None:
    """Newest first; CB-BEFORE is the newest id, CB-AFTER the oldest; `after` gives lower ids, `before` the newest."""
    ((_, headers, newest),) = get("/products/BTC-USD/trades?limit=100")
    ids = [row["trade_id"] for row in newest]
    assert ids == list(range(ids[0], ids[0] - 100, -1))
    assert (headers["CB-BEFORE"], headers["CB-AFTER"]) == (str(ids[0]), str(ids[-1]))
    assert list(newest[0]) == ["trade_id", "side", "size", "price", "time"]
    (_, _, below), (_, _, above) = get(
        f"/products/BTC-USD/trades?limit=10&after={ids[49]}", f"/products/BTC-USD/trades?limit=10&before={ids[20]}"
    )
    assert below == newest[50:60]
    assert [row["trade_id"] for row in above] == list(range(above[0]["trade_id"], above[0]["trade_id"] - 10, -1))
    assert above[0]["trade_id"] >= ids[0]


def test_candles_equal_the_listed_trades(get: Any) -> None:
    """[time, low, high, open, close, volume], newest first, exact, and no row for a minute without trades."""
    (_, _, trades), (_, _, candles) = get(
        "/products/BAND-GBP/trades?limit=500", "/products/BAND-GBP/candles?granularity=60"
    )
    times = [candle[0] for candle in candles]
    assert times == sorted(times, reverse=True)
    assert len(times) < 300
    expected = []
    for time in sorted({parse_us(row["time"]) // 60_000_000 * 60 for row in trades}, reverse=True):
        inside = [row for row in reversed(trades) if parse_us(row["time"]) // 60_000_000 * 60 == time]
        prices = [Decimal(row["price"]) for row in inside]
        volume = sum(Decimal(row["size"]) for row in inside)
        expected.append([time, min(prices), max(prices), prices[0], prices[-1], volume])
    assert candles == [row for row in expected if row[0] > START_US // 1_000_000 - 300 * 60]


def test_coinbase_refuses_too_many_candles_and_other_widths(get: Any) -> None:
    """At most 300 candles; unknown widths are refused."""
    many, odd, some = get(
        "/products/BTC-USD/candles?granularity=60&start=2024-01-01T00:00:00Z&end=2024-01-01T06:00:00Z",
        "/products/BTC-USD/candles?granularity=61",
        "/products/BTC-USD/candles?granularity=60&start=2024-01-01T00:00:00Z&end=2024-01-01T00:09:00Z",
    )
    assert many[0] == 400
    assert many[2]["message"].endswith("exceeds 300")
    assert (odd[0], odd[2]) == (400, {"message": "Unsupported granularity"})
    assert len(some[2]) == 10
