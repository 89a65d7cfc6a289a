"""Blocking calls beside the event loop, on threads that never hold up the end of the program.

`asyncio.to_thread` has its threads waited for when the loop ends, and one that waits for an absent broker would take
the program past its deadline.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import TypeVar, cast

T = TypeVar("T")


async def apart(work: Callable[[], T], *, discard: Callable[[T], object] | None = None) -> T:
    """What `work` returns or raises. Where nobody waits for it any more, `discard` gets what it returns."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if waiting.done():
            if error is None and discard:
                discard(result)  # type: ignore[arg-type]  # without an error it is a T
        elif error is not None:
            waiting.set_exception(error)
        else:
            waiting.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as caught:
            error = caught
        with suppress(RuntimeError):  # the loop has ended, and with it the program does
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=run, name="apart", daemon=True).start()
    return await waiting


async def each(elements: Iterable[T]) -> AsyncIterator[T]:
    """Elements that take a while to come, one by one: each is made while the event loop goes on."""
    iterator, end = iter(elements), object()
    while (element := await apart(partial(next, iterator, end))) is not end:
        yield cast(T, element)
