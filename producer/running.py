"""Work that runs until it ends, fails, or is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine, Sequence
from typing import Any

log = logging.getLogger(__name__)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and Ctrl-C set; a second one ends the program at once."""
    stop = asyncio.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signum, _on_signal, stop, signum)
    return stop


async def first_of(stop: asyncio.Event, *works: Coroutine[Any, Any, Any]) -> Any:
    """Run all until one ends; its result, or what it raised. None when told to stop before.

    What another one raises while it is being ended is raised too: it may have failed to put something in safety.
    """
    tasks = [asyncio.create_task(work) for work in (*works, stop.wait())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)
    results = [task.result() for task in tasks if task in done]  # raises what the first of them raised
    _raise_failure(tasks)
    return None if stop.is_set() else results[0]


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all until all have ended; their results. When one fails, the others are cancelled, and its error raised."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    except asyncio.CancelledError:
        await _end(tasks)
        _raise_failure(tasks)
        raise
    await _end(tasks)
    results = [task.result() for task in tasks if task in done]
    _raise_failure(tasks)
    return results


async def _end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel each once: a second time would break off what it does at its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _raise_failure(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Raise what one of them has raised, other than that it was cancelled."""
    for task in tasks:
        if not task.cancelled() and (error := task.exception()):
            raise error


def _on_signal(stop: asyncio.Event, signum: int) -> None:
    if stop.is_set():
        os._exit(128 + signum)
    log.info("%s: stopping; a second signal ends at once", signal.Signals(signum).name)
    stop.set()
