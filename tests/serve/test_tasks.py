"""How tasks end."""

from __future__ import annotations

import asyncio

import pytest

from serve.tasks import Works, end


def test_one_that_takes_a_cancellation_for_a_failure_ends_all_the_same() -> None:
    """As one does that tries again whatever has failed."""
    taken = 0

    async def stubborn() -> None:
        nonlocal taken
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                taken += 1
                if taken > 1:
                    raise

    async def run() -> None:
        tasks = [asyncio.create_task(stubborn()), asyncio.create_task(asyncio.sleep(0))]
        await asyncio.sleep(0.01)
        await asyncio.wait_for(end(tasks), 30)
        assert all(task.done() for task in tasks)

    asyncio.run(run())
    assert taken == 2


def test_a_failure_is_told_when_all_have_ended() -> None:
    """And none of the others goes on."""

    async def fails() -> None:
        raise ValueError("a defect")

    async def run() -> None:
        tasks = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(60))]
        await asyncio.sleep(0.01)
        with pytest.raises(ValueError, match="a defect"):
            await end(tasks)
        assert all(task.done() for task in tasks)

    asyncio.run(run())


def test_what_fails_is_begun_anew_told_and_counted() -> None:
    """Others go on meanwhile; after some time without a failure nothing is told any more."""
    works, begun, hears = Works(again_s=0.01, recent_s=0.2), 0, asyncio.Event()

    async def fails_once() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ValueError("a defect")
        await asyncio.Event().wait()

    async def run() -> None:
        async with asyncio.timeout(30), works.going_on({"one": fails_once, "other": hears.wait}):  # type: ignore[dict-item]
            while not works.problem:
                await asyncio.sleep(0)
            assert "one" in works.problem
            assert "other" not in works.problem
            while begun < 2 or works.problem:
                await asyncio.sleep(0.01)
            assert works.failures == {"one": 1, "other": 0}

    asyncio.run(run())
    assert begun == 2
