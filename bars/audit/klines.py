"""Bars held to an exchange's own klines, field by field: the one check that knows nothing of our topic.

The bars are rolled up to the klines' width (`market.bar.rolled_up` is the definition). An interval is judged if the
table covers it: from the symbol's first bar to the last bar of its exchange, and closed by the watermark.
"""

from __future__ import annotations

import http.client
import io
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bars.audit.intervals import Judge, KlineProof
from bars.compare import current
from market.bar import WIDTH_MS
from market.gap import Gap
from market.klines import KlineError, Klines, read_klines

CHUNK = 50_000
"""Intervals that are compared at once: half a day of seconds, a month of minutes."""
_TIMEOUT_S = 30
_LARGEST = 2**30
_FAMILIES = {"binance": ("binance", "binance-usdm", "sim-binance"), "coinbase": ("coinbase", "sim-coinbase")}
"""The exchanges whose klines have these forms."""


@contextmanager
def opened(origin: str) -> Iterator[BinaryIO]:
    """The content of a file or an address. Raises `KlineError`."""
    try:
        if origin.startswith(("http://", "https://")):
            yield io.BytesIO(_fetched(origin))
        else:
            with Path(origin).expanduser().open("rb") as file:
                yield file
    except urllib.error.HTTPError as error:
        said = error.read(200).decode(errors="replace").strip()
        why = ": the exchange does not serve this address's country or provider" if error.code == 451 else ""
        raise KlineError(f"{origin} answers HTTP {error.code}{why or ': ' + said if why or said else ''}") from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        raise KlineError(f"{origin} cannot be read ({error}). Expected is a file or an http(s) address") from error


def _fetched(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
        content = bytes(answer.read(_LARGEST + 1))
    if len(content) > _LARGEST:
        raise KlineError(f"{address} is larger than {_LARGEST >> 20} MiB. Save it to a file first")
    return content


def rolled_up(bars: DataFrame, width_ms: int, phase_ms: int = 0) -> DataFrame:
    """Current bars of one symbol as wider ones: start_ms, the fields of a kline, first_trade_id and last_trade_id."""
    time_ms = F.unix_millis("timestamp")
    return bars.groupBy((time_ms - F.pmod(time_ms - phase_ms, F.lit(width_ms))).alias("start_ms")).agg(
        F.min_by("open", "timestamp").alias("open"),
        F.max("high").alias("high"),
        F.min("low").alias("low"),
        F.max_by("close", "timestamp").alias("close"),
        *(F.sum(name).alias(name) for name in ("volume", "quote_volume", "trade_count")),
        *(F.sum(name).alias(name) for name in ("taker_buy_volume", "taker_buy_quote_volume")),
        F.min("first_trade_id").alias("first_trade_id"),
        F.max("last_trade_id").alias("last_trade_id"),
    )


def exchange_of(bars: DataFrame, klines: Klines, symbol: str, told: str | None, origin: str) -> str:
    """Whose bars are meant: what is told, else the only exchange with bars of that symbol among those it can be."""
    rows = bars.filter(F.col("symbol") == symbol).select("exchange").distinct().collect()
    there = sorted(row["exchange"] for row in rows)
    fitting = [told] if told else [exchange for exchange in there if exchange in _FAMILIES[klines.family]]
    if not set(fitting) & set(there):
        wanted = told or f"an exchange of {klines.family}"
        raise KlineError(
            f"{origin}: the table has no bars of {symbol} on {wanted}; it has {symbol} of: "
            f"{', '.join(there) or 'none'}. Say which is meant with --exchange and --symbol"
        )
    if len(fitting) > 1:
        raise KlineError(f"{origin}: {symbol} is in the table of {', '.join(fitting)}. Say which with --exchange")
    return fitting[0]


def hold(
    bars: DataFrame,
    klines: Klines,
    proof: KlineProof,
    *,
    watermark_ms: int,
    gaps: Sequence[Gap],
    from_ms: int | None = None,
    to_ms: int | None = None,
) -> None:
    """Holds the rows of `bars_1s` to klines, and counts in `proof`, which names exchange and symbol."""
    ours = current(bars.filter((F.col("exchange") == proof.exchange) & (F.col("symbol") == proof.symbol)))
    first = ours.agg(F.min(F.unix_millis("timestamp"))).collect()[0][0]
    last = bars.filter(F.col("exchange") == proof.exchange).agg(F.max(F.unix_millis("timestamp"))).collect()[0][0]
    own = [gap for gap in gaps if (gap.exchange, gap.symbol) == (proof.exchange, proof.symbol)]
    judge = Judge(proof, klines, first, min(last + WIDTH_MS, watermark_ms), watermark_ms, from_ms, to_ms, own)
    chunk, phase_ms = list(islice(klines.rows, CHUNK)), None
    while chunk:
        following = list(islice(klines.rows, CHUNK))
        if phase_ms is None:
            ((phase_ms, _),) = Counter(row.start_ms % klines.width_ms for row in chunk).most_common(1)
        last_ms = following[0].start_ms if following else chunk[-1].start_ms + klines.width_ms
        begin, end = (start - (start - phase_ms) % klines.width_ms for start in (chunk[0].start_ms, last_ms))
        time_ms = F.unix_millis("timestamp")
        closed = time_ms + WIDTH_MS <= watermark_ms
        rows = rolled_up(ours.filter(_between(time_ms, begin, end) & closed), klines.width_ms, phase_ms).collect()
        found = {row["start_ms"]: row for row in rows}
        judge.judge(chunk, found, begin, end, partial(_neighbours, ours, begin, end), is_last=not following)
        chunk = following


def _between(time_ms: Column, begin: int, end: int) -> Column:
    # By the timestamp too, for only that makes Delta pass over files.
    times = F.col("timestamp").between(F.timestamp_millis(F.lit(begin)), F.timestamp_millis(F.lit(end)))
    return times & (time_ms >= begin) & (time_ms < end)


def _neighbours(ours: DataFrame, begin: int, end: int) -> tuple[int | None, int | None]:
    """The last id before a time, and the first from another on."""
    time_ms = F.unix_millis("timestamp")
    row = ours.agg(
        F.max_by("last_trade_id", F.when(time_ms < begin, time_ms)),
        F.min_by("first_trade_id", F.when(time_ms >= end, time_ms)),
    ).first()
    assert row is not None
    return row[0], row[1]


def klines_of(content: BinaryIO, origin: str, width_ms: int | None) -> Klines:
    """The klines of an opened origin."""
    return read_klines(content, origin.rsplit("/", 1)[-1] if "://" not in origin else origin, width_ms)
