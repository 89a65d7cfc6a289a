"""binance-connector, Binance's own client, unchanged, pointed at us by its options."""

from __future__ import annotations

import json
import queue
from decimal import Decimal
from typing import Any

import pytest
from binance.error import ClientError
from binance.spot import Spot
from binance.websocket.spot.websocket_stream import SpotWebsocketStreamClient

from tests.serve.binance.made import START_MS, trade
from tests.serve.binance.stand import Stand
from tests.serve.binance.talk import subscribed
from tests.support import eventually

WITHIN_S = 30.0


def test_the_official_connector_reads_what_it_is_made_for(stand: Stand) -> None:
    """binance-connector over REST: its own methods, our address."""
    client = Spot(api_key="any", base_url=stand.http)  # its own rule for trades of the past
    assert client.ping() == {}
    assert client.time() == {"serverTime": START_MS + 12_500}
    eventually(lambda: len(client.klines("BTCUSDT", "1s")) == 13)
    rows = client.klines("BTCUSDT", "1s", startTime=START_MS, endTime=START_MS + 8_000)
    bars = stand.in_table()
    for row in rows:
        if row[8]:
            bar = bars[row[0]]
            names = ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume")
            assert [Decimal(row[place]) for place in (1, 2, 3, 4, 5, 7, 9)] == [bar[name] for name in names]
            assert (row[8], Decimal(row[10])) == (bar["trade_count"], bar["taker_buy_quote_volume"])
    assert client.ui_klines("BTCUSDT", "1s", limit=3) == client.klines("BTCUSDT", "1s", limit=3)
    assert client.ticker_price("BTCUSDT") == {"symbol": "BTCUSDT", "price": "120.00000000"}
    assert client.ticker_price(symbols=["BTCUSDT"]) == [{"symbol": "BTCUSDT", "price": "120.00000000"}]
    assert client.ticker_24hr("BTCUSDT", type="MINI")["lastPrice"] == "120.00000000"
    assert client.avg_price("BTCUSDT")["mins"] == 5
    assert [row["id"] for row in client.trades("BTCUSDT", limit=2)] == [19, 20]
    assert [row["id"] for row in client.historical_trades("BTCUSDT", fromId=4, limit=2)] == [4, 5]
    assert client.exchange_info(symbol="BTCUSDT")["symbols"][0]["quoteAsset"] == "USDT"
    with pytest.raises(ClientError) as refused:
        client.klines("NOPE", "1s")
    assert (refused.value.status_code, refused.value.error_code) == (400, -1121)


def test_the_official_connector_listens(stand: Stand) -> None:
    """Its stream client, which answers pings twice: a trade and klines, as raw events."""
    heard: queue.Queue[Any] = queue.Queue()
    client = SpotWebsocketStreamClient(stream_url=stand.ws, on_message=lambda _, text: heard.put(json.loads(text)))
    try:
        client.trade("btcusdt", id=1)
        assert heard.get(timeout=WITHIN_S) == {"result": None, "id": 1}
        eventually(lambda: subscribed(stand, "btcusdt@trade"))
        stand.told([trade(21, START_MS + 12_450)])
        assert heard.get(timeout=WITHIN_S)["t"] == 21
        client.kline("btcusdt", "1s", id=2)
        events = iter(lambda: heard.get(timeout=WITHIN_S), None)
        kline = next(event for event in events if event.get("e") == "kline")
        assert (kline["s"], kline["k"]["i"]) == ("BTCUSDT", "1s")
    finally:
        client.stop()
        client.socket_manager.join(WITHIN_S)
        client.socket_manager.ws.shutdown()  # the socket itself: the connector leaves it to the garbage
