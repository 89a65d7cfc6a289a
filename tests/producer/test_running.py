"""Work that ends together."""

from __future__ import annotations

import asyncio

import pytest

from producer.running import first_of, together


def test_all_have_ended_when_one_has_failed_or_all_are_told_to_stop() -> None:
    """Each is cancelled once: what it does at its end, such as taking leave of an exchange, is not broken off."""

    async def scenario() -> None:
        ended: list[str] = []

        async def slow_to_end() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                for _ in range(5):
                    await asyncio.sleep(0.002)
                ended.append("slow")

        async def fails() -> None:
            await asyncio.sleep(0)
            raise LookupError("it")

        with pytest.raises(LookupError, match=r"^it$"):
            await together(slow_to_end(), fails(), asyncio.Event().wait())
        assert ended == ["slow"]
        work = asyncio.create_task(together(slow_to_end(), asyncio.Event().wait(), slow_to_end()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        work.cancel()
        await asyncio.wait([work])
        assert work.cancelled()
        assert ended == ["slow"] * 3

    asyncio.run(scenario())


def test_the_results_come_in_the_order_of_the_work() -> None:
    """Whichever ends first."""

    async def after(turns: int) -> int:
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    async def scenario() -> list[int]:
        return await together(after(3), after(1), after(2))

    assert asyncio.run(scenario()) == [3, 1, 2]


def test_what_fails_at_its_end_is_not_lost() -> None:
    """Told to stop, a work that cannot put its things in safety is heard of, through any number of layers."""

    async def fails_at_its_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise LookupError("the disk is full")

    async def scenario() -> None:
        stop = asyncio.Event()
        work = asyncio.create_task(first_of(stop, together(fails_at_its_end(), asyncio.Event().wait())))
        await asyncio.sleep(0.01)
        stop.set()
        with pytest.raises(LookupError, match=r"^the disk is full$"):
            await work

    asyncio.run(scenario())
