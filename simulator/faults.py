"""Faults of the exchanges, on command or by script: what each is, and how one is written.

Faults are on the wire alone. The truth of the simulator (its tape, hence REST history and klines) never changes: what
a fault withholds, spoils or delays on a socket is still to be had over REST, unless a fault of REST keeps it back too.

    POST /faults              a JSON list of faults, or one a line (NDJSON) → the accepted ones; 400 if one is wrong
    GET /faults               the active and the coming ones, each with `number`, `state`, how often it `struck`
    GET /faults/struck        how often each kind has struck since the start, whether the faults are still there or not
    DELETE /faults            ends all, also the endless ones of --chaos; what is held back then comes in its time
    python -m simulator --faults FILE
    python -m simulator --chaos SEED [--chaos-kinds cut,late]    an endless schedule, a pure function of the seed

A fault is an object; all but `kind` may be left out:

    {"kind": "late", "venue": "binance", "symbol": "BTCUSDT", "at_s": 5, "for_s": 10, "seed": 7, "probability": 0.01,
     "count": 3, …the kind's own}

`venue`        "binance" or "coinbase" (Exchange and Advanced); absent: both
`symbol`       as the venue writes it or without the dash; absent: any
`at_s`         seconds of the wall clock from the posting, or from the program's start for a script
`for_s`        how long it lasts. Without it a fault of a moment ends when it has struck (a connection fault: all
               connections open at the same time, at least one); a lasting one (marked *) stays until it is deleted
`count`        ends when it has struck so often; default 1 without `for_s` and `probability`, else no end
`probability`  strikes at random: by a hash of `seed`, kind and frame, so the same frames are struck in every run and on
               every connection (handshakes and requests, which are all alike: by their number)
`seed`         of all that is random in it (default 0)

Connections (`venue`, `at_s`, `for_s`, `seed`); with `for_s` also those that open in that time:

cut               cut off without a goodbye: at once, or with `frame` when that many frames have been sent since the
                  fault began (since the opening, of a later connection): then one connection, with `for_s` each
silence           half-open: nothing more is sent, no pings or pongs either, and nothing heard, until the client leaves
server_shutdown   Binance's farewell, then `delay_s` (1) later a close with 1001
short_life *      closed with 1001 `life_s` (10) after the opening, or after the fault's begin where that is later
slow_reader *     who leaves more than `bytes` (1048576) unread (beside what the system buffers) gets the error
                  ErrSlowConsume (Coinbase) and a close with 1008, "ErrSlowConsume"

Handshakes (and `count`, `probability`):

refuse            answered with `status` (503; also 429, 418, 403, 451, …), and `retry_after` if given
accept_then_drop  accepted, and cut off at once

Frames (`symbol`, `count`, `probability`, each frame with trades being one; wrong_unit only Binance's):

drop_ids          the next `count` (1) trades of `symbol`, or of a random one on the wire, are never sent on sockets;
                  with `probability` and no `count` each trade so, of `symbol` or of all
duplicate_ids     sent twice
swap              sent after the symbol's next frame, at the latest after 250 ms
late              sent `delay_s` (1) later
malformed         replaced by a text that is no JSON
truncated         cut off within
wrong_unit        its trade time in the other unit: µs where ms are asked, ms where µs are
number            its price a JSON number instead of a string
unknown_event     behind a frame of a type nobody knows
oversized         behind a frame of `bytes` (17825792, which is 17 MiB)

All frames of a time (no `count`):

silent_symbol *   nothing about `symbol`, or about a random one on the wire, is sent: no trades, klines, heartbeats
clock_offset *    event times and the answers of /time are off by `ms`; trade times, which are truth, are not
zero_last_trade_id *  Coinbase's heartbeats have last_trade_id 0

Advanced numbers its frames before they come here: one that is withheld whole leaves a hole in `sequence_num`.

REST (never /faults and /healthz):

rest_429          answered with 429 and `retry_after` (1); who asks before that is over gets 418 for twice as long from
                  then (Coinbase: 429 again)
rest_418          banned for `retry_after` (2) seconds: 418 with what is left of it
rest_451 *        blocked, as in some countries
rest_5xx          answered with `status` (503); with `count`, `probability`
rest_slow *       answered `delay_s` (2) later; with `count`, `probability`
prune *           of each symbol but the newest `keep` trades (required) are gone: history answers from a later id
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.markets import BINANCE, COINBASE, MARKETS


class FaultError(ValueError):
    """A fault that cannot be: where, what was seen, and what is allowed."""


class Number(NamedTuple):
    """A field of a kind: from where to where, whether whole, and what it is when it is left out (None: no value)."""

    low: float
    high: float
    whole: bool = False
    default: float | None = None
    required: bool = False

    def read(self, value: Any) -> float:
        """The value where it is allowed. Raises `ValueError`."""
        wanted = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, wanted) or not self.low <= value <= self.high:
            raise ValueError
        return value

    def __str__(self) -> str:
        return f"{'a whole number' if self.whole else 'a number'} from {self.low:.15g} to {self.high:.15g}"


class Kind(NamedTuple):
    """What a kind of fault takes beside the fields of all."""

    own: Mapping[str, Number] = {}
    takes: tuple[str, ...] = ()
    """Of `symbol`, `count`, `probability`."""
    lasting: bool = False
    """Whether it stays until it is deleted, when it has no `for_s`."""
    venues: tuple[str, ...] = (BINANCE, COINBASE)


_SECONDS = Number(0, 1e9, default=0)
_DURATION = Number(0.001, 1e9)
_COUNT = Number(1, 10**9, whole=True)
_PROBABILITY = Number(0, 1)
_SEED = Number(0, 2**63 - 1, whole=True, default=0)
_HTTP_ERROR = Number(400, 599, whole=True, default=503)
_STRIKES = ("count", "probability")
_FRAME = ("symbol", "count", "probability")


def _seconds(default: float) -> dict[str, Number]:
    return {"delay_s": Number(0, 86_400, default=default)}


KINDS: dict[str, Kind] = {
    "cut": Kind({"frame": _COUNT}),
    "silence": Kind(),
    "server_shutdown": Kind(_seconds(1), venues=(BINANCE,)),
    "short_life": Kind({"life_s": Number(0.01, 86_400, default=10)}, lasting=True),
    "slow_reader": Kind({"bytes": Number(0, 2**30, whole=True, default=2**20)}, lasting=True),
    "refuse": Kind({"status": _HTTP_ERROR, "retry_after": Number(0, 86_400, whole=True)}, _STRIKES),
    "accept_then_drop": Kind({}, _STRIKES),
    "drop_ids": Kind({}, _FRAME),
    "duplicate_ids": Kind({}, _FRAME),
    "swap": Kind({}, _FRAME),
    "late": Kind(_seconds(1), _FRAME),
    "malformed": Kind({}, _FRAME),
    "truncated": Kind({}, _FRAME),
    "wrong_unit": Kind({}, _FRAME, venues=(BINANCE,)),
    "number": Kind({}, _FRAME),
    "unknown_event": Kind({}, _FRAME),
    "oversized": Kind({"bytes": Number(200, 2**26, whole=True, default=17 * 2**20)}, _FRAME),
    "silent_symbol": Kind({}, ("symbol",), lasting=True),
    "clock_offset": Kind({"ms": Number(-(10**9), 10**9, whole=True, required=True)}, lasting=True),
    "zero_last_trade_id": Kind({}, lasting=True, venues=(COINBASE,)),
    "rest_429": Kind({"retry_after": Number(1, 86_400, whole=True, default=1)}),
    "rest_418": Kind({"retry_after": Number(1, 86_400, whole=True, default=2)}, venues=(BINANCE,)),
    "rest_451": Kind(lasting=True),
    "rest_5xx": Kind({"status": Number(500, 599, whole=True, default=503)}, _STRIKES),
    "rest_slow": Kind(_seconds(2), _STRIKES, lasting=True),
    "prune": Kind({"keep": Number(0, 10**12, whole=True, required=True)}, lasting=True),
}
REST_KINDS = ("rest_429", "rest_418", "rest_451", "rest_5xx", "rest_slow", "prune")
SOCKET_KINDS = tuple(kind for kind in KINDS if kind not in REST_KINDS)

_VENUES = {market.symbol.replace("-", ""): market.venue for market in MARKETS}


@dataclass(frozen=True)
class Fault:
    """One fault, as it was written and as it was read."""

    spec: Mapping[str, Any]
    """As written."""
    kind: str
    venues: tuple[str, ...]
    symbol: str | None
    """Without a dash."""
    at_s: float
    for_s: float | None
    seed: int
    probability: float | None
    count: int | None
    own: Mapping[str, float]
    """The kind's own fields, with their defaults; those without a value are absent."""

    @property
    def once(self) -> bool:
        """Whether it ends when it has struck."""
        return not KINDS[self.kind].lasting and self.for_s is None and self.probability is None


def read_faults(text: str) -> list[Fault]:
    """The faults of a JSON list or of lines. Raises `FaultError`."""
    return [read_fault(fault, f"fault {number}") for number, fault in enumerate(_objects(text), 1)]


def _objects(text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        try:
            faults: list[Any] = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise FaultError(f"expected a JSON list of faults, or one fault a line; no JSON: {problem}") from None
        return faults
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                faults.append(json.loads(line))
            except (ValueError, RecursionError) as problem:
                raise FaultError(
                    f"expected a JSON list of faults, or one fault a line; line {number} is no JSON: {problem}"
                ) from None
    return faults


def read_fault(spec: Any, where: str = "fault") -> Fault:
    """One fault. Raises `FaultError`, which begins with `where`."""
    if not isinstance(spec, dict):
        raise FaultError(f"{where}: expected an object, saw {_shown(spec)}")
    name = spec.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        raise FaultError(f"{where}: kind is {_shown(name)}; allowed: {', '.join(KINDS)}")
    where, kind = f"{where} ({name})", KINDS[name]
    numbers = {"at_s": _SECONDS, "for_s": _DURATION, "seed": _SEED}
    numbers |= {field: _COUNT if field == "count" else _PROBABILITY for field in kind.takes if field != "symbol"}
    fields = ("kind", "venue", *(field for field in kind.takes if field == "symbol"), *numbers, *kind.own)
    for field in spec:
        if field not in fields:
            raise FaultError(f"{where}: unknown field {_shown(field)}; allowed: {', '.join(fields)}")
    values = _numbers(spec, numbers, where)
    venues = _venues(spec, kind, where)
    probability, count = values.get("probability"), values.get("count")
    if count is None and "count" in kind.takes and not kind.lasting and "for_s" not in values and probability is None:
        count = 1
    if name == "drop_ids":
        if count is not None and probability is not None:
            raise FaultError(f"{where}: has both count and probability; allowed: one of them")
        count = 1 if count is None and probability is None else count
    return Fault(
        spec=spec,
        kind=name,
        venues=venues,
        symbol=_symbol(spec, venues, where),
        at_s=values["at_s"],
        for_s=values.get("for_s"),
        seed=int(values["seed"]),
        probability=probability,
        count=None if count is None else int(count),
        own=_numbers(spec, kind.own, where),
    )


def _numbers(spec: Mapping[str, Any], numbers: Mapping[str, Number], where: str) -> dict[str, float]:
    values: dict[str, float] = {}
    for field, number in numbers.items():
        if field in spec:
            try:
                values[field] = number.read(spec[field])
            except ValueError:
                raise FaultError(f"{where}: {field} is {_shown(spec[field])}; allowed: {number}") from None
        elif number.required:
            raise FaultError(f"{where}: {field} is missing; allowed: {number}")
        elif number.default is not None:
            values[field] = number.default
    return values


def _venues(spec: Mapping[str, Any], kind: Kind, where: str) -> tuple[str, ...]:
    if "venue" not in spec:
        return kind.venues
    if spec["venue"] not in kind.venues:
        raise FaultError(f"{where}: venue is {_shown(spec['venue'])}; allowed: {', '.join(kind.venues)}")
    return (spec["venue"],)


def _symbol(spec: Mapping[str, Any], venues: tuple[str, ...], where: str) -> str | None:
    if "symbol" not in spec:
        return None
    symbol = spec["symbol"]
    bare = symbol.replace("-", "") if isinstance(symbol, str) else ""
    if _VENUES.get(bare) not in venues:
        allowed = ", ".join(market.symbol for market in MARKETS if market.venue in venues)
        raise FaultError(f"{where}: symbol is {_shown(symbol)}; allowed: {allowed}")
    return bare


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
