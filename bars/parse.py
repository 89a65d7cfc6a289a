"""Kafka records to elements: `market.trade.read_record`, said in Spark's built-in functions.

Trades as we write them are read by a pattern (`bars/plain.py`). Everything else is read as text first, because text is
exact: Spark's `from_json` reprints a JSON number that it reads into a string by way of a double, and rounds one that it
reads into a decimal. So bare numbers are quoted before parsing, held to a pattern, and cast only then, which no input
can make throw.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from bars import plain
from market.trade import (
    EARLIEST_MS,
    EXCHANGES,
    INTEGER,
    NUMERAL,
    NUMERAL_LENGTH,
    PRICE_LIMIT,
    QUANTITY_LIMIT,
    SYMBOL,
    TRADE_ID_LIMIT,
    Reason,
)

RAW_ELEMENTS = 64
"""A record of more elements than this does not stand in the row of each: a mebibyte of `{},` has 350,000 of them, and
would fill the memory. Of such an element its own text is kept, as it was written or as its known fields."""

_ELEMENT = ", ".join(
    f"{name}: string"
    for name in (
        "exchange",
        "symbol",
        "price",
        "quantity",
        "timestamp",
        "trade_id",
        "is_buyer_maker",
        "heartbeat",
    )
)
_BARE_NUMBER = r'("(?:price|quantity)"\s*:\s*)(-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)(?=\s*[,}])'


def parse(records: DataFrame, *, future_tolerance_ms: int) -> DataFrame:
    """The elements of Kafka records: one row per trade, heartbeat or rejected element.

    `records` has the columns of Spark's Kafka source. The result has topic, partition, offset, index (of the element in
    its record), kafka_time, raw (the record's bytes, or the element's: `RAW_ELEMENTS`), exchange, symbol, price,
    quantity, event_time, time_ms, trade_id, is_buyer_maker, is_heartbeat and reason: null where the element is valid,
    and only then are the others to be read.
    """
    return records.transform(_elements).transform(_read).transform(_judge, future_tolerance_ms=future_tolerance_ms)


def valid(elements: DataFrame) -> DataFrame:
    """The trades and heartbeats. This filter stands before the watermark, so nothing invalid can move it."""
    return elements.filter(F.col("reason").isNull())


def trades(elements: DataFrame) -> DataFrame:
    """The trades alone."""
    return valid(elements).filter(~F.col("is_heartbeat"))


def rejected(elements: DataFrame) -> DataFrame:
    """The elements that are neither trades nor heartbeats."""
    return elements.filter(F.col("reason").isNotNull())


def _elements(records: DataFrame) -> DataFrame:
    """One row per element: the text of a plain trade, or the fields of another element as text. A record that is no
    element at all is one row with its reason."""
    text = F.col("value").cast("string")
    read = (
        records.withColumn("is_trade", plain.is_trade(text))
        .withColumn("trades", F.when(~F.col("is_trade"), plain.trades_in(text)))
        .withColumn("others", F.when(~F.col("is_trade") & F.col("trades").isNull(), _parsed()))
    )
    nothing = F.lit(None)
    elements = (
        F.when(F.col("is_trade"), F.array(_element(text, nothing)))
        .when(F.col("trades").isNotNull(), F.transform("trades", lambda trade: _element(trade, nothing)))
        .otherwise(F.transform("others", lambda other: _element(nothing, other)))
    )
    return (
        read.select(
            "topic",
            "partition",
            "offset",
            F.col("timestamp").alias("kafka_time"),
            F.col("value").alias("raw"),
            elements.alias("elements"),
        )
        .select(
            "*",
            F.when(F.coalesce(F.length("raw"), F.lit(0)) == 0, Reason.NO_VALUE)
            .when(F.col("elements").isNull(), Reason.MALFORMED)
            .when(F.size("elements") == 0, Reason.EMPTY)
            .alias("record_reason"),
            F.size("elements").alias("number"),
            F.posexplode_outer("elements").alias("index", "element"),
        )
        .select("topic", "partition", "offset", "index", "kafka_time", _raw(), "record_reason", "element.*")
    )


def _raw() -> Column:
    """The record's bytes; where it has very many elements, the element's own."""
    own = F.coalesce("element.trade", F.to_json("element.other"), F.lit("null")).cast("binary")
    return F.when(F.col("number") > RAW_ELEMENTS, own).otherwise(F.col("raw")).alias("raw")


def _element(trade: Column, other: Column) -> Column:
    return F.struct(trade.cast("string").alias("trade"), other.cast(f"struct<{_ELEMENT}>").alias("other"))


def _parsed() -> Column:
    """The elements of a record by way of JSON; null where it is none."""
    text = F.expr(r"trim(LEADING ' \t\r\n' FROM CAST(value AS STRING))")
    quoted = F.when(_may_hold_bare_numbers(text), F.regexp_replace(text, _BARE_NUMBER, '$1"$2"')).otherwise(text)
    # from_json stops reading after the first value, and a second one behind it would vanish. So the text is wrapped in
    # an array, which must then hold one value.
    wrapped = F.when(text.startswith("{"), F.concat(F.lit('{"one":['), quoted, F.lit("]}"))).when(
        text.startswith("["), F.concat(F.lit('{"many":['), quoted, F.lit("]}"))
    )
    # Where a value is damaged, from_json reads on behind it, and what it makes of the rest may look like a trade.
    schema = f"one array<struct<{_ELEMENT}>>, many array<array<struct<{_ELEMENT}>>>, damage string"
    parsed = F.from_json(wrapped, schema, {"columnNameOfCorruptRecord": "damage", "allowSingleQuotes": "false"})
    one, many, whole = parsed["one"], parsed["many"], parsed["damage"].isNull()
    return F.when(whole & (F.size(one) == 1), one).when(whole & (F.size(many) == 1), many[0])


def _may_hold_bare_numbers(text: Column) -> Column:
    """Whether a price or quantity stands without quotes. Much cheaper to ask than to replace, and rarely true."""
    rest = F.replace(F.replace(text, F.lit('"price":"'), F.lit("")), F.lit('"quantity":"'), F.lit(""))
    return rest.contains('"price"') | rest.contains('"quantity"')


def _read(elements: DataFrame) -> DataFrame:
    """The fields with their types; null where the text is not of the type's form."""
    field, parts = F.col("other").getField, F.col("parts")
    return (
        elements.withColumn("parts", plain.parts_of(F.col("trade")))
        .select(
            "topic",
            "partition",
            "offset",
            "index",
            "kafka_time",
            "raw",
            F.col("trade").isNotNull().alias("is_plain"),
            F.coalesce(
                F.col("record_reason"), F.when(F.col("trade").isNull() & F.col("other").isNull(), Reason.MALFORMED)
            ).alias("record_reason"),
            F.coalesce(plain.exchange(parts), field("exchange")).alias("exchange"),
            F.coalesce(plain.symbol(parts), field("symbol")).alias("symbol"),
            plain.price(parts).alias("plain_price"),
            plain.quantity(parts).alias("plain_quantity"),
            _numeral_text(field("price")).alias("price_text"),
            _numeral_text(field("quantity")).alias("quantity_text"),
            F.coalesce(plain.time_ms(parts), _integer(F.coalesce(field("heartbeat"), field("timestamp")))).alias(
                "time_ms"
            ),
            F.coalesce(plain.trade_id(parts), _integer(field("trade_id"))).alias("trade_id"),
            F.coalesce(plain.is_buyer_maker(parts).cast("string"), field("is_buyer_maker")).alias("side"),
            field("heartbeat").isNotNull().alias("is_heartbeat"),
        )
        .select(
            "*",
            F.col("price_text").try_cast("decimal(38,27)").alias("price_number"),
            F.col("quantity_text").try_cast("decimal(38,27)").alias("quantity_number"),
        )
    )


def _judge(fields: DataFrame, *, future_tolerance_ms: int) -> DataFrame:
    """The same rows with the first reason against each, in the order of `market.trade.Reason`."""
    is_trade = ~F.col("is_heartbeat")
    time, side = F.col("time_ms"), F.col("side")
    latest = F.unix_millis("kafka_time") + F.lit(future_tolerance_ms)
    of_plain: list[tuple[Column, str]] = [
        (F.col("trade_id") >= TRADE_ID_LIMIT, Reason.TRADE_ID),
        (time < EARLIEST_MS, Reason.TOO_OLD),
        (time > latest, Reason.FUTURE),
    ]
    problems: list[tuple[Column, str]] = [
        (~_true(F.col("exchange").isin(*EXCHANGES)), Reason.EXCHANGE),
        (F.col("is_heartbeat") & time.isNull(), Reason.HEARTBEAT),
        (is_trade & ~_true(_matches(F.col("symbol"), SYMBOL)), Reason.SYMBOL),
        *(
            (is_trade & problem, reason)
            for problem, reason in (
                *_numeral_problems("price", int(PRICE_LIMIT)),
                *_numeral_problems("quantity", int(QUANTITY_LIMIT)),
            )
        ),
        (is_trade & ~_true(F.col("trade_id") < TRADE_ID_LIMIT), Reason.TRADE_ID),
        (is_trade & ~_true(side.isin("true", "false")), Reason.SIDE),
        (time.isNull(), Reason.TIMESTAMP),
        (time < EARLIEST_MS, Reason.TOO_OLD),
        (time > latest, Reason.FUTURE),
    ]
    reason = F.when(F.col("is_plain"), _first(of_plain)).otherwise(_first(problems))
    return fields.select(
        "topic",
        "partition",
        "offset",
        "index",
        "kafka_time",
        "raw",
        "exchange",
        "symbol",
        F.coalesce("plain_price", F.col("price_number").try_cast("decimal(18,8)")).alias("price"),
        F.coalesce("plain_quantity", F.col("quantity_number").try_cast("decimal(19,8)")).alias("quantity"),
        # Of times that can be, for a rejected one of 16 digits would overflow here and fail the query.
        F.timestamp_millis(F.when(time <= latest, time)).alias("event_time"),
        "time_ms",
        "trade_id",
        (side == "true").alias("is_buyer_maker"),
        "is_heartbeat",
        F.coalesce(F.col("record_reason"), reason).alias("reason"),
    )


def _first(problems: list[tuple[Column, str]]) -> Column:
    """The first reason of which the condition holds; null where none does."""
    return reduce(lambda case, problem: case.when(*problem), problems[1:], F.when(*problems[0]))


def _numeral_problems(name: str, limit: int) -> list[tuple[Column, str]]:
    text, number = F.col(f"{name}_text"), F.col(f"{name}_number")
    shape, sign, scale, range_ = (
        getattr(Reason, f"{name.upper()}{suffix}") for suffix in ("", "_SIGN", "_SCALE", "_RANGE")
    )
    has_digits = text.rlike(r"\A[^eE]*[1-9]")  # 1e-40 is above zero, although its 27 first decimals are not
    # A numeral of at most 20 characters cannot have digits both in the first 8 and behind the first 27 decimals,
    # so the rounding to 27 hides none.
    exact = _true(number == number.try_cast("decimal(19,8)")) & (number > 0)
    return [
        (text.isNull(), shape),
        (text.startswith("-") | (_true(number == 0) & ~has_digits), sign),
        (number.isNull() | (number >= limit), range_),
        (~exact, scale),
    ]


def _numeral_text(text: Column) -> Column:
    return F.when(_matches(text, NUMERAL) & (F.length(text) <= NUMERAL_LENGTH), text)


def _integer(text: Column) -> Column:
    return F.when(_matches(text, INTEGER), text.try_cast("bigint"))


def _matches(text: Column, pattern: str) -> Column:
    return text.rlike(rf"\A(?:{pattern})\z")


def _true(condition: Column) -> Column:
    """The condition, with unknown as false."""
    return F.coalesce(condition, F.lit(False))
