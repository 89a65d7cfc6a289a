"""Ids that no trade bears, and what the gap records of the producer say of them.

An exchange numbers the trades of a symbol without gaps, so that an id between two that are there was a trade once. The
bars' own evidence tells where to look; the elements then tell which ids are borne after all, by a trade that stands in
another second than its id would suggest, or by an element that was rejected.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from market.gap import Gap

LOOKED_AT = 1_000
"""Places where ids are missing that are looked at one by one. Where there are more, something is broken at large."""


class Ids(NamedTuple):
    """Trade ids of one exchange and symbol, both ends included."""

    exchange: str
    symbol: str
    first: int
    last: int

    @property
    def number(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Missing(NamedTuple):
    """Ids that are missing, and why, as far as anybody knows."""

    ids: Ids
    status: str | None
    """That of the last gap record which covers them; `rejected` where an element bears them that is no valid trade;
    `coming` where records bear them that the bars query has not read yet; None where nothing accounts for them."""
    cause: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether somebody accounts for them. A record that says `filled` does not: they are not there."""
        return self.status not in (None, "filled")


def broken(bars: DataFrame) -> tuple[list[Ids], bool]:
    """Where the evidence of these current bars leaves ids out, inside of a bar or between two; and whether there are
    more such places than the `LOOKED_AT` that these ids are of."""
    of_symbol = Window.partitionBy("exchange", "symbol").orderBy("timestamp")
    first, last, before = F.col("first_trade_id"), F.col("last_trade_id"), F.col("before")
    inside = F.when(F.col("missing_trades") > 0, F.struct(first.alias("first"), last.alias("last")))
    between = F.when(first > before + 1, F.struct((before + 1).alias("first"), (first - 1).alias("last")))
    places = bars.withColumn("before", F.lag("last_trade_id").over(of_symbol)).select(
        "exchange", "symbol", F.explode(F.array(inside, between)).alias("ids")
    )
    rows = places.filter(F.col("ids").isNotNull()).select("exchange", "symbol", "ids.*").limit(LOOKED_AT + 1).collect()
    return merged(Ids(*row) for row in rows[:LOOKED_AT]), len(rows) > LOOKED_AT


def borne(elements: DataFrame, places: Sequence[Ids]) -> tuple[list[Ids], list[Ids]]:
    """The ids in these places that trades bear, and those that rejected elements bear.

    `elements` have exchange, symbol, trade_id and is_rejected.
    """
    spark = elements.sparkSession
    there = F.broadcast(spark.createDataFrame(list(places), "exchange string, symbol string, first long, last long"))
    inside = F.col("trade_id").between(F.col("first"), F.col("last"))
    ids = (
        elements.join(there, ["exchange", "symbol"])
        .filter(inside)
        .select("is_rejected", "exchange", "symbol", "trade_id")
        .distinct()
    )
    # Runs of consecutive ids: along one, the id and its number in the order grow together.
    order = F.row_number().over(Window.partitionBy("is_rejected", "exchange", "symbol").orderBy("trade_id"))
    runs = (
        ids.withColumn("run", F.col("trade_id") - order)
        .groupBy("is_rejected", "exchange", "symbol", "run")
        .agg(F.min("trade_id").alias("first"), F.max("trade_id").alias("last"))
        .collect()
    )
    found = {
        kind: merged(
            Ids(row["exchange"], row["symbol"], row["first"], row["last"]) for row in runs if row["is_rejected"] is kind
        )
        for kind in (False, True)
    }
    return found[False], found[True]


def merged(ids: Iterable[Ids]) -> list[Ids]:
    """The same ids, in order, each once."""
    result: list[Ids] = []
    for item in sorted(ids):
        if result and result[-1][:2] == item[:2] and item.first <= result[-1].last + 1:
            result[-1] = result[-1]._replace(last=max(result[-1].last, item.last))
        else:
            result.append(item)
    return result


def without(ids: Iterable[Ids], others: Iterable[Ids]) -> list[Ids]:
    """Those of the ids that are not among the others."""
    return [item.ids for item in _marked(merged(ids), [(other, "", "") for other in others]) if item.status is None]


def explained(
    missing: Iterable[Ids], rejected: Iterable[Ids], coming: Iterable[Ids], gaps: Sequence[Gap]
) -> list[Missing]:
    """What is known of each missing id. Of gap records, the last one holds: what was open is filled, what was lost may
    have come after all."""
    records = [
        (Ids(gap.exchange, gap.symbol, gap.first_trade_id, gap.last_trade_id), gap.status, gap.cause) for gap in gaps
    ]
    marks = [
        *((ids, "rejected", "an element bears them that is no valid trade, see rejected_trades") for ids in rejected),
        *((ids, "coming", "they are in records that the bars query has not read yet") for ids in coming),
        *reversed(records),
    ]
    return _marked(merged(missing), marks)


def _marked(ids: Sequence[Ids], marks: Iterable[tuple[Ids, str, str]]) -> list[Missing]:
    """The ids in pieces, each with the first mark that covers it, in order."""
    rest: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for item in ids:
        rest[item[:2]].append((item.first, item.last))
    pieces = []
    for mark, status, cause in marks:
        todo = rest.get(mark[:2])
        if not todo:
            continue
        begin = max(bisect_left(todo, (mark.first, 0)) - 1, 0)
        if todo[begin][1] < mark.first:
            begin += 1
        end, left = begin, []
        while end < len(todo) and todo[end][0] <= mark.last:
            first, last = todo[end]
            inside = max(first, mark.first), min(last, mark.last)
            pieces.append(Missing(Ids(*mark[:2], *inside), status, cause))
            left += [(first, mark.first - 1)] if first < mark.first else []
            left += [(mark.last + 1, last)] if last > mark.last else []
            end += 1
        todo[begin:end] = left
    pieces += [Missing(Ids(*key, *span), None) for key, spans in rest.items() for span in spans]
    return sorted(pieces, key=lambda piece: piece.ids)
