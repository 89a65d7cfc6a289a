"""Prices over HTTP, from a real Redis, as the program `prices` leaves them there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from market.latest import KNOWN, PRICE_FIELDS, price_key
from tests.serve.served import Served, served
from tests.serve.tables import START_MS, Table, every_second, walk
from tests.support import eventually


@pytest.fixture
def service(table: Table, redis: Any) -> Iterator[Served]:
    with served(table.settings, redis_url=redis.url) as running:
        running.caught_up(table.version)
        yield running


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    table = Table(tmp_path_factory.mktemp("prices")).create()
    table.traded(
        [*walk(every_second(START_MS, 3)), *walk(every_second(START_MS, 3), exchange="coinbase", symbol="BTCUSD")]
    )
    return table


def priced(redis: Any, exchange: str, symbol: str, price: str, *, age_ms: int = 0, trade_id: int = 7) -> int:
    """Writes a price, of a trade so long ago. Returns its time."""
    time_ms = time.time_ns() // 1_000_000 - age_ms
    values = (price, "0.05234000", time_ms, trade_id, "false", time_ms)
    redis.client.hset(price_key(exchange, symbol), mapping=dict(zip(PRICE_FIELDS, values, strict=True)))
    redis.client.sadd(KNOWN, f"{exchange}:{symbol}")
    return time_ms


def test_a_price_is_the_exchanges_own_number(service: Served, redis: Any) -> None:
    """Every digit of it, with its trade and its age."""
    time_ms = priced(redis, "binance", "BTCUSDT", "66398.85000001")
    answer = service.ask("/price/BTCUSDT")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert b'"price":66398.85000001,' in answer.body
    told = answer.json
    assert 0 <= told.pop("age_ms") < 10_000
    assert told == {
        "symbol": "BTCUSDT",
        "price": 66398.85000001,
        "exchange": "binance",
        "quantity": 0.05234,
        "timestamp": time_ms,
        "trade_id": 7,
        "is_buyer_maker": False,
        "stale": False,
    }


@pytest.mark.parametrize(
    ("text", "number"),
    [("66398.85000000", "66398.85"), ("100", "100"), ("100.00", "100"), ("0.00000001", "0.00000001")],
)
def test_a_price_is_written_as_people_write_it(service: Served, redis: Any, text: str, number: str) -> None:
    """Without the zeros that exchanges put at its end, and never with an exponent."""
    priced(redis, "binance", "BTCUSDT", text)
    body = service.ask("/price/BTCUSDT").body
    assert f'"price":{number},'.encode() in body
    assert b'"quantity":0.05234,' in body


def test_an_old_price_is_called_stale(service: Served, redis: Any) -> None:
    """It is told all the same."""
    priced(redis, "binance", "BTCUSDT", "1", age_ms=20_000)
    told = service.ask("/price/btc-usdt").json
    assert told["stale"] is True
    assert told["age_ms"] >= 20_000


@pytest.mark.parametrize("path", ["/price/NOSUCH", "/price/BTCUSDT", "/price/BTCUSDT?exchange=coinbase"])
def test_a_price_that_is_not_there_is_said_not_to_be(service: Served, path: str) -> None:
    """Unknown, or not seen yet."""
    answer = service.ask(path)
    assert (answer.status, answer.json) == (404, {"error": "price not available"})


def test_a_symbol_of_two_exchanges_is_told_of_the_first_that_lists_it(service: Served, redis: Any) -> None:
    """As bars are: the one that has bars of it, else the first that has a price; `exchange` chooses."""
    priced(redis, "coinbase", "BTCUSD", "2")
    priced(redis, "binance", "BTCUSD", "1")
    assert service.ask("/price/BTCUSD").json["exchange"] == "coinbase"
    assert service.ask("/price/BTCUSD?exchange=binance").json["price"] == 1
    priced(redis, "sim-coinbase", "ETHUSD", "3")
    priced(redis, "binance-usdm", "ETHUSD", "4")
    assert service.ask("/price/ETHUSD").json["exchange"] == "binance-usdm"


def test_all_prices_are_told_in_order(service: Served, redis: Any) -> None:
    """By symbol, then by exchange; of one exchange if so asked."""
    assert service.ask("/prices").json == {"prices": []}
    for exchange, symbol in (("sim-binance", "BTCUSDT"), ("binance", "ETHUSDT"), ("binance", "BTCUSDT")):
        priced(redis, exchange, symbol, "1.5")
    told = [(price["symbol"], price["exchange"]) for price in service.ask("/prices").json["prices"]]
    assert told == [("BTCUSDT", "binance"), ("BTCUSDT", "sim-binance"), ("ETHUSDT", "binance")]
    told = service.ask("/prices?exchange=sim-binance").json["prices"]
    assert [price["exchange"] for price in told] == ["sim-binance"]


def test_a_redis_that_goes_and_comes_back_is_said_to(service: Served, redis: Any) -> None:
    """While it is away prices are refused and bars are served; then all is as before."""
    priced(redis, "binance", "BTCUSDT", "1")
    eventually(
        lambda: (
            service.ask("/readyz").json["redis"] | {"age_ms": 0}
            == {"ok": True, "stale": False, "age_ms": 0, "problem": ""}
        )
    )
    redis.kill()
    answer = service.ask("/price/BTCUSDT")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    eventually(lambda: not service.ask("/readyz").json["redis"]["ok"])
    assert "serve_redis_up 0.0" in service.ask("/metrics").body.decode()
    assert service.ask("/bars/BTCUSDT?interval=1s").status == 200
    redis.start()
    priced(redis, "binance", "BTCUSDT", "2")
    eventually(lambda: service.ask("/price/BTCUSDT").status == 200)
    assert service.ask("/price/BTCUSDT").json["price"] == 2
    eventually(lambda: "serve_redis_up 1.0" in service.ask("/metrics").body.decode())
