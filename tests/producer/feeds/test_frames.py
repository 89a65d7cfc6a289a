"""The queue between the sockets and the mapper."""

from __future__ import annotations

import asyncio

from producer.feeds.frames import Frames
from tests.producer.doubles import until


def test_frames_come_out_as_they_went_in() -> None:
    """In order, each with the number of its connection."""

    async def scenario() -> None:
        frames = Frames(10)
        for number in range(3):
            await frames.put(number, f"frame {number}")
        assert [await frames.take() for _ in range(3)] == [(0, "frame 0"), (1, "frame 1"), (2, "frame 2")]

    asyncio.run(scenario())


def test_a_full_queue_makes_its_writer_wait() -> None:
    """The third frame gets in when the first has been taken; the wait is counted."""

    async def scenario() -> None:
        frames = Frames(2)
        await frames.put(0, "a")
        await frames.put(0, "b")
        third = asyncio.create_task(frames.put(0, "c"))
        await until(lambda: frames.waits == 1)
        assert len(frames) == 2
        await frames.take()
        await third
        assert len(frames) == 2

    asyncio.run(scenario())


def test_bytes_are_bounded_too() -> None:
    """Few large frames fill it as many small ones do; one that is larger than the bound is let in alone."""

    async def scenario() -> None:
        frames = Frames(100, limit_bytes=10)
        await frames.put(0, "x" * 50)
        second = asyncio.create_task(frames.put(0, "y"))
        await until(lambda: frames.waits == 1)
        assert await frames.take() == (0, "x" * 50)
        await second
        assert frames.size == 1

    asyncio.run(scenario())


def test_what_was_put_is_dealt_with_only_when_it_is_done() -> None:
    """Taken is not enough: its trades may still wait to be handed on. What comes later does not matter."""

    async def scenario() -> None:
        frames = Frames(10)
        await frames.put(0, "a")
        mark = frames.put_so_far()
        await frames.put(0, "b")
        assert not frames.dealt_with(mark)
        await frames.take()
        assert not frames.dealt_with(mark)
        frames.done()
        assert frames.dealt_with(mark)

    asyncio.run(scenario())


def test_a_reader_waits_for_the_first_frame() -> None:
    """It gets it as soon as it comes."""

    async def scenario() -> None:
        frames = Frames(10)
        taking = asyncio.create_task(frames.take())
        await asyncio.sleep(0)
        assert not taking.done()
        await frames.put(7, b"late")
        assert await taking == (7, b"late")

    asyncio.run(scenario())
