"""Trades to 1-second bars: `market.bar.bars_of`, said in Spark's built-in functions."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

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


def to_bars(elements: DataFrame, *, watermark_delay_ms: int) -> DataFrame:
    """The bars of valid elements (`bars.parse.valid`), each when the watermark has passed its end.

    The same transform runs in batch, where Spark ignores the watermark. Open and close go by one 64-bit number, because
    an ordering that is a struct would take the aggregation off HashAggregate.
    """
    order = F.col("time_ms") % 1000 * F.lit(ORDER_BASE) + F.col("trade_id")
    price, quantity = F.col("price"), F.col("quantity")
    # decimal(18,8) times decimal(19,8) is decimal(38,16), exactly; above zero, floor cuts.
    quote = F.floor(price * quantity, F.lit(8)).cast("decimal(38,8)")
    taker_buys = ~F.col("is_buyer_maker")
    return (
        elements.withWatermark("event_time", f"{watermark_delay_ms} milliseconds")
        .groupBy("exchange", "symbol", F.window("event_time", f"{WIDTH_MS} milliseconds").alias("window"))
        .agg(
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
        )
        # Heartbeats leave here and not before: a filter below the watermark would keep them from moving it.
        .filter(F.col("trade_count") > 0)
        .select(
            "*",
            F.col("window.start").alias("timestamp"),
            _vwap().alias("vwap"),
            (F.col("last_trade_id") - F.col("first_trade_id") + 1 - F.col("trade_count")).alias("missing_trades"),
            F.lit(0).alias("revision"),
            F.to_date("window.start").alias("date"),
        )
        .select(*(F.col(name).cast(kind).alias(name) for name, kind in COLUMNS.items()))
    )


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
