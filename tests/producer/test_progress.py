"""The progress bar of a replay: on a terminal alone, and below the log."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from producer.progress import shown
from producer.recordings import Reading, entries
from tests.producer.doubles import WITHIN_S

FRAME = b'{"e":"trade","s":"BTCUSDT","t":%d,"p":"0.001","q":"100","T":1672515782136,"m":true}\n'


def played(path: Path) -> None:
    """A replay of four trades, with a line of the log in it."""
    path.write_bytes(b"".join(FRAME % number for number in range(4)))
    reading = Reading(path)
    with shown(path, reading) as advance:
        source = entries(path, exchange=None, symbol=None, latest_ms=2**60, reading=reading)
        for number, _ in enumerate(source, start=1):
            advance(number * 1_000, 1672515782136)
        logging.getLogger("producer.test").warning("a line of the log")


def everything(terminal: int) -> Iterator[bytes]:
    """What is written to a terminal until nobody has it any more."""
    with suppress(OSError):
        while part := os.read(terminal, 100_000):
            yield part


def test_on_a_terminal_a_bar_shows_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, how much of it is read, the trades and the time of the latest; the log stays readable above it."""
    ours, theirs = os.openpty()
    told: list[bytes] = []
    reader = threading.Thread(target=lambda: told.extend(everything(ours)), daemon=True)
    reader.start()
    root = logging.getLogger()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "160")
        handler = logging.StreamHandler(terminal)
        monkeypatch.setattr(root, "handlers", [*root.handlers, handler])
        played(tmp_path / "recording")
        assert handler.stream is terminal
    reader.join(WITHIN_S)
    os.close(ours)
    text = b"".join(told).decode()
    for part in ("recording", "100%", "4,000 trades", "2022-12-31 19:43:02", "a line of the log\r\n"):
        assert part in text


def test_elsewhere_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A log file is no place for a bar."""
    played(tmp_path / "recording")
    assert capsys.readouterr() == ("", "")
