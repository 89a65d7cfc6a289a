"""What Binance's routes answer: names, order, forms of numbers, as binance-spot-api-docs, "REST API", shows them."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from market.bar import bars_of
from market.trade import Trade
from serve.binance import openapi, shapes
from serve.binance.rest import ROUTES
from serve.binance.shapes import Change, Day, day_row
from serve.binance.symbols import assets_of, source_of, sources_of, with_others
from serve.marks import quiet
from tests.serve.binance.made import START_MS

DAY_MS = 86_400_000

# Three trades of one second, two of them bought by their takers; the products have more than 8 decimals.
TRADES = [
    Trade("binance", "BNBBTC", "0.0010", "100", START_MS + 1, 100, True),
    Trade("binance", "BNBBTC", "0.00250001", "3.33333333", START_MS + 2, 101, False),
    Trade("binance", "BNBBTC", "2e-3", "7", START_MS + 3, 102, False),
]
(BAR,) = bars_of(TRADES)


def test_a_kline_is_a_row_of_twelve() -> None:
    """Open time, four prices, volume, close time, quote volume, trades, taker buys, and a field to ignore."""
    assert json.loads(shapes.kline_row(BAR, 1_000, 1_000)) == [
        START_MS,
        "0.00100000",
        "0.00250001",
        "0.00100000",
        "0.00200000",
        "110.33333333",
        START_MS + 999,
        "0.12233336",
        3,
        "10.33333333",
        "0.02233336",
        "0",
    ]


def test_in_microseconds_a_kline_ends_at_999999() -> None:
    """As in Binance's public files since 2025."""
    row = json.loads(shapes.kline_row(BAR, 60_000, 1))
    assert (row[0], row[6]) == (START_MS * 1_000, START_MS * 1_000 + 59_999_999)


def test_a_quiet_kline_has_zeros_with_eight_decimals() -> None:
    """At the close before; no trade."""
    row = json.loads(shapes.kline_row(quiet(START_MS + 1_000, BAR), 1_000, 1_000))
    zero, price = "0.00000000", "0.00200000"
    assert row == [START_MS + 1_000, price, price, price, price, zero, START_MS + 1_999, zero, 0, zero, zero, "0"]


def test_a_trade_has_its_value_cut_at_eight_decimals() -> None:
    """`quoteQty`: 1,000 of 1,000 recorded rows are cut, 528 would agree with rounding."""
    first, second, third = json.loads(shapes.trade_rows(TRADES, 1_000))
    assert second == {
        "id": 101,
        "price": "0.00250001",
        "qty": "3.33333333",
        "quoteQty": "0.00833336",
        "time": START_MS + 2,
        "isBuyerMaker": False,
        "isBestMatch": True,
    }
    assert list(second) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]
    assert (first["isBuyerMaker"], third["price"]) == (True, "0.00200000")
    assert json.loads(shapes.trade_rows(TRADES, 1))[0]["time"] == (START_MS + 1) * 1_000
    assert shapes.trade_rows([], 1_000) == b"[]"


def test_a_price_and_an_average_are_as_they_are_shown() -> None:
    """`{"symbol","price"}`, and minutes, price and the time of the last trade."""
    assert shapes.price_row("LTCBTC", "4.000002") == {"symbol": "LTCBTC", "price": "4.00000200"}
    expected = {"mins": 5, "price": "9.35751834", "closeTime": 1_694_061_154_503}
    assert shapes.average(Decimal("9.35751834"), 1_694_061_154_503, 1_000) == expected


DAY = Day("BNBBTC", START_MS - DAY_MS, START_MS + 5, BAR, Decimal("0.0009"), Decimal("0.0025"), Decimal("7"))


def test_a_day_at_length_has_every_field_in_order() -> None:
    """Response FULL. Of the order book trades tell nothing: it is shown empty."""
    row = day_row(DAY, 1_000, mini=False)
    zero = "0.00000000"
    assert list(row.items()) == [
        ("symbol", "BNBBTC"),
        ("priceChange", "0.00150000"),
        ("priceChangePercent", "150.000"),
        ("weightedAvgPrice", "0.00110876"),
        ("prevClosePrice", "0.00090000"),
        ("lastPrice", "0.00250000"),
        ("lastQty", "7.00000000"),
        ("bidPrice", zero),
        ("bidQty", zero),
        ("askPrice", zero),
        ("askQty", zero),
        ("openPrice", "0.00100000"),
        ("highPrice", "0.00250001"),
        ("lowPrice", "0.00100000"),
        ("volume", "110.33333333"),
        ("quoteVolume", "0.12233336"),
        ("openTime", START_MS - DAY_MS),
        ("closeTime", START_MS + 5),
        ("firstId", 100),
        ("lastId", 102),
        ("count", 3),
    ]


def test_a_day_in_short_has_its_own_order() -> None:
    """Response MINI."""
    assert list(day_row(DAY, 1, mini=True)) == [
        *("symbol", "openPrice", "highPrice", "lowPrice", "lastPrice", "volume", "quoteVolume"),
        *("openTime", "closeTime", "firstId", "lastId", "count"),
    ]
    assert day_row(DAY, 1, mini=True)["closeTime"] == (START_MS + 5) * 1_000


def test_a_day_without_trades_is_zeros_and_the_last_price() -> None:
    """As the exchange shows symbols in which nobody trades."""
    row = day_row(DAY._replace(traded=None, last_quantity=None), 1_000, mini=False)
    assert (row["firstId"], row["lastId"], row["count"]) == (-1, -1, 0)
    assert (row["lastPrice"], row["openPrice"], row["priceChangePercent"]) == ("0.00250000", "0.00000000", "0.000")
    nothing = DAY._replace(traded=None, before=None, last_price=None, last_quantity=None)
    assert day_row(nothing, 1_000, mini=False)["lastPrice"] == "0.00000000"


@pytest.mark.parametrize(
    ("price", "from_price", "percent"),
    [
        ("-94.999998", "99", "-95.960"),  # the documentation's own example
        ("0.0000001", "100", "0.000"),
        ("-0.0000001", "100", "0.000"),  # no zero has a sign
        ("0.0005", "100", "0.001"),  # half up
        ("0", "0", "0.000"),
    ],
)
def test_a_change_has_three_decimals(price: str, from_price: str, percent: str) -> None:
    """Of a percent."""
    assert Change(Decimal(price), Decimal(from_price)).percent(3) == percent


def test_the_listing_tells_what_clients_choose_by() -> None:
    """Symbols with their assets; all of them trade; ticks and lots of 8 decimals, since trades tell no others."""
    info = shapes.exchange_info([("BTCUSD", "coinbase")], START_MS, 1_000, permission_sets=True)
    assert (info["timezone"], info["serverTime"], info["exchangeFilters"]) == ("UTC", START_MS, [])
    (symbol,) = info["symbols"]
    assert (symbol["symbol"], symbol["baseAsset"], symbol["quoteAsset"]) == ("BTCUSD", "BTC", "USD")
    assert (symbol["status"], symbol["permissionSets"]) == ("TRADING", [["SPOT"]])
    assert {row["filterType"]: row.get("tickSize") or row.get("stepSize") for row in symbol["filters"]} == {
        "PRICE_FILTER": "0.00000001",
        "LOT_SIZE": "0.00000001",
    }
    hidden = shapes.exchange_info([("BTCUSD", "coinbase")], START_MS, 1, permission_sets=False)
    assert (hidden["symbols"][0]["permissionSets"], hidden["serverTime"]) == ([], START_MS * 1_000)


@pytest.mark.parametrize(
    ("exchange", "symbol", "base", "quote"),
    [
        ("binance", "BTCUSDT", "BTC", "USDT"),
        ("sim-binance", "ETHBTC", "ETH", "BTC"),
        ("binance", "BTCFDUSD", "BTC", "FDUSD"),
        ("binance", "1000SATSUSDC", "1000SATS", "USDC"),
        ("binance", "QTUMETH", "QTUM", "ETH"),
        ("coinbase", "BTCUSD", "BTC", "USD"),
        ("coinbase", "USDTUSD", "USDT", "USD"),  # not USD against TUSD
        ("sim-coinbase", "BANDGBP", "BAND", "GBP"),
        ("coinbase", "USDTUSDC", "USDT", "USDC"),
        ("binance", "USDT", "U", "SDT"),  # nothing known: something
        ("binance", "AB", "A", "B"),
    ],
)
def test_a_symbol_is_parted_by_its_quote(exchange: str, symbol: str, base: str, quote: str) -> None:
    """The longest quote that is known on the exchange."""
    assert assets_of(exchange, symbol) == (base, quote)


def test_bare_routes_ask_the_first_source_and_a_venues_routes_its_exchange() -> None:
    """In the order of `market.trade.EXCHANGES`; a simulated exchange answers where the real one does not."""
    listed = {"BTCUSDT": ["binance-usdm", "sim-binance"], "BTCUSD": ["sim-coinbase", "coinbase"], "ETHBTC": ["binance"]}
    assert sources_of("", listed) == {"BTCUSD": "coinbase", "BTCUSDT": "binance-usdm", "ETHBTC": "binance"}
    assert sources_of("/binance", listed) == {"BTCUSDT": "sim-binance", "ETHBTC": "binance"}
    assert sources_of("/coinbase", listed) == {"BTCUSD": "coinbase"}
    assert source_of("/coinbase", ["binance"]) is None
    both = with_others(listed, [("binance", "ETHBTC"), ("coinbase", "XRPUSD")])
    assert (both["ETHBTC"], both["XRPUSD"]) == (["binance"], ["coinbase"])


def test_every_route_describes_itself() -> None:
    """Parameters, the answer, and every status that it can have."""
    for path, route in ROUTES.items():
        names = [parameter["name"] for parameter in openapi.parameters(route.parameters)]
        assert names == [*(name.rstrip("!") for name in route.parameters), "X-MBX-TIME-UNIT"]
        assert set(openapi.responses(path)) == {200, 400, 401, 429, 503}
