"""Poison: records of which no trade can be made. Each is put aside with its reason, and nothing else suffers.

`tests/elements.py` has the odd records that every reader must read alike; these here go through the running job.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from bars.tables import REJECTED, TRADES
from market.trade import Reason, Rejected, Trade, read_record, record_of
from tests.bars.runs import START_MS, Job, configured, heartbeat, new_topic, position, some
from tests.bars.test_parse import comparable, read_by_spark
from tests.elements import GOOD, KAFKA_MS, TOLERANCE_MS

pytestmark = pytest.mark.spark

MIB = 2**20 - 1_000
"""As much as Kafka takes in a record, less some for the rest of it."""


def made(**fields: Any) -> bytes:
    """The good trade, with other fields."""
    return json.dumps(GOOD | fields).encode()


def literal(name: str, text: str) -> bytes:
    """The good trade, with this text in place of a field's value: what `json.dumps` would not write."""
    return made(**{name: "HERE"}).replace(b'"HERE"', text.encode())


def without(name: str) -> bytes:
    """The good trade, less a field."""
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


BROKEN = b'{"price":"1\x01,'
"""The beginning of an object that is no JSON. Spark's `from_json` reads on behind it, and may find a trade there."""

POISON: dict[str, tuple[bytes | None, str]] = {
    "no value at all": (None, Reason.NO_VALUE),
    "an empty value": (b"", Reason.NO_VALUE),
    "blanks": (b" \t\r\n", Reason.MALFORMED),
    "one zero byte": (b"\0", Reason.MALFORMED),
    "zeros": (b"\0" * 4096, Reason.MALFORMED),
    "random bytes": (random.Random(1).randbytes(4096), Reason.MALFORMED),
    "a megabyte of text": (b"x" * MIB, Reason.MALFORMED),
    "a megabyte of opened arrays": (b"[" * MIB, Reason.MALFORMED),
    "a megabyte of opened objects": (b'{"a":' * (MIB // 5), Reason.MALFORMED),
    "a megabyte of symbol": (made(symbol="A" * MIB), Reason.SYMBOL),
    "a megabyte of price": (literal("price", "1" * MIB), Reason.PRICE),
    "a megabyte of backslashes": (made(symbol="\\" * (MIB // 2)), Reason.SYMBOL),
    "a word": (b"price", Reason.MALFORMED),
    "a number alone": (b"1e40", Reason.MALFORMED),
    "NaN alone": (b"NaN", Reason.MALFORMED),
    "true alone": (b"true", Reason.MALFORMED),
    "CSV": (b"binance,BTCUSDT,42150.50,0.05,1762702223123,1,false", Reason.MALFORMED),
    "XML": (b"<trade exchange='binance'/>", Reason.MALFORMED),
    "single quotes": (record_of(Trade(**GOOD)).replace(b'"', b"'"), Reason.MALFORMED),
    "a comment": (b"/* trade */ " + made(), Reason.MALFORMED),
    "a trailing comma": (made()[:-1] + b",}", Reason.MALFORMED),
    "cut in the middle": (made()[:60], Reason.MALFORMED),
    "cut inside a character": ('{"exchange":"ü'.encode()[:-1], Reason.MALFORMED),
    "UTF-16": (made().decode().encode("utf-16"), Reason.MALFORMED),
    "compressed": (bytes.fromhex("1f8b0800000000000003") + b"\xab\x56\x4a", Reason.MALFORMED),
    "an array of arrays": (b"[[" + made() + b"],[" + made() + b"]]", Reason.MALFORMED),
    "arrays within arrays": (b"[" * 500 + b"]" * 500, Reason.MALFORMED),
    "an array of texts": (b'["BTCUSDT","1","2"]', Reason.MALFORMED),
    "an empty array": (b"[]", Reason.EMPTY),
    "an object without fields": (b"{}", Reason.EXCHANGE),
    "an object in an object": (b'{"trade":' + made() + b"}", Reason.EXCHANGE),
    "keys in capitals": (json.dumps({name.upper(): GOOD[name] for name in GOOD}).encode(), Reason.EXCHANGE),
    "a value without its end, and a trade behind it": (BROKEN + made()[1:], Reason.MALFORMED),
    "the same behind a good trade": (b"[" + made() + b"," + BROKEN + made()[1:] + b"]", Reason.MALFORMED),
    "a time without its end, and a heartbeat": (
        b'{"heartbeat":"\x01,"heartbeat":1762702224000,"exchange":"binance"}',
        Reason.MALFORMED,
    ),
    "an exchange nobody knows": (made(exchange="mtgox"), Reason.EXCHANGE),
    "an exchange that is an array": (made(exchange=["binance"]), Reason.EXCHANGE),
    "an exchange with a zero byte": (made(exchange="binance\0"), Reason.EXCHANGE),
    "control characters in the symbol": (made(symbol="BTC\x1b[31m\x07"), Reason.SYMBOL),
    "raw control characters": (made(symbol="HERE").replace(b"HERE", b"BTC\x01USDT"), Reason.MALFORMED),
    "a line end in the symbol": (made(symbol="BTCUSDT\n"), Reason.SYMBOL),
    "a Cyrillic letter in the symbol": (made(symbol="BTСUSDT"), Reason.SYMBOL),
    "text from right to left": (made(symbol="\u202eTDSUCTB"), Reason.SYMBOL),
    "half a surrogate pair": (literal("symbol", '"\\ud800"'), Reason.SYMBOL),
    "a symbol that is a path": (made(symbol="../../etc/passwd"), Reason.SYMBOL),
    "a symbol that is SQL": (made(symbol="'; DROP TABLE bars_1s; --"), Reason.SYMBOL),
    "a symbol that is a number": (made(symbol=1.5), Reason.SYMBOL),
    "NaN as a price": (made(price=float("nan")), Reason.PRICE),
    "infinity as a price": (made(price=float("inf")), Reason.PRICE),
    "minus infinity as a quantity": (made(quantity=float("-inf")), Reason.QUANTITY),
    "NaN in quotes": (made(price="NaN"), Reason.PRICE),
    "a negative price": (made(price="-42150.50"), Reason.PRICE_SIGN),
    "a price below zero by nothing": (made(price="-0"), Reason.PRICE_SIGN),
    "a price of zero": (made(price=0), Reason.PRICE_SIGN),
    "a price of 1e40": (literal("price", "1e40"), Reason.PRICE_RANGE),
    "a price of 10^40 in digits": (literal("price", "1" + "0" * 40), Reason.PRICE),
    "a price of 1e400": (literal("price", "1e400"), Reason.PRICE),
    "a price of 1e-40": (literal("price", "1e-40"), Reason.PRICE_SCALE),
    "a price in hexadecimal": (made(price="0x10"), Reason.PRICE),
    "a price with a currency": (made(price="$42150.50"), Reason.PRICE),
    "a price with underscores": (made(price="42_150.50"), Reason.PRICE),
    "a price in an object": (made(price={"value": "42150.50"}), Reason.PRICE),
    "no price": (without("price"), Reason.PRICE),
    "a negative quantity": (made(quantity="-1"), Reason.QUANTITY_SIGN),
    "a quantity of zero": (made(quantity="0.00000000"), Reason.QUANTITY_SIGN),
    "a quantity of 1e40": (literal("quantity", "1e40"), Reason.QUANTITY_RANGE),
    "a quantity too fine": (made(quantity="0.000000001"), Reason.QUANTITY_SCALE),
    "no quantity": (without("quantity"), Reason.QUANTITY),
    "an id of 10^40": (literal("trade_id", "1" + "0" * 40), Reason.TRADE_ID),
    "an id of 2^63": (made(trade_id=2**63), Reason.TRADE_ID),
    "an id with an exponent": (literal("trade_id", "1e3"), Reason.TRADE_ID),
    "an id that is a word": (made(trade_id="a17"), Reason.TRADE_ID),
    "a side that is a word": (made(is_buyer_maker="buy"), Reason.SIDE),
    "a side that is a number": (made(is_buyer_maker=0), Reason.SIDE),
    "a time in seconds": (made(timestamp=1_762_702_223), Reason.TOO_OLD),
    "a time in microseconds": (made(timestamp=1_762_702_223_123_456), Reason.FUTURE),
    "a time in nanoseconds": (made(timestamp=1_762_702_223_123_456_789), Reason.TIMESTAMP),
    "a time of the most digits": (made(timestamp=9_999_999_999_999_999), Reason.FUTURE),
    "a heartbeat of the most digits": (heartbeat(9_999_999_999_999_999), Reason.FUTURE),
    "a time in days": (made(timestamp=20_401), Reason.TOO_OLD),
    "a time before the epoch": (made(timestamp=-1), Reason.TIMESTAMP),
    "a time in words": (made(timestamp="2025-11-09T15:30:23Z"), Reason.TIMESTAMP),
    "a time in the year 2096": (made(timestamp=4_000_000_000_000), Reason.FUTURE),
    "a time that is true": (made(timestamp=True), Reason.TIMESTAMP),
    "a heartbeat in the year 2096": (heartbeat(4_000_000_000_000), Reason.FUTURE),
    "a heartbeat in words": (b'{"exchange":"binance","heartbeat":"now"}', Reason.HEARTBEAT),
    "a heartbeat of no exchange": (b'{"heartbeat":1762702224000}', Reason.EXCHANGE),
}
UNKNOWN = 2_000
"""Symbols that nobody has heard of: so many of a form that no symbol has, and so many of one that it may have."""


def test_poison_is_put_aside_and_harms_nothing(spark: SparkSession, kafka: str, tmp_path: Path) -> None:
    """Between good trades, every poisonous record is rejected with its reason and bytes, and the bars are exact."""
    assert len(POISON) >= 40
    job = Job(configured(kafka, new_topic(kafka, partitions=1), tmp_path), spark)
    good = iter(map(record_of, some(len(POISON) + 1)))
    values = [next(good)]
    for value, _ in POISON.values():
        values += [value, next(good)]  # type: ignore[list-item]
    values += [made(symbol=f"nobody-{number}") for number in range(UNKNOWN)]
    values += [made(symbol=f"X{number:04}", timestamp=START_MS) for number in range(UNKNOWN)]
    job.send(values)
    assert job.process() == 0
    # What comes after the poison is read as well, in a run of its own.
    job.send(
        [*map(record_of, some(50, first_id=1_000, start_ms=START_MS + 20_000)), None, heartbeat(START_MS + 100_000)]
    )
    assert job.process() == 0

    names = [*POISON, *(f"nobody-{number}" for number in range(UNKNOWN))]
    reasons = {name: reason for name, (_, reason) in POISON.items()}
    places = [*range(1, 2 * len(POISON), 2), *range(2 * len(POISON) + 1, 2 * len(POISON) + 1 + UNKNOWN)]
    rows = {row["offset"]: (row["raw"], row["reason"]) for row in job.rows(REJECTED)}
    told = {name: rows.pop(offset, None) for name, offset in zip(names, places, strict=True)}
    assert {name: row and row[1] for name, row in told.items()} == {
        name: reasons.get(name, Reason.SYMBOL) for name in names
    }
    assert [row and row[0] for row in told.values()] == [values[offset] for offset in places]
    assert [reason for _, reason in rows.values()] == [Reason.NO_VALUE]

    elements = job.elements()
    trades = {place for place, element in elements.items() if isinstance(element, Trade)}
    assert sorted(map(position, job.rows(TRADES))) == sorted(trades)
    rejected = {place for place, element in elements.items() if isinstance(element, Rejected)}
    assert sorted(map(position, job.rows(REJECTED))) == sorted(rejected)
    bars = job.bars()
    assert bars == job.expected()
    assert sum(bar.trade_count for bar in bars) == len(trades) == len(POISON) + 1 + UNKNOWN + 50


FUZZED = 10_000
ODD = [
    *(
        None,
        True,
        False,
        [],
        {},
        [None],
        [[]],
        {"price": "1"},
        "",
        " ",
        "NaN",
        "null",
        "true",
        "-",
        "\0",
        "\u2028",
        "٣",
    ),
    *(-1, 0, 1, 1.5, 1e-9, 1e308, 10**40, 2**53, 2**53 - 1, 2**63, float("nan"), float("inf"), "1e5", "1E-8", "1e99"),
    *("01", "1.", ".5", "+1", "0.000000001", "9999999999.99999999", "10000000000", "x" * 300, "9" * 300),
    *("binance", "coinbase", "BTCUSDT", 1_762_702_223_123, 1_762_702_223, 1_762_702_223_123_000, "1762702223123"),
]
PIECES = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ",",
    ":",
    "\\",
    "\\u0000",
    "\\ud83d",
    "null",
    "1e",
    "-",
    "\n",
    '"price":7,',
    "\ufeff",
]


def fuzzed(chance: random.Random) -> bytes:
    """A record that was a good one, damaged in its values, in its text, in its bytes, or not at all."""
    many = [element(chance) for _ in range(chance.choice((1, 1, 1, 0, 2, 3)))]
    content = many[0] if len(many) == 1 and chance.random() < 0.7 else many
    text = json.dumps(content, ensure_ascii=chance.random() < 0.5, separators=chance.choice(((",", ":"), None)))
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        text = text[:start] + chance.choice((*PIECES, "", text[start:end] * 2)) + text[chance.choice((start, end)) :]
    value = bytearray(text.encode(chance.choice(("utf-8",) * 9 + ("utf-16",)), "surrogatepass"))
    for _ in range(chance.choice((0, 0, 0, 1, 3)) if value else 0):
        value[chance.randrange(len(value))] = chance.randrange(256)
    return bytes(value)


def element(chance: random.Random) -> Any:
    """A trade or a heartbeat, up to three of its fields changed, lost, renamed or doubled; rarely neither."""
    if chance.random() < 0.05:
        return chance.choice(ODD)
    made: dict[str, Any] = dict(GOOD) if chance.random() < 0.9 else {"exchange": "coinbase", "heartbeat": KAFKA_MS}
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        name = chance.choice(list(made))
        match chance.randrange(6):
            case 0:
                del made[name]
            case 1:
                made[chance.choice((name.upper(), f" {name}", "heartbeat", "other"))] = made.pop(name)
            case _:
                made[name] = chance.choice(ODD)
        made = made or dict(GOOD)
    return made


def test_fuzzed_records_are_read_as_by_plain_python(spark: SparkSession) -> None:
    """Of 10,000 damaged records, Spark finds the same elements, values and reasons as `market.trade.read_record`."""
    chance = random.Random(5)
    values: list[bytes | None] = [fuzzed(chance) for _ in range(FUZZED)]
    expected = [[comparable(one) for one in read_record(value, KAFKA_MS, TOLERANCE_MS)] for value in values]
    read = read_by_spark(spark, values)
    wrong = [case for case in zip(values, expected, read, strict=True) if case[1] != case[2]]
    assert wrong == []
    kinds = {one.reason if isinstance(one, Rejected) else type(one).__name__ for many in expected for one in many}
    assert len(kinds) >= 18  # the damage reaches nearly every rule, and leaves some as they were
