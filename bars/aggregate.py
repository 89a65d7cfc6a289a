"""Trades to 1-second bars: `market.bar.bars_of`, said in Spark's built-in functions."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bars.unique import IDENTITY, index_of, offset_of, position
from market.bar import ORDER_BASE, WIDTH_MS

COLUMNS = {
    "exchange": "string",
    "symbol": "string",
    "timestamp": "timestamp",
    "open": "decimal(18,8)",
    "high": "decimal(18,8)",
    "low": "decimal(18,8)",
    "close": "decimal(18,8)",
    "volume": "decimal(38,8)",
    "quote_volume": "decimal(38,8)",
    "vwap": "decimal(18,8)",
    "trade_count": "bigint",
    "taker_buy_volume": "decimal(38,8)",
    "taker_buy_quote_volume": "decimal(38,8)",
    "first_trade_id": "bigint",
    "last_trade_id": "bigint",
    "missing_trades": "bigint",
    "revision": "int",
    "date": "date",
}
"""The columns of `bars_1s`: the fields of `market.bar.Bar`, in its order, and the date (UTC) that partitions it."""


def gathered(elements: DataFrame, *, watermark_delay_ms: int) -> DataFrame:
    """The trades of each second, in one row for each exchange and symbol, when the watermark has passed its end.

    `elements` are valid ones (`bars.parse.valid`), as a stream. The result has exchange, symbol, window (the second),
    `trades`, which `spread` takes apart again, and `copies`: how many of them bear an id that another one bears too.

    Every trade of an open second lies in the state: its fields are the few that bars and conflicts are made of.
    """
    fields = ("trade_id", "time_ms", "price", "quantity", "is_buyer_maker", "partition", position().alias("position"))
    # Made before it is collected, for then it is 100 bytes in a row; collect_list itself would make objects, 350 bytes.
    trade = F.when(~F.col("is_heartbeat"), F.struct(*fields)).alias("trade")
    return (
        _windowed(elements, watermark_delay_ms)
        .select("exchange", "symbol", "window", trade)
        .groupBy("exchange", "symbol", "window")
        .agg(F.collect_list("trade").alias("trades"))
        .filter(F.size("trades") > 0)
        .select("*", (F.size("trades") - F.size(F.array_distinct("trades.trade_id"))).alias("copies"))
    )


def spread(gathered: DataFrame) -> DataFrame:
    """The trades of `gathered`, one row each; copies are still among them."""
    return gathered.select("exchange", "symbol", "window", F.inline("trades")).select(
        "*", offset_of(F.col("position")).alias("offset"), index_of(F.col("position")).alias("index")
    )


def closed_bars(gathered: DataFrame) -> DataFrame:
    """The bars of `gathered`, with its column `copies`. A bar is right if it has none; else its trades are not unique.

    They stay where they are: by their window, for which they were brought together once already.
    """
    trades = gathered.select("exchange", "symbol", "window", "copies", F.inline("trades"))
    measures = [*_measures(), F.first("copies").alias("copies")]
    bars = trades.groupBy("exchange", "symbol", "window").agg(*measures).withColumn("timestamp", F.col("window.start"))
    return _finished(bars, "copies")


def to_bars(trades: DataFrame) -> DataFrame:
    """The bars of a static frame of trades, each of which is there once (`bars.unique.unique`)."""
    start = F.timestamp_millis(F.col("time_ms") - F.col("time_ms") % WIDTH_MS)
    return _finished(trades.groupBy("exchange", "symbol", start.alias("timestamp")).agg(*_measures()))


def streamed_bars(elements: DataFrame, *, watermark_delay_ms: int) -> DataFrame:
    """The bars of valid elements, as a stream without anything behind it: for a sink that only takes rows.

    Every trade of an open second lies in the state, with its second: so it is dropped as late when its second is
    closed and not before, which `dropDuplicatesWithinWatermark` would do. Of copies in one batch any may count.
    """
    return _finished(
        _windowed(elements, watermark_delay_ms)
        .dropDuplicates([*IDENTITY, "window"])
        .groupBy("exchange", "symbol", "window")
        .agg(*_measures())
        .filter(F.col("trade_count") > 0)
        .withColumn("timestamp", F.col("window.start"))
    )


def _windowed(elements: DataFrame, watermark_delay_ms: int) -> DataFrame:
    """The elements with their second, which alone is held to the watermark from here on.

    Heartbeats are to leave behind the aggregation: a filter below the watermark would keep them from moving it.
    """
    second = F.window("event_time", f"{WIDTH_MS} milliseconds")
    watermarked = elements.withWatermark("event_time", f"{watermark_delay_ms} milliseconds")
    return watermarked.withColumn("window", second).drop("event_time")


def _measures() -> list[Column]:
    """What is aggregated of the trades of a second; a heartbeat, whose fields are null, adds nothing."""
    order, price, quantity = _order(), F.col("price"), F.col("quantity")
    # decimal(18,8) times decimal(19,8) is decimal(38,16), exactly; above zero, floor cuts.
    quote = F.floor(price * quantity, F.lit(8)).cast("decimal(38,8)")
    taker_buys = ~F.col("is_buyer_maker")
    return [
        F.min_by(price, order).alias("open"),
        F.max(price).alias("high"),
        F.min(price).alias("low"),
        F.max_by(price, order).alias("close"),
        F.sum(quantity).alias("volume"),
        F.sum(quote).alias("quote_volume"),
        F.count("trade_id").alias("trade_count"),
        F.sum(F.when(taker_buys, quantity).otherwise(0)).alias("taker_buy_volume"),
        F.sum(F.when(taker_buys, quote).otherwise(0)).alias("taker_buy_quote_volume"),
        F.min("trade_id").alias("first_trade_id"),
        F.max("trade_id").alias("last_trade_id"),
    ]


def _order() -> Column:
    """What open and close go by, within a second: time, then id.

    One 64-bit number, because an ordering that is a struct would take the aggregation off HashAggregate.
    """
    return F.col("time_ms") % 1000 * F.lit(ORDER_BASE) + F.col("trade_id")


def _finished(measured: DataFrame, *others: str) -> DataFrame:
    """Bars, of their keys and `_measures`; and these other columns behind them."""
    return measured.select(
        "*",
        _vwap().alias("vwap"),
        (F.col("last_trade_id") - F.col("first_trade_id") + 1 - F.col("trade_count")).alias("missing_trades"),
        F.lit(0).alias("revision"),
        F.to_date("timestamp").alias("date"),
    ).select(*(F.col(name).cast(kind).alias(name) for name, kind in COLUMNS.items()), *others)


def _vwap() -> Column:
    """quote_volume / volume, half up at 8 decimals, in whole numbers: `/` on decimals this wide keeps only 6.

    decimal(27,8) holds the volume of 10^8 trades of the largest size, and keeps every product below exact at 38 digits.
    """
    volume = F.col("volume").try_cast("decimal(27,8)")
    whole = F.call_function("div", F.col("quote_volume"), volume)
    rest = (F.col("quote_volume") % volume).try_cast("decimal(27,8)")
    steps = F.call_function("div", rest * _whole(2 * 10**8) + volume, volume * _whole(2))
    return whole.cast("decimal(18,8)") + steps.cast("decimal(10,0)") * F.lit("0.00000001").cast("decimal(8,8)")


def _whole(number: int) -> Column:
    return F.lit(number).cast(f"decimal({len(str(number))},0)")
