"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from producer.publishing.apart import each
from producer.publishing.record import MAGIC, packed
from producer.publishing.spill import Spill, SpillError
from tests.producer.publishing.spilled import LIMIT, record


def test_the_event_loop_goes_on_while_an_element_is_made() -> None:
    """Each element waits here for something that only the loop does."""
    asked, given = threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        for number in range(3):
            asked.set()
            assert given.wait(10), "the loop stands still"
            given.clear()
            yield number

    async def giving() -> None:
        while True:
            if asked.is_set():
                asked.clear()
                given.set()
            await asyncio.sleep(0.001)

    async def scenario() -> list[int]:
        task = asyncio.create_task(giving())
        try:
            return [number async for number in each(slow())]
        finally:
            task.cancel()

    assert asyncio.run(scenario()) == [0, 1, 2]


def test_what_an_element_raises_is_raised() -> None:
    """As in a plain loop."""

    def broken() -> Iterator[int]:
        yield 1
        raise SpillError("cannot be read")

    found: list[int] = []

    async def scenario() -> None:
        async for number in each(broken()):
            found.append(number)

    with pytest.raises(SpillError, match="cannot be read"):
        asyncio.run(scenario())
    assert found == [1]


def test_leftovers_are_read_apart_while_the_spill_is_used(tmp_path: Path) -> None:
    """All of them come, in order; each can be forgotten while the next is read, and new records are taken."""
    folder = tmp_path / "topic/1"
    folder.mkdir(parents=True)
    for number in range(20):
        (folder / f"{number + 1:08}.records").write_bytes(MAGIC + (packed(record(number)) if number % 3 else b""))

    async def scenario() -> list[int]:
        target = Spill(tmp_path, "topic", limit_bytes=LIMIT)
        found = []
        async for leftover in each(target.leftovers()):
            found += [int(one.value) for one in leftover.records]
            target.append(record(100))
            target.forget(leftover.mark)
        await target.sync()
        assert (target.trades, target.size) == (
            len(found),
            sum(path.stat().st_size for path in folder.glob("*.records")),
        )
        target.close()
        return found

    assert asyncio.run(scenario()) == [number for number in range(20) if number % 3]
