"""Prices, averages and days of symbols over REST, asked over HTTP: of a real table and a real Redis."""

from __future__ import annotations

from decimal import Decimal

from market.bar import bars_of
from tests.serve.binance.made import START_MS, trade, trades_at
from tests.serve.binance.stand import Stand
from tests.support import eventually

BAD = {"code": -1121, "msg": "Invalid symbol."}


def test_prices_are_of_one_symbol_of_some_or_of_all(stand: Stand) -> None:
    """One is an object, and many are a list; unknown ones are refused."""
    stand.told([trade(1, START_MS, price="3.5", key=("sim-coinbase", "ETHUSD"))])
    bitcoin, ether = ({"symbol": "BTCUSDT", "price": "120.00000000"}, {"symbol": "ETHUSD", "price": "3.50000000"})
    assert stand.rows("/api/v3/ticker/price?symbol=BTCUSDT") == bitcoin
    assert stand.rows("/api/v3/ticker/price") == [bitcoin, ether]
    assert stand.rows('/api/v3/ticker/price?symbols=["ETHUSD","BTCUSDT"]') == [ether, bitcoin]
    assert stand.rows("/coinbase/api/v3/ticker/price") == [ether]
    assert stand.rows("/api/v3/ticker/price?symbolStatus=HALT") == []
    assert stand.get("/api/v3/ticker/price?symbol=ETHUSD&symbolStatus=HALT")[2]["code"] == -1220
    assert stand.get("/binance/api/v3/ticker/price?symbol=ETHUSD")[2] == BAD
    assert stand.get('/api/v3/ticker/price?symbols=["BTCUSDT","NOPE"]')[2] == BAD


def test_the_average_is_that_of_five_minutes(stand: Stand) -> None:
    """Quote volume by volume of all trades in them; the time is that of the last one."""
    (bar,) = bars_of(stand.trades, 3_600_000)
    expected = {"mins": 5, "price": f"{bar.vwap:.8f}", "closeTime": START_MS + 12_400}
    eventually(lambda: stand.rows("/api/v3/avgPrice?symbol=BTCUSDT") == expected)
    stand.stop_clock(START_MS + 12_500 + 300_000)
    late = {"mins": 5, "price": "120.00000000", "closeTime": START_MS + 12_400}
    assert stand.rows("/api/v3/avgPrice?symbol=BTCUSDT") == late


def test_the_day_is_that_of_all_its_trades(stand: Stand) -> None:
    """First to last, with the last quantity; in short, or at length; of one symbol, or a list."""
    (bar,) = bars_of(stand.trades, 86_400_000)
    path = "/api/v3/ticker/24hr?symbol=BTCUSDT"
    eventually(lambda: stand.rows(path)["count"] == len(stand.trades))
    day = stand.rows(path)
    assert (day["openPrice"], day["highPrice"], day["lowPrice"]) == tuple(
        f"{price:.8f}" for price in (bar.open, bar.high, bar.low)
    )
    assert (day["lastPrice"], day["lastQty"], day["volume"]) == ("120.00000000", "0.50000000", f"{bar.volume:.8f}")
    assert (day["firstId"], day["lastId"], day["closeTime"]) == (1, 20, START_MS + 12_500)
    assert day["closeTime"] - 86_460_000 < day["openTime"] <= day["closeTime"] - 86_400_000
    assert Decimal(day["priceChange"]) == bar.close - bar.open
    mini = stand.rows(f"{path}&type=MINI")
    assert mini == {name: day[name] for name in mini}
    assert stand.rows("/api/v3/ticker/24hr") == [day]


def test_a_day_ends_with_the_minutes_that_leave_it(stand: Stand) -> None:
    """A day later nobody has traded; the price is the last one, and there is one before."""
    stand.finished(trades_at([START_MS + 70_000], first_id=21))
    stand.caught_up()
    stand.stop_clock(START_MS + 86_400_000 + 120_000)
    day = stand.rows("/api/v3/ticker/24hr?symbol=BTCUSDT")
    assert (day["count"], day["volume"], day["lastPrice"]) == (0, "0.00000000", "120.00000000")
    assert day["prevClosePrice"] != "0.00000000"


def test_the_days_of_all_symbols_are_one_question_to_redis(stand: Stand) -> None:
    """However many there are: what it reads at once is counted by itself."""
    names = [f"S{number:02}USDT" for number in range(80)]
    for name in names:
        trades = trades_at([START_MS + 10_100], key=("sim-binance", name))
        stand.told(trades)
    stand.finished([one for one in stand.trades if one.timestamp >= START_MS + 10_000])
    stand.caught_up()
    stand.rows("/api/v3/ticker/24hr")  # what runs of each symbol is read once
    before = stand.redis.client.info("stats")["total_reads_processed"]
    rows = stand.rows("/api/v3/ticker/24hr")
    after = stand.redis.client.info("stats")["total_reads_processed"]
    assert [row["symbol"] for row in rows] == ["BTCUSDT", *names]
    assert after - before < len(names) / 2
