"""The audit as a program: its options, what it prints, and how it exits."""

from __future__ import annotations

import argparse
import json
import re
import sys
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import SparkSession

from bars.audit.evidence import AuditError
from bars.audit.intervals import KlineProof
from bars.audit.klines import exchange_of, hold, klines_of, opened
from bars.audit.reconcile import finished, reconcile
from bars.audit.standing import read_bars, version_of
from bars.recovery.identity import check_identity
from bars.session import REFUSED
from bars.source import gap_records
from bars.topic import SourceError
from market.klines import KlineError, symbol_of, told_by, width_of
from market.settings import Settings
from market.trade import EARLIEST_MS, EXCHANGES, is_symbol

_LATEST_MS = 4_102_444_800_000
"""2100: a number beyond it is no time in ms, but digits of something else."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of the audit."""
    parser.add_argument("--check", action="store_true", help="report only: amend nothing")
    parser.add_argument("--from", dest="from_ms", type=moment, metavar="T", help="judge bars from this time on (UTC)")
    parser.add_argument("--to", dest="to_ms", type=moment, metavar="T", help="judge bars before this time")
    parser.add_argument("--json", action="store_true", help="print one JSON document, for machines")
    parser.add_argument(
        "--sample", type=count, default=20, metavar="N", help="seconds recomputed in plain Python; default 20"
    )
    parser.add_argument("--seed", type=count, default=None, metavar="N", help="chooses the sample; default: at random")
    klines = parser.add_argument_group("klines, instead of the trades: nothing is amended then")
    klines.add_argument(
        "--klines",
        action="append",
        default=[],
        metavar="FILE|URL",
        help="hold the bars to an exchange's own klines: Binance's public CSV or zip, its REST answer, "
        "Coinbase's candles; may be given more than once",
    )
    klines.add_argument("--exchange", choices=EXCHANGES, help="whose they are, where name and table leave it open")
    klines.add_argument("--symbol", type=symbol, metavar="S", help="of which symbol, where the name does not tell")
    klines.add_argument(
        "--interval",
        type=interval,
        dest="width_ms",
        metavar="I",
        help="how wide candles are that do not tell, such as 1m",
    )


def moment(text: str) -> int:
    """A time in ms since the epoch, of ISO 8601 or of ms since the epoch; UTC where it names no zone."""
    try:
        if re.fullmatch("[0-9]{12,13}", text) and EARLIEST_MS <= int(text) < _LATEST_MS:
            time_ms = int(text)
        else:
            time = datetime.fromisoformat(text)
            time_ms = round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000)
    except ValueError:
        time_ms = 1
    if time_ms % 1_000:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time of whole seconds, such as 2025-11-01, 2025-11-01T12:00:00 (UTC), "
            "2025-11-01T12:00:00+01:00 or 1761998400000 (ms since the epoch)"
        )
    return time_ms


def count(text: str) -> int:
    """A number of things."""
    if not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 999999999")
    return int(text)


def symbol(text: str) -> str:
    """A symbol in any spelling."""
    if not is_symbol(found := symbol_of(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a symbol, such as BTCUSDT or BTC-USD")
    return found


def interval(text: str) -> int:
    """The width of a kline, in ms."""
    if (width_ms := width_of(text)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not an interval, such as 1s, 1m, 1h or 1d")
    return width_ms


def audit(spark: SparkSession, settings: Settings, options: argparse.Namespace) -> int:
    """Does what the options say, prints what it has found; returns the exit code."""
    try:
        if options.from_ms is not None and options.to_ms is not None and options.from_ms >= options.to_ms:
            raise AuditError("--from is not before --to: there is no second to judge")
        if options.klines:
            return _told([_held_to(spark, settings, origin, options) for origin in options.klines], options)
        proof = reconcile(
            spark,
            settings,
            check=options.check,
            from_ms=options.from_ms,
            to_ms=options.to_ms,
            sample=options.sample,
            seed=options.seed,
        )
        return _told(proof, options)
    except (AuditError, KlineError, SourceError) as error:
        print(f"reconcile: {error}", file=sys.stderr)
        return REFUSED


def _told(found: Any, options: argparse.Namespace) -> int:
    proofs = found if isinstance(found, list) else [found]
    if options.json:
        documents = [proof.document() for proof in proofs]
        print(json.dumps({"klines": documents} if isinstance(found, list) else documents[0]))
    else:
        print("\n\n".join(proof.text() for proof in proofs))
    return 0 if all(proof.holds for proof in proofs) else 1


def _held_to(spark: SparkSession, settings: Settings, origin: str, options: argparse.Namespace) -> KlineProof:
    check_identity(settings)
    told = told_by(origin)
    name = options.symbol or told.symbol
    if name is None:
        raise KlineError(f"{origin} does not tell by its name of which symbol its klines are. Say it with --symbol")
    with ExitStack() as stack:
        klines = klines_of(stack.enter_context(opened(origin)), origin, options.width_ms or told.width_ms)
        batch = finished(settings)
        bars = read_bars(spark, settings, version_of(settings))
        exchange = exchange_of(bars, klines, name, options.exchange or told.exchange, origin)
        try:
            gaps = gap_records(settings, spark)
        except SourceError:
            gaps = []  # then nothing is excused by them
        proof = KlineProof(origin, exchange, name, klines.width_ms, klines.fields)
        hold(
            bars,
            klines,
            proof,
            watermark_ms=batch.watermark_ms,
            gaps=gaps,
            from_ms=options.from_ms,
            to_ms=options.to_ms,
        )
        return proof
