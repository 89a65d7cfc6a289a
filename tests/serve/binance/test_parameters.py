"""Requests to Binance's routes, read as Binance reads them, and its errors with their codes and words.

Where no other source is named, an error is from binance-spot-api-docs, "Error codes for Binance". Which of several
mistakes is told was seen at the exchange, as public code has recorded it (the requests marked with *).
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qsl

import pytest

from market.widths import LATEST_MS
from serve.binance import query
from serve.binance.errors import BinanceError, not_authorized, unsupported
from serve.binance.parameters import Symbols
from serve.binance.query import KlinesQuery, TradesQuery

Read = Callable[[list[tuple[str, str]]], object]

READERS: dict[str, Read] = {
    "ping": query.nothing_query,
    "exchangeInfo": query.info_query,
    "klines": query.klines_query,
    "trades": query.trades_query,
    "historicalTrades": query.historical_trades_query,
    "avgPrice": query.symbol_query,
    "ticker/price": query.price_query,
    "ticker/24hr": query.day_query,
}

MANDATORY = "Mandatory parameter '{}' was not sent, was empty/null, or malformed."
ILLEGAL = "Illegal characters found in parameter '{}'; legal range is '{}'."
DIGITS = "^[0-9]{1,20}$"
SYMBOL = r"^[\w\-._&&[^a-z]]{1,50}$"
SYMBOLS = r'^\[("[\w\-._&&[^a-z]]{1,50}"(,"[\w\-._&&[^a-z]]{1,50}"){0,}){0,1}\]$'


def asked(request: str) -> object:
    """A request as it is written in an address, read."""
    path, _, sent = request.partition("?")
    return READERS[path](parse_qsl(sent, keep_blank_values=True))


@pytest.mark.parametrize(
    ("request_", "code", "message"),
    [
        # *
        ("ticker/24hr?limit=1", -1104, "Not all sent parameters were read; read '0' parameter(s) but was sent '1'."),
        ("ticker/24hr?limit=1&limit=2", -1101, "Duplicate values for a parameter detected."),
        ("ticker/24hr?symbol=BNBBTC&symbol=BNBBTC", -1101, "Duplicate values for a parameter detected."),
        (
            "ticker/24hr?symbola=BNBBTC",
            -1104,
            "Not all sent parameters were read; read '0' parameter(s) but was sent '1'.",
        ),
        ("trades?symbol=BNBBTC&limit=-1", -1100, ILLEGAL.format("limit", DIGITS)),
        ("historicalTrades?symbol=BNBBTC&fromId=-1", -1100, ILLEGAL.format("fromId", DIGITS)),
        ("klines", -1102, MANDATORY.format("symbol")),
        ("klines?symbol=BNBBTC", -1102, MANDATORY.format("interval")),
        ("klines?fromId=1", -1102, MANDATORY.format("symbol")),
        (
            "klines?fromId=1&symbol=BNBBTC&interval=1h",
            -1104,
            "Not all sent parameters were read; read '2' parameter(s) but was sent '3'.",
        ),
        # python-binance#419: a client that sends None
        ("klines?symbol=BNBBTC&interval=1h&endTime=None", -1100, ILLEGAL.format("endTime", DIGITS)),
        # binance-connector-go, python-binance: symbols in lower case or with blanks
        ("klines?symbol=btcusdt&interval=1h", -1100, ILLEGAL.format("symbol", SYMBOL)),
        ("klines?symbol=BTC/USDT&interval=1h", -1100, ILLEGAL.format("symbol", SYMBOL)),
        ("ticker/price?symbol=send error", -1100, ILLEGAL.format("symbol", SYMBOL)),
        ("ticker/price?symbols=BTCUSDT", -1100, ILLEGAL.format("symbols", SYMBOLS)),
        ('ticker/price?symbols=["BTCUSDT", "ETHUSDT"]', -1100, ILLEGAL.format("symbols", SYMBOLS)),
        # the rest: one of each
        ("ping?symbol=BTCUSDT", -1101, "Too many parameters; expected '0' and received '1'."),
        ("avgPrice?symbol=BTCUSDT&limit=1", -1101, "Too many parameters; expected '1' and received '2'."),
        ("avgPrice?symbol=", -1102, MANDATORY.format("symbol")),
        ("klines?symbol=BNBBTC&interval=1h&limit=", -1105, "Parameter 'limit' was empty."),
        ("ticker/price?symbol=", -1105, "Parameter 'symbol' was empty."),
        ("klines?symbol=BNBBTC&interval=7s", -1120, "Invalid interval."),
        ("klines?symbol=BNBBTC&interval=1M", -1120, "Invalid interval."),
        ("klines?symbol=BNBBTC&interval=1S", -1120, "Invalid interval."),
        ("klines?symbol=BNBBTC&interval=1h&limit=0", -1130, "Data sent for parameter 'limit' is not valid."),
        ("klines?symbol=BNBBTC&interval=1h&limit=1.5", -1100, ILLEGAL.format("limit", DIGITS)),
        ("klines?symbol=BNBBTC&interval=1h&limit=٣", -1100, ILLEGAL.format("limit", DIGITS)),
        (
            "klines?symbol=BNBBTC&interval=1h&startTime=99999999999999999999",
            -1130,
            "Data sent for parameter 'startTime' is not valid.",
        ),
        ("klines?symbol=BNBBTC&interval=1h&startTime=1e3", -1100, ILLEGAL.format("startTime", DIGITS)),
        ("klines?symbol=BNBBTC&interval=1d&timeZone=15", -1130, "Data sent for parameter 'timeZone' is not valid."),
        ("klines?symbol=BNBBTC&interval=1d&timeZone=-12:15", -1130, "Data sent for parameter 'timeZone' is not valid."),
        ("klines?symbol=BNBBTC&interval=1d&timeZone=UTC", -1130, "Data sent for parameter 'timeZone' is not valid."),
        ("klines?symbol=BNBBTC&interval=1d&timeZone=1:07", -1130, "Data sent for parameter 'timeZone' is not valid."),
        ('ticker/price?symbol=BTCUSDT&symbols=["BTCUSDT"]', -1128, "Combination of optional parameters invalid."),
        ('ticker/price?symbols=["A1","A1"]', -1151, "Symbol is present multiple times in the list."),
        ("ticker/price?symbolStatus=OPEN", -1122, "Invalid symbolStatus."),
        ("ticker/24hr?type=mini", -1139, "Invalid ticker type."),
        ("exchangeInfo?symbol=BTCUSDT&permissions=SPOT", -1128, "Combination of optional parameters invalid."),
        ("exchangeInfo?symbol=BTCUSDT&symbolStatus=TRADING", -1128, "Combination of optional parameters invalid."),
        ("exchangeInfo?permissions=[]", -1130, "Data sent for parameter 'permissions' is not valid."),
        ("exchangeInfo?permissions=[1]", -1130, "Data sent for parameter 'permissions' is not valid."),
        ("exchangeInfo?showPermissionSets=2", -1130, "Data sent for parameter 'showPermissionSets' is not valid."),
    ],
)
def test_each_mistake_has_binances_code_and_words(request_: str, code: int, message: str) -> None:
    """Status 400, and the body that clients of Binance know."""
    with pytest.raises(BinanceError) as refused:
        asked(request_)
    assert (refused.value.status, refused.value.body()) == (400, {"code": code, "msg": message})


def test_klines_have_defaults_and_a_limit() -> None:
    """500 rows; more than 1,000 are not refused, they are 1,000; the newest without a time."""
    assert asked("klines?symbol=BTCUSDT&interval=1m") == KlinesQuery("BTCUSDT", "1m", None, None, 0, 500)
    assert asked("klines?interval=1m&limit=5000&symbol=BTCUSDT") == KlinesQuery("BTCUSDT", "1m", None, None, 0, 1_000)


@pytest.mark.parametrize(
    ("text", "start_ms", "end_ms"),
    [
        ("1723161600000", 1_723_161_600_000, 1_723_161_600_000),
        ("1723161600000000", 1_723_161_600_000, 1_723_161_600_000),  # microseconds
        ("1723161600000001", 1_723_161_600_001, 1_723_161_600_000),  # the next whole one, the last whole one
        ("0", 0, 0),
        ("9223372036854775807", LATEST_MS, LATEST_MS),
    ],
)
def test_times_are_in_milliseconds_or_microseconds(text: str, start_ms: int, end_ms: int) -> None:
    """REST API, "General API Information": timestamp parameters can be passed in either."""
    asked_for = asked(f"klines?symbol=BTCUSDT&interval=1m&startTime={text}&endTime={text}")
    assert isinstance(asked_for, KlinesQuery)
    assert (asked_for.start_ms, asked_for.end_ms) == (start_ms, end_ms)


@pytest.mark.parametrize(
    ("text", "interval", "hours", "phase_hours"),
    [
        ("0", "1d", 0.0, 0.0),
        ("8", "1d", 8.0, 16.0),
        ("%2B08:00", "1d", 8.0, 16.0),
        ("+08:00", "1d", 8.0, 16.0),  # a plus that is not escaped is a blank
        ("-1:00", "1d", -1.0, 1.0),
        ("05:45", "1d", 5.75, 18.25),
        ("05:45", "1h", 5.75, 0.25),
        ("05:45", "15m", 5.75, 0.0),
        ("14", "4h", 14.0, 2.0),
        ("-12:00", "12h", -12.0, 0.0),
    ],
)
def test_intervals_begin_by_the_clock_that_is_asked_for(
    text: str, interval: str, hours: float, phase_hours: float
) -> None:
    """REST API, "Kline/Candlestick data": `-1:00`, `05:45`, `8`, from -12:00 to +14:00."""
    asked_for = asked(f"klines?symbol=BTCUSDT&interval={interval}&timeZone={text}")
    assert isinstance(asked_for, KlinesQuery)
    assert (asked_for.offset_ms, asked_for.phase_ms) == (hours * 3_600_000, phase_hours * 3_600_000)


def test_trades_are_the_newest_or_those_from_an_id_on() -> None:
    """`/trades` knows no id."""
    assert asked("trades?symbol=BTCUSDT") == TradesQuery("BTCUSDT", 500)
    assert asked("historicalTrades?symbol=BTCUSDT&fromId=7&limit=3") == TradesQuery("BTCUSDT", 3, 7)


def test_tickers_are_of_one_symbol_of_several_or_of_all() -> None:
    """One gets an object, several a list, and so do all; every symbol here is TRADING."""
    assert asked("ticker/price?symbol=BTCUSDT") == (Symbols(("BTCUSDT",), one=True), True, False)
    several = Symbols(("BTCUSDT", "ETH-USD"))
    assert asked('ticker/24hr?symbols=["BTCUSDT","ETH-USD"]&type=MINI') == (several, True, True)
    assert asked("ticker/24hr?symbolStatus=HALT&type=FULL") == (Symbols(None), False, False)
    assert asked("ticker/price?symbols=[]") == (Symbols(()), True, False)


@pytest.mark.parametrize(
    ("request_", "listed", "shown"),
    [
        ("exchangeInfo", True, True),
        ("exchangeInfo?permissions=SPOT", True, True),
        ('exchangeInfo?permissions=["MARGIN","SPOT"]', True, True),
        ("exchangeInfo?permissions=LEVERAGED", False, True),
        ("exchangeInfo?symbolStatus=BREAK", False, True),
        ("exchangeInfo?showPermissionSets=false", True, False),
    ],
)
def test_the_listing_can_be_narrowed(request_: str, listed: bool, shown: bool) -> None:
    """Every symbol here is TRADING, and SPOT."""
    assert asked(request_) == (Symbols(None), listed, shown)


@pytest.mark.parametrize(
    ("header", "unit"),
    [(None, 1_000), ("MILLISECOND", 1_000), ("MICROSECOND", 1), ("microsecond", 1)],
)
def test_the_header_says_the_unit_of_times(header: str | None, unit: int) -> None:
    """REST API, "General API Information": X-MBX-TIME-UNIT:MICROSECOND or X-MBX-TIME-UNIT:microsecond."""
    assert query.unit_us(header) == unit


@pytest.mark.parametrize("header", ["SECOND", "Microsecond", ""])
def test_no_other_unit_is_known(header: str) -> None:
    """-1194."""
    with pytest.raises(BinanceError) as refused:
        query.unit_us(header)
    message = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND."
    assert refused.value.body() == {"code": -1194, "msg": message}


def test_what_trades_do_not_tell_and_what_needs_an_account_is_said_in_binances_words() -> None:
    """Order books: not supported. Accounts: without a key its format is wrong, and any key is unknown."""
    untold = unsupported()
    assert (untold.status, untold.body()) == (400, {"code": -1020, "msg": "This operation is not supported."})
    without, unknown = not_authorized(None), not_authorized("a key")
    assert (without.status, without.body()) == (401, {"code": -2014, "msg": "API-key format invalid."})
    assert unknown.body() == {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}
