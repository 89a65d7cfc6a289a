"""How the REST routes describe themselves: parameters, answers and refusals. Pure."""

from __future__ import annotations

from typing import Any

from market.widths import WIDTHS
from serve.binance.parameters import DEFAULT_ROWS, MAX_ROWS, STATUSES
from serve.binance.query import BOOLEANS

_NUMBER = {"type": "string", "pattern": "^-?[0-9]+[.][0-9]{1,8}$"}
_TIME: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}

_PARAMETERS: dict[str, tuple[dict[str, Any], str]] = {
    "symbol": ({"type": "string", "pattern": "^[A-Z0-9]{2,20}$", "examples": ["BTCUSDT"]}, "such as BTCUSDT"),
    "symbols": (
        {"type": "string", "pattern": '^\\[("[A-Z0-9]{2,20}"(,"[A-Z0-9]{2,20}")*)?\\]$'},
        'a JSON array, such as ["BTCUSDT","ETHUSDT"]; not together with `symbol`',
    ),
    "interval": ({"type": "string", "enum": list(WIDTHS)}, "width of a kline"),
    "startTime": (_TIME, "first open time, in milliseconds or microseconds since the epoch"),
    "endTime": (_TIME, "last open time, in milliseconds or microseconds since the epoch"),
    "timeZone": (
        {"type": "string", "pattern": "^[+-]?[0-9]{1,2}(:(00|15|30|45))?$"},
        "the clock by which intervals begin, from -12:00 to +14:00; UTC without it",
    ),
    "limit": (_TIME | {"minimum": 1, "default": DEFAULT_ROWS}, f"rows at most; of more than {MAX_ROWS}, {MAX_ROWS}"),
    "fromId": (_TIME, "first trade id"),
    "type": ({"type": "string", "enum": ["FULL", "MINI"], "default": "FULL"}, "how much of a ticker"),
    "symbolStatus": ({"type": "string", "enum": list(STATUSES)}, "every symbol here is TRADING"),
    "permissions": (
        {"type": "string", "pattern": '^([A-Z0-9_]{1,30}|\\["[A-Z0-9_]{1,30}"(,"[A-Z0-9_]{1,30}")*\\])$'},
        "every symbol here has SPOT",
    ),
    "showPermissionSets": ({"type": "string", "enum": list(BOOLEANS), "default": "true"}, "whether these are told"),
}

_HEADER = {
    "name": "X-MBX-TIME-UNIT",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "enum": ["MICROSECOND", "microsecond", "MILLISECOND", "millisecond"]},
    "description": "unit of the times in the answer: milliseconds without it",
}

_REFUSAL = {
    "type": "object",
    "properties": {"code": {"type": "integer"}, "msg": {"type": "string"}},
    "required": ["code", "msg"],
}

REFUSALS = {
    400: "the request is wrong; the code and the words are Binance's",
    401: "an API key is needed here",
    429: "too many requests; Retry-After says for how many seconds",
    503: "the table or Redis is away; /readyz says which",
}


def parameters(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The parameters of a route; a name that ends in an exclamation mark must be there."""
    described = []
    for word in names:
        name = word.rstrip("!")
        schema, meaning = _PARAMETERS[name]
        described.append(
            {"name": name, "in": "query", "required": word != name, "schema": schema, "description": meaning}
        )
    return [*described, _HEADER]


def responses(path: str) -> dict[int | str, dict[str, Any]]:
    """What a route may answer, by status."""
    answers: dict[int | str, dict[str, Any]] = {200: _content(_ANSWERS[path], "Binance's answer")}
    return answers | {status: _content(_REFUSAL, meaning) for status, meaning in REFUSALS.items()}


def _content(schema: dict[str, Any], meaning: str) -> dict[str, Any]:
    return {"description": meaning, "content": {"application/json": {"schema": schema}}}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _one_or_many(row: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [row, _list(row)]}


_INTEGER, _TEXT, _FLAG = {"type": "integer"}, {"type": "string"}, {"type": "boolean"}
_KLINES = _list({"type": "array", "minItems": 12, "maxItems": 12, "items": {"oneOf": [_INTEGER, _TEXT]}})
_TRADES = _list(
    _object(
        id=_INTEGER,
        price=_NUMBER,
        qty=_NUMBER,
        quoteQty=_NUMBER,
        time=_INTEGER,
        isBuyerMaker=_FLAG,
        isBestMatch=_FLAG,
    )
)
_ANSWERS: dict[str, dict[str, Any]] = {
    "ping": {"type": "object", "maxProperties": 0},
    "time": _object(serverTime=_INTEGER),
    "exchangeInfo": _object(timezone=_TEXT, serverTime=_INTEGER, symbols=_list(_object(symbol=_TEXT, status=_TEXT))),
    "ticker/price": _one_or_many(_object(symbol=_TEXT, price=_NUMBER)),
    "ticker/24hr": _one_or_many(_object(symbol=_TEXT, lastPrice=_NUMBER, volume=_NUMBER, count=_INTEGER)),
    "avgPrice": _object(mins=_INTEGER, price=_NUMBER, closeTime=_INTEGER),
    "klines": _KLINES,
    "uiKlines": _KLINES,
    "trades": _TRADES,
    "historicalTrades": _TRADES,
}
