"""How tasks end."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

AGAIN_S = 1.0


async def end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended. Raises what one of them has failed with.

    Cancels again, for a library may take a cancellation for a failure of its own, and a task that tries again what has
    failed would then go on for ever: so did one that asks Redis, now and then.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.result()
