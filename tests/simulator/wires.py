"""Frames as the exchanges print them, and a connection under faults whose clock is turned by hand."""

from __future__ import annotations

import json
from typing import Any

from simulator.faults import read_faults
from simulator.schedule import Schedule
from simulator.wire import Wire


def raw(number: int, symbol: str = "BTCUSDT") -> str:
    return (
        f'{{"e":"trade","E":{1704067200000 + number},"s":"{symbol}","t":{number},"p":"42150.50000000"'
        f',"q":"0.01000000","T":{1704067200000 + number},"m":true,"M":true}}'
    )


def combined(number: int, symbol: str = "BTCUSDT") -> str:
    return f'{{"stream":"{symbol.lower()}@trade","data":{raw(number, symbol)}}}'


def match(number: int, product: str = "BTC-USD", kind: str = "match") -> str:
    return (
        f'{{"type":"{kind}","trade_id":{number},"maker_order_id":"a","taker_order_id":"b","side":"buy","size":"0.1"'
        f',"price":"42148.1","product_id":"{product}","sequence":{number * 8},"time":"2024-01-01T00:00:00.1Z"}}'
    )


def batch(*numbers: int, product: str = "BTC-USD", kind: str = "update") -> str:
    trades = ",".join(
        f'{{"product_id":"{product}","trade_id":"{number}","price":"42148.1","size":"0.1"'
        ',"time":"2024-01-01T00:00:00.1Z","side":"BUY"}'
        for number in sorted(numbers, reverse=True)
    )
    head = '{"channel":"market_trades","client_id":"","timestamp":"2024-01-01T00:00:00.123456789Z","sequence_num":3'
    return f'{head},"events":[{{"type":"{kind}","trades":[{trades}]}}]}}'


class Client:
    """A connection under faults, with a clock turned by hand."""

    def __init__(self, *faults: dict[str, Any], venue: str = "binance") -> None:
        self.schedule, self.now_s, self.cut = Schedule(), 100.0, False
        self.schedule.add(read_faults(json.dumps(faults)), self.now_s)
        self.wire = Wire(venue, self.now_s, combined=False)

    def gets(self, *texts: str) -> list[str]:
        """What comes of these frames at once."""
        got, fate = self.wire.outgoing(texts, self.schedule.active(self.now_s), self.now_s)
        self.cut = self.cut or fate is not None
        self.schedule.swept(self.now_s)
        return got

    def waits(self, seconds: float) -> list[str]:
        """What comes after a while."""
        self.now_s += seconds
        got, fate = self.wire.due(self.schedule.active(self.now_s), self.now_s)
        self.cut = self.cut or fate is not None
        return got
