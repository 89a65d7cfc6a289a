"""The progress bar of a replay, on a terminal; elsewhere the lines of the log have to do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from producer.recordings import Reading

Advance = Callable[[int, int], None]
"""(trades so far, time of the latest in ms): called now and then."""


@contextmanager
def shown(path: Path, reading: Reading) -> Iterator[Advance]:
    """Show how far a file is read, how many trades came of it, how many per second, and of which time the latest is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda trades, time_ms: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[trades]:,} trades"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TextColumn("{task.fields[time]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress, _log_above(progress):
        task = progress.add_task(path.name, total=reading.size, trades=0, rate=0.0, time="")

        def advance(trades: int, time_ms: int) -> None:
            elapsed_s = progress.tasks[0].elapsed or 0.0
            moment = f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}" if time_ms else ""
            rate = trades / elapsed_s if elapsed_s else 0.0
            progress.update(task, completed=reading.done, trades=trades, rate=rate, time=moment)

        yield advance
        progress.update(task, completed=reading.done)


@contextmanager
def _log_above(progress: Progress) -> Iterator[None]:
    """The log goes through the bar's own standard error, which writes above it."""
    handlers = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    before = [handler.setStream(sys.stderr) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, before, strict=True):
            if stream is not None:
                handler.setStream(stream)
