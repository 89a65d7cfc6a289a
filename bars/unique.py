"""Each trade once: of the elements that bear one identity, the one with the lowest position counts.

An exchange never gives an id twice within a market, so a second element with the same (exchange, symbol, trade_id) is
a copy: of a producer that repeats itself after a crash, of a twin, of a snapshot. A copy with other content is a
conflict; the element that came first wins all the same, for it may have been read by somebody already.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

IDENTITY = ("exchange", "symbol", "trade_id")
CONTENT = ("time_ms", "price", "quantity", "is_buyer_maker")
_INDEX_BITS = 20
"""A record has fewer elements than 2^20: the shortest are `{},`, and Kafka takes 1 MiB unless told otherwise. Beyond,
elements of one record share a position; that of the next record is higher all the same."""
_LAST_INDEX = 2**_INDEX_BITS - 1


def position() -> Column:
    """Where an element stands among those of its partition, as one number: a trade's copies are all in one.

    Where partitions were added to the topic they may be in two. The lowest offset counts there too; which of two
    equal ones does, is then left open.
    """
    return F.col("offset") * F.lit(_LAST_INDEX + 1) + F.least(F.col("index"), F.lit(_LAST_INDEX))


def offset_of(position: Column) -> Column:
    """The offset in a position."""
    return F.shiftright(position, _INDEX_BITS)


def index_of(position: Column) -> Column:
    """The index in a position."""
    return position.bitwiseAND(F.lit(_LAST_INDEX)).cast("int")


def unique(trades: DataFrame, *within: str) -> DataFrame:
    """One row for each identity, in a static frame of trades; for each within every value of the columns `within`.

    The result has the identity, `within`, and of the element that counts the content (`CONTENT`), offset and index;
    `copies`, the number of elements that bear the identity; and `is_conflict`, whether any of them has other content.
    """
    first = [F.min_by(name, position()).alias(name) for name in CONTENT]
    differs = [F.min(name) != F.max(name) for name in CONTENT]
    return (
        trades.groupBy(*within, *IDENTITY)
        .agg(
            *first,
            F.min(position()).alias("position"),
            F.count("*").alias("copies"),
            _any(differs).alias("is_conflict"),
        )
        .select(
            *within,
            *IDENTITY,
            *CONTENT,
            offset_of(F.col("position")).alias("offset"),
            index_of(F.col("position")).alias("index"),
            "copies",
            "is_conflict",
        )
    )


def conflicts(trades: DataFrame, *within: str) -> DataFrame:
    """The rows of a static frame of trades whose content is not that of the element that counts, as `unique` says.

    By a window, which sorts all trades, and not by a join with what is unique: see `bars.sink.bars_writer`.
    """
    same = Window.partitionBy(*within, *IDENTITY)
    differs = [F.col(name) != F.min_by(name, position()).over(same) for name in CONTENT]
    return trades.withColumn("differs", _any(differs)).filter("differs").drop("differs")


def _any(conditions: list[Column]) -> Column:
    return reduce(lambda one, other: one | other, conditions)
