"""REST answers under faults: a history whose beginning is gone, and a clock that is off. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from simulator.frames import shifted_iso
from simulator.markets import BINANCE, BY_SYMBOL, COINBASE, Market

_BINANCE_HISTORY = ("/api/v3/trades", "/api/v3/historicalTrades", "/api/v3/aggTrades")
_COINBASE_HISTORY = re.compile("/products/([^/]+)/trades")
_IDS = ("trade_id", "id", "f")
_TIMES = ("/api/v3/time", "/api/v3/exchangeInfo", "/time")
_SERVER_TIME = re.compile(r'"serverTime":(\d+)')
_MICROSECONDS = 10**14
"""A time above this is in µs, one below it in ms."""


def history_of(path: str, params: Mapping[str, str]) -> Market | None:
    """The market whose trades a request asks for, None for any other request."""
    if path in _BINANCE_HISTORY:
        return BY_SYMBOL.get((BINANCE, params.get("symbol", "")))
    product = _COINBASE_HISTORY.fullmatch(path)
    return BY_SYMBOL.get((COINBASE, product[1])) if product else None


def asked_from(params: Mapping[str, str], first_id: int, first_us: int) -> list[tuple[str, str]]:
    """The parameters of a request for what begins before the first trade there is, as if it asked from that one on."""
    asked = []
    for name, text in params.items():
        if text.isascii() and text.isdigit():
            first_time = first_us if int(text) >= _MICROSECONDS else first_us // 1000
            if name == "fromId":
                text = str(max(int(text), first_id))
            elif name == "startTime" and int(text) <= first_time and "endTime" not in params:
                name, text = "fromId", str(first_id)
        asked.append((name, text))
    return asked


def without_before(body: str, first_id: int) -> tuple[str, int]:
    """Rows of trades or aggregates without those before the first trade there is, and how many are left."""
    rows: list[dict[str, Any]] = json.loads(body)
    kept = [row for row in rows if next(row[name] for name in _IDS if name in row) >= first_id]
    return json.dumps(kept, separators=(",", ":")), len(kept)


def with_clock_offset(path: str, body: str, ms: int) -> str:
    """An answer that tells the exchange's time, told by a clock that is off; any other as it is."""

    def shifted(match: re.Match[str]) -> str:
        time = int(match[1])
        return f'"serverTime":{time + ms * (1000 if time >= _MICROSECONDS else 1)}'

    if path not in _TIMES:
        return body
    if path != "/time":
        return _SERVER_TIME.sub(shifted, body)
    row = json.loads(body)
    text = shifted_iso(row["iso"], ms)
    milliseconds = round(row["epoch"] * 1000) + ms
    return json.dumps({"iso": f"{text[:23]}Z", "epoch": milliseconds / 1000}, separators=(",", ":"))
