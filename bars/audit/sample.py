"""A sample of the bars, recomputed with nothing of Spark's parsing or aggregation in between."""

from __future__ import annotations

import random
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from bars.audit.evidence import Evidence
from bars.audit.proof import Proof
from bars.audit.standing import read_bars, standing, version_of
from market.bar import Bar, bars_of
from market.settings import Settings
from market.trade import Trade


def sampled(
    proof: Proof,
    spark: SparkSession,
    settings: Settings,
    found: Evidence,
    table: DataFrame,
    judged: Column,
    *,
    sample: int,
    seed: int | None,
) -> None:
    """Recomputes whole seconds, and notes in `proof` which bars differ."""
    seconds = [row[0] for row in table.select(F.unix_seconds("timestamp")).distinct().collect()]
    chosen = sorted(random.Random(seed).sample(sorted(seconds), min(sample, len(seconds))))
    if not chosen:
        return
    expected = _recomputed(found, chosen, [])
    rows = standing(read_bars(spark, settings, version_of(settings)).filter(judged))
    there = {_key(bar): bar for bar in map(_bar, rows.filter(F.unix_seconds("timestamp").isin(chosen)).collect())}
    if proof.total.conflicts and expected != there:
        # A copy that came first may bear another time: all that bear the ids of these seconds are looked at then.
        wrong = [key for key in expected.keys() | there.keys() if expected.get(key) != there.get(key)]
        seconds = sorted({start_ms // 1_000 for _, _, start_ms in wrong})
        ids = sorted({trade.trade_id for _, trade in found.trades_of(seconds, [])})
        again = _recomputed(found, seconds, ids)
        expected = {key: bar for key, bar in expected.items() if key not in wrong}
        expected |= {key: again[key] for key in wrong if key in again}
    proof.sampled = len(expected)
    for key in sorted(expected.keys() | there.keys()):
        if expected.get(key) != there.get(key):
            proof.sample_differences.append(f"plain Python: {expected.get(key)}, table: {there.get(key)}")


def _recomputed(found: Evidence, seconds: list[int], ids: list[int]) -> dict[tuple[str, str, int], Bar]:
    """The bars of these seconds in plain Python: of the trades with one identity, the first counts."""
    first: dict[tuple[str, str, int], Trade] = {}
    for _, trade in sorted(found.trades_of(seconds, ids)):
        first.setdefault((trade.exchange, trade.symbol, trade.trade_id), trade)
    return {_key(bar): bar for bar in bars_of(first.values()) if bar.timestamp // 1_000 in seconds}


def _bar(row: Any) -> Bar:
    values = row.asDict() | {"timestamp": round(row["timestamp"].timestamp() * 1000), "revision": 0}
    return Bar(**{name: values[name] for name in Bar.__dataclass_fields__})


def _key(bar: Bar) -> tuple[str, str, int]:
    return bar.exchange, bar.symbol, bar.timestamp
