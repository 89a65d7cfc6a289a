"""The service over HTTP: its own routes, with a real table and without Redis, as real clients see it."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from market.bar import Bar, bars_of
from market.trade import EXCHANGES
from market.widths import MINUTE_MS, SECOND_MS, WIDTHS
from serve.own import query
from serve.own.formats import COLUMNS, SCHEMA
from serve.texts import plain
from tests.serve.served import Served, served
from tests.serve.tables import START_MS, Table, every_second, walk

BTC = walk([*every_second(START_MS, 90), *every_second(START_MS + 100_000, 81)])
"""Three minutes, with ten quiet seconds."""
ETH = walk(every_second(START_MS, 181), exchange="coinbase", symbol="ETHUSDT", seed=2)
ETH_AT_BINANCE = walk(every_second(START_MS, 10), symbol="ETHUSDT", seed=3)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    table = Table(tmp_path_factory.mktemp("service")).create()
    table.traded([*BTC, *ETH, *ETH_AT_BINANCE])
    return table


def starts(body: dict[str, list[dict[str, int]]]) -> list[int]:
    return [(bar["timestamp"] - START_MS) // SECOND_MS for bar in body["bars"]]


def test_bars_have_all_columns_of_the_table_as_exact_text(service: Served) -> None:
    """Each field of the bar, and what surrounds it."""
    answer = service.ask("/bars/BTCUSDT?interval=1s&limit=1000")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert [answer.json[name] for name in ("exchange", "symbol", "interval")] == ["binance", "BTCUSDT", "1s"]
    expected = bars_of(BTC)
    assert len(answer.json["bars"]) == len(expected) == 171
    for told, bar in zip(answer.json["bars"], expected, strict=True):
        for name in Bar.__slots__[2:]:
            value = getattr(bar, name)
            assert told[name] == (plain(value) if isinstance(value, Decimal) else value)
    assert [bar["missing_before"] for bar in answer.json["bars"]] == [None] + [0] * 170
    assert not any(bar["filled"] for bar in answer.json["bars"])


@pytest.mark.parametrize("interval", WIDTHS)
def test_every_interval_is_served(service: Served, interval: str) -> None:
    """Whole intervals that are over; the parameters' names are those of the widths and exchanges."""
    answer = service.ask(f"/bars/BTCUSDT?interval={interval}&from=0")
    whole = [bar for bar in bars_of(BTC, WIDTHS[interval]) if bar.timestamp + WIDTHS[interval] <= START_MS + 181_000]
    assert answer.status == 200
    assert [bar["close"] for bar in answer.json["bars"]] == [plain(bar.close) for bar in whole]


def test_the_names_that_are_allowed_are_those_of_the_words() -> None:
    """Static types repeat what `market` says."""
    assert query.IntervalName.__args__ == tuple(WIDTHS)  # type: ignore[attr-defined]
    assert query.ExchangeName.__args__ == EXCHANGES  # type: ignore[attr-defined]


def test_a_range_can_be_asked_for_in_ms_and_in_iso(service: Served) -> None:
    """Both ends are included; without a zone it is UTC."""
    for begin, end in [
        (START_MS + 3_000, START_MS + 5_999),
        ("2024-08-09T00:00:03Z", "2024-08-09T00:00:05.9Z"),
        ("2024-08-09T00:00:03", "2024-08-09T02:00:05%2B02:00"),
        ("2024-08-09T02:00:03+02:00", "2024-08-08T22:00:05-02:00"),
    ]:
        answer = service.ask(f"/bars/btc-usdt?interval=1s&from={begin}&to={end}")
        assert starts(answer.json) == [3, 4, 5]
    assert starts(service.ask("/bars/BTCUSDT?interval=1s&from=2024-08-09&limit=2").json) == [0, 1]


def test_the_header_link_leads_through_all_pages(service: Served) -> None:
    """Onward from a start, and back from the newest; every bar once, until there are no more."""
    asked = "/bars/BTCUSDT?interval=1s&limit=50"
    for first, kind in ((f"{asked}&from=0", "next"), (asked, "prev")):
        path, seen = first, list[int]()
        while path:
            answer = service.ask(path)
            page = starts(answer.json)
            seen = seen + page if kind == "next" else page + seen
            link = answer.headers.get("link", "")
            path = link.partition("<")[2].partition(">")[0]
            assert not link or link.endswith(f'rel="{kind}"')
        assert seen == [*range(90), *range(100, 181)]


def test_quiet_seconds_are_filled_if_asked_for(service: Served) -> None:
    """At the price before, marked, without what only trades have; the limit counts them too."""
    answer = service.ask("/bars/BTCUSDT?interval=1s&fill=previous&from=1723161688000&limit=14")
    assert starts(answer.json) == [*range(88, 102)]
    told = answer.json["bars"]
    assert [bar["filled"] for bar in told] == [False] * 2 + [True] * 10 + [False] * 2
    quiet, before = told[5], told[1]
    assert {quiet[name] for name in ("open", "high", "low", "close")} == {before["close"]}
    assert (quiet["volume"], quiet["vwap"], quiet["first_trade_id"], quiet["trade_count"]) == ("0", None, None, 0)
    assert told[12]["missing_before"] == 0
    newest = service.ask("/bars/BTCUSDT?interval=1s&fill=previous&limit=85")
    assert starts(newest.json) == [*range(96, 181)]
    assert "prev" in newest.headers["link"]


@pytest.mark.parametrize(("first", "kind"), [(f"&from={START_MS - 3_600_000}", "next"), ("", "prev")])
def test_the_header_link_leads_across_gaps_also_where_quiet_is_filled(tmp_path: Path, first: str, kind: str) -> None:
    """A gap, or the time before the first bar, is longer than a page: the next page is what comes behind it."""
    table = Table(tmp_path).create()
    before = walk(every_second(START_MS, 20))
    after = walk([START_MS + 120_000, *every_second(START_MS + 123_000, 27)], first_id=before[-1].trade_id + 10)
    table.traded([*before, *after])
    with served(table.settings) as gapped:
        gapped.caught_up(table.version)
        path, seen = f"/bars/BTCUSDT?interval=1s&limit=10&fill=previous{first}", list[int]()
        while path:
            answer = gapped.ask(path)
            page = starts(answer.json)
            seen = seen + page if kind == "next" else page + seen
            path = answer.headers.get("link", "").partition("<")[2].partition(">")[0]
    assert seen == [*range(20), *range(120, 150)]


def test_csv_and_parquet_hold_the_same(service: Served) -> None:
    """The same columns and values; exact decimals and times in UTC."""
    path = "/bars/BTCUSDT?interval=1s&fill=previous&limit=100&format="
    told = service.ask(path + "json").json["bars"]
    answer = service.ask(path + "csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    lines = list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))
    assert tuple(lines[0]) == COLUMNS
    for line, bar in zip(lines, told, strict=True):
        assert (line["exchange"], line["symbol"]) == ("binance", "BTCUSDT")
        for name, value in bar.items():
            expected = "" if value is None else json.dumps(value) if isinstance(value, bool) else str(value)
            assert line[name] == expected, name
    answer = service.ask(path + "parquet")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    rows = pq.read_table(io.BytesIO(answer.body))
    assert rows.schema.equals(SCHEMA)
    for row, bar in zip(rows.to_pylist(), told, strict=True):
        assert int(row["timestamp"].timestamp() * 1000) == bar["timestamp"]
        for name, value in bar.items():
            if isinstance(row[name], Decimal):
                assert plain(row[name]) == value
            elif name != "timestamp":
                assert row[name] == value


def test_a_symbol_is_of_the_first_exchange_that_has_it(service: Served) -> None:
    """Unless one is named; an exchange that has none of it is told, with those that have."""
    assert service.ask("/bars/ETHUSDT").json["exchange"] == "binance"
    assert service.ask("/bars/ETHUSDT?exchange=coinbase").json["exchange"] == "coinbase"
    answer = service.ask("/bars/BTCUSDT?exchange=coinbase")
    assert (answer.status, answer.json) == (404, {"error": "coinbase has no bars of BTCUSDT; binance have"})
    answer = service.ask("/bars/NOSUCH")
    assert (answer.status, answer.json) == (
        404,
        {"error": "there are no bars of NOSUCH; /symbols tells which there are"},
    )
    assert service.ask("/symbols").json == {
        "symbols": [
            {"symbol": "BTCUSDT", "exchanges": ["binance"]},
            {"symbol": "ETHUSDT", "exchanges": ["binance", "coinbase"]},
        ],
        "intervals": list(WIDTHS),
    }


def test_new_bars_are_served_at_once_and_amended_ones_are_marked(service: Served, table: Table) -> None:
    """What a commit brings is in the next answer."""
    newest = bars_of(walk([START_MS + 500_000], symbol="NEWUSDT"))[0]
    first = table.commit([newest])
    service.caught_up(first)
    assert [bar["revision"] for bar in service.ask("/bars/NEWUSDT?interval=1s").json["bars"]] == [0]
    amended = Bar(**{name: getattr(newest, name) for name in Bar.__slots__} | {"revision": 1})
    service.caught_up(table.commit([amended]))
    assert [bar["revision"] for bar in service.ask("/bars/NEWUSDT?interval=1s").json["bars"]] == [1]
    minutes = service.ask(f"/bars/BTCUSDT?interval=1m&from=0&to={START_MS + 2 * MINUTE_MS}").json["bars"]
    assert [bar["revision"] for bar in minutes] == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/bars/BTCUSDT?interval=7s", "interval=7s is not allowed: Input should be '1s', '1m'"),
        ("/bars/BTCUSDT?limit=0", "limit=0 is not allowed: Input should be greater than or equal to 1"),
        ("/bars/BTCUSDT?limit=5001", "limit=5001 is not allowed: Input should be less than or equal to 5000"),
        ("/bars/BTCUSDT?limit=many", "limit=many is not allowed: Input should be a valid integer"),
        ("/bars/BTCUSDT?limit=1&limit=2", "limit is given more than once"),
        ("/bars/BTCUSDT?intervall=1s", "there is no parameter 'intervall': it may be exchange, interval, from, to"),
        ("/bars/BTCUSDT?exchange=kraken", "exchange=kraken is not allowed: Input should be 'binance', 'binance-usdm'"),
        ("/bars/BTCUSDT?fill=next", "fill=next is not allowed"),
        ("/bars/BTCUSDT?format=xml", "format=xml is not allowed"),
        ("/bars/BTCUSDT?from=yesterday", "from=yesterday is not allowed: it must be ms since the epoch, or ISO 8601"),
        ("/bars/BTCUSDT?from=-1", "from=-1 is not allowed: it must be ms since the epoch, or ISO 8601"),
        ("/bars/BTCUSDT?from=999999999999999", "from=999999999999999 is not allowed: it must be ms since the epoch"),
        ("/bars/BTCUSDT?to=2024-02-31", "to=2024-02-31 is not allowed: it must be ms since the epoch, or ISO 8601"),
        ("/bars/BTCUSDT?to=0001-01-01", "to=0001-01-01 is not allowed"),
        ("/bars/BTCUSDT?from=5&to=4", "from=5 is later than to=4"),
        ("/bars/B", "symbol=B is not allowed: it must be 2 to 20 letters and digits"),
        ("/bars/BTC%20USDT", "symbol=BTC USDT is not allowed: it must be 2 to 20 letters and digits"),
        ("/bars/..%2f..%2fetc", "symbol="),
        ("/price/BTC'USDT", "symbol=BTC'USDT is not allowed"),
        ("/price/BTCUSDT?at=now", "there is no parameter 'at': it may be exchange"),
        ("/healthz?deep=yes", "there is no parameter 'deep': there is none here"),
    ],
)
def test_bad_input_is_told_with_what_is_allowed(service: Served, path: str, said: str) -> None:
    """400, never 500, and never something else than was asked for."""
    answer = service.ask(path)
    assert (answer.status, answer.headers["content-type"]) in [(400, "application/json"), (404, "application/json")]
    if answer.status == 400:
        assert answer.json["error"].startswith(said)
    else:
        assert "%2f" in path


def test_what_is_not_there_is_told(service: Served) -> None:
    """A path that no route has, and a method that a route has not."""
    assert service.ask("/nothing").json == {"error": "there is nothing at /nothing"}
    answer = service.ask("/bars/BTCUSDT", method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json == {"error": "POST is not allowed here"}
    assert service.ask("/api/v4/nothing").json == {"error": "there is nothing at /api/v4/nothing"}
