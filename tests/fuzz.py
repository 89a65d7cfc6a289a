"""Damaged frames for every mapper: `python -m tests.fuzz 1000000 [seed]` sends so many through each, and says how fast.

A frame is a real one with fields dropped, retitled, doubled, swapped or of a wrong type, with numbers that are huge or
none, surrogates, deep nesting; then perhaps cut, with bytes changed or in another encoding. Of each it is checked that
nothing breaks, that every element in it is exactly one of trade, rejected and passed over, that what is called a trade
is one, and that the account of all balances. The same seed makes the same frames; a frame that fails is printed.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

from market.trade import Reason, problem_of
from producer.exchanges.outcome import Outcome
from producer.exchanges.venues import ADVANCED, BINANCE, COINBASE, Protocol
from producer.ledger import Ledger

LATEST_MS = 1_800_000_000_000

_BINANCE_TRADE = {
    **{"e": "trade", "E": 1672515782136, "s": "BNBBTC", "t": 12345, "p": "0.001", "q": "100"},
    **{"T": 1672515782136, "m": True, "M": True},
}
_MATCH = {
    **{"type": "match", "trade_id": 10, "sequence": 50, "maker_order_id": "ac92", "taker_order_id": "132f"},
    **{"time": "2014-11-07T08:19:27.028459Z", "product_id": "BTC-USD", "size": "5.23512", "price": "400.23"},
    **{"side": "sell"},
}
_ROW = {
    **{"product_id": "BTC-USD", "trade_id": "929248657", "price": "88355.59", "size": "0.00136573"},
    **{"time": "2025-12-31T06:00:12.44524Z", "side": "SELL"},
}
_ENVELOPE = {"channel": "market_trades", "client_id": "", "timestamp": "2025-12-31T06:00:12.516946132Z"}


def _batch(*kinds: str) -> dict[str, Any]:
    """A frame of Coinbase Advanced with three trades per event, the newest first."""
    trades = [_ROW | {"trade_id": str(number)} for number in (12, 11, 10)]
    return {**_ENVELOPE, "sequence_num": 7, "events": [{"type": kind, "trades": trades} for kind in kinds]}


SAMPLES: dict[str, tuple[str, Protocol, list[dict[str, Any]]]] = {
    "binance": (
        "binance",
        BINANCE,
        [
            _BINANCE_TRADE,
            {"stream": "bnbbtc@trade", "data": _BINANCE_TRADE},
            _BINANCE_TRADE | {"X": "MARKET", "T": 1672515782136999},
            {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1770123456789}},
            {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 19},
            {"result": None, "id": 1},
        ],
    ),
    "coinbase": (
        "coinbase",
        COINBASE,
        [
            _MATCH,
            _MATCH | {"type": "last_match"},
            {
                **{"type": "heartbeat", "sequence": 90, "last_trade_id": 20, "product_id": "BTC-USD"},
                **{"time": "2014-11-07T08:19:28.464459Z"},
            },
            {"type": "error", "message": "Failed to subscribe", "reason": "XXX-USD is not a valid product"},
        ],
    ),
    "coinbase-advanced": (
        "coinbase",
        ADVANCED,
        [
            _batch("update"),
            _batch("snapshot", "update"),
            {**_ENVELOPE, "channel": "heartbeats", "sequence_num": 8, "events": [{"heartbeat_counter": 3049}]},
            {"type": "error", "message": "channel is required"},
        ],
    ),
}
_TEXTS = ["", "NaN", "1e99999999", "-1", "0", "0.000000001", "٣", "\ud800", "\x00", "9" * 400, "x" * 5_000, "true"]
_NUMBERS = [-1, 0, 1, 2**53, 2**63, 10**400, 1.5, 1e308, float("nan"), float("inf"), True, False]
_OTHERS: list[Any] = [None, [], {}, [None], {"": {}}, [[[[]]]]]


def damaged(chance: random.Random, samples: list[dict[str, Any]]) -> str | bytes:
    """One of the samples, damaged in up to four ways."""
    message: Any = json.loads(json.dumps(chance.choice(samples)))
    for _ in range(chance.randrange(4)):
        message = _changed(chance, message)
    compact = (",", ":") if chance.random() < 0.5 else None
    frame = json.dumps(message, ensure_ascii=chance.random() < 0.5, separators=compact)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        frame = chance.choice(_TEXT_DAMAGES)(chance, frame)
    if chance.random() < 0.5:
        return frame
    raw = bytearray(frame.encode(chance.choice(("utf-8", "utf-8", "utf-8", "utf-16", "utf-32")), "surrogatepass"))
    for _ in range(chance.choice((0, 0, 1, 3)) if raw else 0):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw)


def checked(protocol: Protocol, exchange: str, frame: str | bytes) -> Outcome:
    """The outcome of a frame. Raises AssertionError where it is not exactly what every outcome has to be."""
    outcome = protocol.read(frame, exchange=exchange, latest_ms=LATEST_MS)
    # Whatever is done to be fast, the mapper must say the same. (As deep in calls: that bounds the nesting read.)
    plain = replace(protocol, short_way=None).read(frame, exchange=exchange, latest_ms=LATEST_MS)
    assert outcome == plain, (outcome, plain)
    held = [bool(outcome.trades), outcome.rejected is not None, outcome.passed_over is not None]
    assert held.count(True) == 1, outcome
    assert not outcome.rejections or outcome.passed_over is None, outcome
    if outcome.rejected != Reason.MALFORMED or not _is_deep(frame):
        assert outcome.elements == elements_in(frame), outcome
    assert [trade.trade_id for trade in outcome.trades] == sorted(trade.trade_id for trade in outcome.trades)
    for trade in outcome.trades:
        assert problem_of(trade, LATEST_MS) is None, trade
        assert list(map(type, trade)) == [str, str, str, str, int, int, bool], trade
    return outcome


def _is_deep(frame: str | bytes) -> bool:
    """Whether a frame nests about as deep as Python reads: then one call less may read what one more does not."""
    return sum(frame.count(sign) for sign in (("{", "[") if isinstance(frame, str) else (b"{", b"["))) > 800


def elements_in(frame: str | bytes) -> int:
    """How many things a frame holds, counted in the plainest way: the rows of a batch, else one."""
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError):
        return 1
    if not isinstance(message, dict) or message.get("channel") != "market_trades":
        return 1
    events = message.get("events")
    rows = (
        [event.get("trades") if isinstance(event, dict) else None for event in events]
        if isinstance(events, list)
        else []
    )
    return max(1, sum(len(row) if isinstance(row, list) else 1 for row in rows))


def run(name: str, frames: int, seed: int) -> Ledger:
    """Send damaged frames through one mapper; the account of them. Raises AssertionError, with the frame."""
    exchange, protocol, samples = SAMPLES[name]
    chance = random.Random(seed)
    ledger = Ledger()
    elements = published = 0
    for _ in range(frames):
        frame = damaged(chance, samples)
        try:
            outcome = checked(protocol, exchange, frame)
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}: {error!r} from the frame {frame!r:.2000}") from error
        elements += outcome.elements
        published += len(ledger.enter(exchange, outcome, frame))
    rejected, passed_over = ledger.rejected.total(), ledger.passed_over.total()
    assert elements == published + ledger.duplicates.total() + rejected + passed_over
    assert (ledger.received.total(), ledger.difference(waiting=0)) == (elements, 0)
    return ledger


def _changed(chance: random.Random, message: Any) -> Any:
    """The message with one change somewhere in it."""
    places = list(_places(message))
    if not places or chance.random() < 0.02:
        return _odd(chance)
    container, key = chance.choice(places)
    change = chance.randrange(5)
    if change == 0:
        del container[key]
    elif change == 1 and isinstance(container, dict):
        container[chance.choice((key.upper(), key + "_", "", "e", "data", "type"))] = container.pop(key)
    elif change == 1:
        container.append(container[key])
    elif change == 2:
        other, place = chance.choice(places)
        container[key], other[place] = other[place], container[key]
        return _untangled(message)
    else:
        container[key] = _odd(chance)
    return message


def _places(message: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a message."""
    keys = list(message) if isinstance(message, dict) else range(len(message)) if isinstance(message, list) else []
    return [place for key in keys for place in [(message, key), *_places(message[key])]]


def _untangled(message: Any) -> Any:
    """A message in which nothing is in two places; nothing, where a swap has put something into itself."""
    try:
        return json.loads(json.dumps(message))
    except ValueError:
        return None


def _odd(chance: random.Random) -> Any:
    """A value of any type; half of the time a whole number written either way."""
    if chance.random() < 0.5:
        number = chance.randrange(10 ** chance.choice((1, 4, 13, 16, 20)))
        return chance.choice((number, str(number)))
    return deepcopy(chance.choice(chance.choice((_TEXTS, _NUMBERS, _OTHERS))))


def _cut(chance: random.Random, frame: str) -> str:
    return frame[: chance.randrange(len(frame) + 1)]


def _repeated(chance: random.Random, frame: str) -> str:
    start = chance.randrange(len(frame) + 1)
    end = min(len(frame), start + chance.randrange(40))
    return frame[:end] + frame[start:]


def _doubled_field(chance: random.Random, frame: str) -> str:
    field = chance.choice(('"e":1,', '"t":7,', '"type":null,', '"channel":"market_trades",', '"trade_id":5,'))
    return frame.replace("{", "{" + field, 1)


def _nested(chance: random.Random, frame: str) -> str:
    depth = chance.choice((2, 50, *range(900, 1_000, 7), 5_000))  # about where Python's own limit lies
    return frame.replace(":", ":" + "[" * depth + "]" * depth + ',"x":', 1) if chance.random() < 0.5 else "[" * depth


def _deep_value(chance: random.Random, frame: str) -> str:
    depth = chance.choice((2, 50, *range(900, 1_000, 7)))
    value = '{"a":' * depth + "1" + "}" * depth
    return chance.choice((frame.replace("null", value, 1), frame.replace('"', f'"code":{value},"', 1), value))


def _huge_number(chance: random.Random, frame: str) -> str:
    return frame.replace(chance.choice("0123456789"), "9" * chance.choice((20, 400, 5_000)), 1)


_TEXT_DAMAGES: list[Callable[[random.Random, str], str]] = [
    *(_cut, _repeated, _doubled_field, _nested, _deep_value, _huge_number)
]


def main() -> None:
    """Send frames through each mapper, and say what became of them."""
    logging.disable()
    frames, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for name in SAMPLES:
        started_s = time.perf_counter()
        ledger = run(name, frames, seed)
        rate = frames / (time.perf_counter() - started_s)
        print(f"{name}: {frames} frames, seed {seed}, {rate:.0f}/s: {ledger.report(ledger.trades.total(), 0)}")


if __name__ == "__main__":
    main()
