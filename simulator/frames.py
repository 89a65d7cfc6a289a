"""Frames as texts: what is in one, and how one is spoiled. Pure: randomness comes of a seed and the text alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from simulator.clock import iso, parse_us

NO_JSON = (
    "",
    "{",
    "nonsense",
    "undefined",
    '{"e":"trade","s":}',
    "{'type':'match'}",
    '{"e":"trade"}}',
    '{"type":"match","trade_id":1,}',
    "<html><head><title>502 Bad Gateway</title></head></html>",
)
"""What comes instead of a frame."""

_PRICE = re.compile(r'"(p|price)":"([0-9.]+)"')
_TRADE_TIME = re.compile(r'"T":(\d+)')
_EVENT_TIME = re.compile(r'"E":(\d+)')
_ISO_TIME = re.compile(r'"(time|timestamp|current_time)":"([^"]+)"')
_LAST_TRADE_ID = re.compile(r'"last_trade_id":\d+')
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)([T ])(\d\d:\d\d:\d\d(?:\.\d{1,6})?)")
_MICROSECONDS = 10**14
"""A time above this is in µs, one below it in ms."""


@dataclass(frozen=True)
class Frame:
    """What can be told of a frame."""

    text: str
    body: dict[str, Any]
    """Its object, that of Binance's combined streams unwrapped."""
    stream: str | None
    """The name that a combined stream's frame bears."""
    symbols: frozenset[str]
    """Without dashes: what it is about."""
    trades: tuple[tuple[str, int], ...]
    """Symbol and id of each trade in it."""

    @property
    def heartbeat(self) -> bool:
        """Whether it is Coinbase's heartbeat, Exchange's or Advanced's."""
        return self.body.get("type") == "heartbeat" or self.body.get("channel") == "heartbeats"

    @property
    def recalls(self) -> bool:
        """Whether its trades are of the time before the subscription: Coinbase's last match, Advanced's snapshot."""
        return self.body.get("type") == "last_match" or any(
            event.get("type") == "snapshot" for event in self.body.get("events", ())
        )


def read_frame(text: str) -> Frame:
    """The frame of a text, which is one of the simulator's own."""
    message = json.loads(text)
    stream = message.get("stream")
    body = message["data"] if stream is not None else message
    if body.get("e") == "trade":
        trades = [(body["s"], body["t"])]
    elif body.get("type") in ("match", "last_match"):
        trades = [(_bare(body["product_id"]), body["trade_id"])]
    else:
        trades = [
            (_bare(trade["product_id"]), int(trade["trade_id"]))
            for event in body.get("events", ())
            for trade in event.get("trades", ())
        ]
    named = {_bare(body[field]) for field in ("s", "product_id") if field in body}
    return Frame(text, body, stream, frozenset(named | {symbol for symbol, _ in trades}), tuple(trades))


def draw(seed: int, kind: str, text: str) -> float:
    """A number in [0, 1), random by the seed and the text alone."""
    digest = blake2b(f"{seed}/{kind}/{text}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def without(frame: Frame, withheld: Callable[[str, int], bool]) -> Frame | None:
    """The frame without the trades that are withheld (symbol, id), None where nothing is left."""
    if not any(withheld(symbol, number) for symbol, number in frame.trades):
        return frame
    events = []
    for event in frame.body.get("events", ()):
        trades = [row for row in event["trades"] if not withheld(_bare(row["product_id"]), int(row["trade_id"]))]
        if trades:
            events.append({**event, "trades": trades})
    return read_frame(json.dumps({**frame.body, "events": events}, separators=(",", ":"))) if events else None


def with_other_unit(text: str) -> str:
    """Binance's trade time in µs where it is in ms, in ms where it is in µs."""

    def other(match: re.Match[str]) -> str:
        time = int(match[1])
        return f'"T":{time // 1000 if time >= _MICROSECONDS else time * 1000}'

    return _TRADE_TIME.sub(other, text)


def with_number(text: str) -> str:
    """The prices as numbers, printed as before."""
    return _PRICE.sub(r'"\1":\2', text)


def with_offset(frame: Frame, text: str, ms: int) -> str:
    """Its event times shifted; trade times stay."""

    def event_time(match: re.Match[str]) -> str:
        time = int(match[1])
        return f'"E":{time + ms * (1000 if time >= _MICROSECONDS else 1)}'

    def iso_time(match: re.Match[str]) -> str:
        return f'"{match[1]}":"{shifted_iso(match[2], ms)}"'

    if "E" in frame.body:
        return _EVENT_TIME.sub(event_time, text, count=1)
    if frame.heartbeat:
        return _ISO_TIME.sub(iso_time, text)
    return _ISO_TIME.sub(iso_time, text, count=1) if "channel" in frame.body else text


def shifted_iso(text: str, ms: int) -> str:
    """A time as Coinbase prints it, some milliseconds later; digits behind the sixth of the second stay."""

    def shifted(match: re.Match[str]) -> str:
        return iso(parse_us(f"{match[1]}T{match[3]}") + ms * 1000)[:-1].replace("T", match[2])

    return _MOMENT.sub(shifted, text, count=1)


def with_zero_last_trade_id(text: str) -> str:
    """A Coinbase heartbeat that knows no last trade."""
    return _LAST_TRADE_ID.sub('"last_trade_id":0', text)


def no_json(seed: int, text: str) -> str:
    """What comes instead of a frame."""
    return NO_JSON[int(draw(seed, "text", text) * len(NO_JSON))]


def truncated(seed: int, text: str) -> str:
    """The beginning of a frame, at least one character, never all."""
    return text[: 1 + int(draw(seed, "length", text) * (len(text) - 1))]


def unknown(frame: Frame, pad: int = 0) -> str:
    """A frame of a type that nobody knows, in the form and at the time of another one; `pad`: of so many bytes."""
    body = frame.body
    if "e" in body:
        event: dict[str, Any] = {"e": "somethingNew", "E": body["E"], "s": body["s"]}
    elif "channel" in body:
        event = {"channel": "something_new", "client_id": "", "timestamp": body.get("timestamp"), "events": []}
    else:
        event = {"type": "something_new", "product_id": body.get("product_id"), "time": body.get("time")}
    if pad:
        event["pad"] = ""
    if frame.stream is not None:
        event = {"stream": frame.stream.partition("@")[0] + "@somethingNew", "data": event}
    text = json.dumps(event, separators=(",", ":"))
    return text.replace('"pad":""', f'"pad":"{"x" * (pad - len(text))}"') if pad else text


def farewell(combined: bool, now_ms: int) -> str:
    """Binance's word before it goes away."""
    event = f'{{"e":"serverShutdown","E":{now_ms}}}'
    return f'{{"stream":"!serverShutdown","data":{event}}}' if combined else event


def _bare(symbol: str) -> str:
    return symbol.replace("-", "")
