"""Bars held to bars: which of the current ones are not what they should be, and what makes them so."""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bars.aggregate import COLUMNS

KEY = ("exchange", "symbol", "timestamp")
VALUES = tuple(name for name in COLUMNS if name not in (*KEY, "revision"))
"""What is compared: every other column, the date among them, for readers find a bar by its partition."""


def current(bars: DataFrame) -> DataFrame:
    """The bars that count, as `market.bar.current` says: of each key, the row with the highest revision."""
    newest = F.max_by(F.struct("*"), F.col("revision")).alias("bar")
    return bars.groupBy(*KEY).agg(newest).select("bar.*")


def differing(current: DataFrame, expected: DataFrame) -> DataFrame:
    """The bars that differ: `KEY`, the values (`VALUES`) as structs `there` and `told`, each null where there is no
    such bar, and `revision`, that of the current bar, null where there is none."""
    return paired(current, expected).filter(~F.col("there").eqNullSafe(F.col("told")))


def paired(current: DataFrame, expected: DataFrame) -> DataFrame:
    """All bars of either side, as `differing` has those that differ."""
    # Not called `there` and `told`: Spark would later take `told.*` for the columns of the side, not for the struct's.
    joined = current.alias("left").join(expected.alias("right"), list(KEY), "full_outer")
    return joined.select(
        *KEY, _values("left").alias("there"), _values("right").alias("told"), F.col("left.revision").alias("revision")
    )


def amended(different: DataFrame) -> DataFrame:
    """The rows that put right what `differing` has found, each with the next revision.

    A bar that was not there gets revision 1: 0 is the stream's own. A bar that no trade backs is left out: the table
    is append-only, and no row says that a bar is none.
    """
    rows = different.filter(F.col("told").isNotNull()).select(
        *KEY, "told.*", (F.coalesce(F.col("revision"), F.lit(0)) + 1).alias("revision")
    )
    return rows.select(*(F.col(name).cast(kind).alias(name) for name, kind in COLUMNS.items()))


def keeps_trades() -> Column:
    """Whether a bar of `differing` would only gain trades.

    One that would lose some has trades that the archive lacks: where the archive was begun later than the bars, or its
    old days are deleted.
    """
    there, told = F.col("there"), F.col("told")
    more = ("high", "volume", "quote_volume", "trade_count", "taker_buy_volume", "last_trade_id")
    less = ("low", "first_trade_id")
    holds = [told[name] >= there[name] for name in more] + [told[name] <= there[name] for name in less]
    return F.coalesce(there.isNull() | reduce(lambda one, other: one & other, holds), F.lit(False))


def _values(side: str) -> Column:
    values = F.struct(*(F.col(f"{side}.{name}").alias(name) for name in VALUES))
    return F.when(F.col(f"{side}.trade_count").isNotNull(), values)
