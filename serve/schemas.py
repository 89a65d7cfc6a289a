"""OpenAPI as it is served: the forms of our answers, and what every route may refuse."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from serve.own.formats import AMOUNTS, COLUMNS, COUNTS, PRICES
from serve.refusals import is_binance

VERSION = "0.1.0"
DESCRIPTION = (
    "Latest prices, and bars with the evidence that no trade is missing. Binance's own routes are under /api/v3, for "
    "every venue's symbols, and under /binance/api/v3 and /coinbase/api/v3 for one venue."
)
_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}
_WHOLE = {"type": "integer"}
_BOOL = {"type": "boolean"}
_DECIMAL = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}
REFUSALS = {
    "400": "The request is not one that is allowed: what is wrong, and what is allowed",
    "401": "The API key is missing or wrong (where SERVE_API_KEY is set)",
    "429": "More requests than one address may make; Retry-After says when to go on",
    "503": "A part is away that the answer needs, or too much is asked for at once; Retry-After says when to try again",
}
"""What the answer may be besides a route's own."""


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return {"type": "object", "properties": required | optional, "required": list(required)}


def _or_null(kind: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [kind, {"type": "null"}]}


def _columns() -> dict[str, Any]:
    kinds: dict[str, Any] = {"timestamp": _WHOLE, "filled": _BOOL, "missing_before": _or_null(_WHOLE)}
    kinds |= dict.fromkeys((*PRICES, *AMOUNTS), _DECIMAL) | dict.fromkeys(COUNTS, _WHOLE)
    kinds |= {"vwap": _or_null(_DECIMAL), "first_trade_id": _or_null(_WHOLE), "last_trade_id": _or_null(_WHOLE)}
    return {name: kinds[name] for name in COLUMNS if name in kinds}


_PART = _object({"ok": _BOOL, "stale": _BOOL, "age_ms": _or_null(_WHOLE), "problem": _TEXT})
SCHEMAS: dict[str, Any] = {
    "Error": _object({"error": _TEXT}),
    "BinanceError": _object({"code": _WHOLE, "msg": _TEXT}),
    "Price": _object(
        {
            "symbol": _TEXT,
            "price": _NUMBER,
            "exchange": _TEXT,
            "quantity": _NUMBER,
            "timestamp": _WHOLE,
            "trade_id": _WHOLE,
            "is_buyer_maker": _BOOL,
            "age_ms": _WHOLE,
            "stale": _BOOL,
        }
    ),
    "Prices": _object({"prices": {"type": "array", "items": {"$ref": "#/components/schemas/Price"}}}),
    "Bar": _object(_columns()),
    "BarsOfASymbol": _object(
        {
            "exchange": _TEXT,
            "symbol": _TEXT,
            "interval": _TEXT,
            "bars": {"type": "array", "items": {"$ref": "#/components/schemas/Bar"}},
        }
    ),
    "Symbols": _object(
        {
            "symbols": {
                "type": "array",
                "items": _object({"symbol": _TEXT, "exchanges": {"type": "array", "items": _TEXT}}),
            },
            "intervals": {"type": "array", "items": _TEXT},
        }
    ),
    "Alive": _object({"alive": _BOOL}),
    "Ready": _object({"ready": _BOOL, "redis": _PART, "table": _PART, "service": _PART}),
}


class Service(FastAPI):
    """An application whose OpenAPI tells every answer that there may be."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            made = get_openapi(title="live-bars", version=VERSION, description=DESCRIPTION, routes=self.routes)
            self.openapi_schema = completed(made)
        return self.openapi_schema


def completed(made: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's description, with our forms and refusals. To wrong parameters we do not answer 422, but 400."""
    components = made.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    components |= SCHEMAS
    for path, operations in made["paths"].items():
        form = "BinanceError" if is_binance(path) else "Error"
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{form}"}}}
        for operation in operations.values():
            answers = operation["responses"]
            answers.pop("422", None)
            for status, meaning in REFUSALS.items():
                answers.setdefault(status, {"description": meaning})
            for status, answer in answers.items():
                if status >= "400":
                    answer.setdefault("content", content)
    return made
