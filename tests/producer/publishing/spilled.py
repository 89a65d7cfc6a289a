"""What the tests of the spill share."""

from __future__ import annotations

from pathlib import Path

from producer.publishing.record import Record
from producer.publishing.spill import Spill
from tests.producer.doubles import ScriptedKafka

LIMIT = 2**30


def record(number: int, size: int = 4) -> Record:
    """A record of one trade that differs from all others."""
    return Record("topic", None, b"BTCUSDT", b"%0*d" % (size, number), 1)


def numbers(records: list[Record | None]) -> list[int | None]:
    """Which records they are."""
    return [None if one is None else int(one.value) for one in records]


def ids(kafka: ScriptedKafka) -> list[int]:
    """The trades that were sent."""
    return [content["trade_id"] for content, _, _ in kafka.sent if "trade_id" in content]


def left(folder: Path) -> list[int]:
    """What a new run finds there."""
    later = Spill(folder, "topic", limit_bytes=LIMIT)
    try:
        return [int(one.value) for leftover in later.leftovers() for one in leftover.records]
    finally:
        later.close()


async def everything(target: Spill) -> list[Record | None]:
    """All that can be read."""
    found: list[Record | None] = []
    while records := await target.read(7):
        found.extend(records)
    return found
