"""A hub: one stream for many, each with a bound of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serve.hub import Hub, TooSlow


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_everyone_who_listens_gets_every_item_in_order() -> None:
    """From when they came, until they leave."""

    async def scenario() -> None:
        hub: Hub[int] = Hub()
        hub.publish(0)
        async with hub.listen() as one:
            hub.publish(1)
            async with hub.listen() as other:
                hub.publish(2)
                assert hub.listeners == 2
                assert [await anext(one), await anext(one), await anext(other)] == [1, 2, 2]
            hub.publish(3)
            assert (await anext(one), other.waiting, hub.listeners) == (3, 0, 1)
        assert hub.listeners == 0

    run(scenario)


def test_one_who_waits_is_woken() -> None:
    """The item comes to a listener that has asked for it already."""

    async def scenario() -> None:
        hub: Hub[str] = Hub()
        async with hub.listen() as listener:
            asking = asyncio.ensure_future(anext(listener))
            await asyncio.sleep(0)
            assert not asking.done()
            hub.publish("here")
            assert await asking == "here"

    run(scenario)


def test_a_slow_listener_is_told_and_cut_and_the_others_go_on() -> None:
    """It gets nothing with a hole in it: not what still waited, nor what came later."""

    async def scenario() -> None:
        hub: Hub[int] = Hub()
        async with hub.listen(2) as slow, hub.listen(10) as quick:
            for number in range(4):
                hub.publish(number)
            with pytest.raises(TooSlow, match="more than 2 items behind"):
                await anext(slow)
            with pytest.raises(TooSlow):
                await anext(slow)
            assert [await anext(quick) for _ in range(4)] == [0, 1, 2, 3]
            assert (hub.listeners, hub.cut) == (1, 1)

    run(scenario)


def test_the_end_comes_behind_the_last_item() -> None:
    """What was published is still taken; one who comes after the end has it at once."""

    async def scenario() -> None:
        hub: Hub[int] = Hub()
        async with hub.listen() as listener:
            hub.publish(1)
            hub.close()
            assert [item async for item in listener] == [1]
        async with hub.listen() as late:
            assert [item async for item in late] == []

    run(scenario)
