"""`python -m producer` as a program of its own: how the tests of it start it, stop it and look at what it did."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from market.settings import ROOT
from tests.producer.doubles import elements
from tests.support import eventually

WITHIN_S = 60.0


def environment(bootstrap: str, topic: str, **settings: str) -> dict[str, str]:
    """Settings for a program of its own."""
    given = {"KAFKA_BOOTSTRAP": bootstrap, "KAFKA_TOPIC": topic, "SOURCE": "simulator", "METRICS_PORT": "0"}
    return {**os.environ, **given, **settings}


def run(env: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the producer to its end."""
    command = [sys.executable, "-m", "producer", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=WITHIN_S, check=False)


@contextmanager
def running(env: dict[str, str], log: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs until it ends or the test does."""
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, env=env, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def simulator(folder: Path, port: int, *arguments: str) -> Iterator[None]:
    """The simulated exchanges, serving at a port."""
    with running({**os.environ}, folder / "simulator", "simulator", "--port", str(port), *arguments) as process:
        eventually(lambda: process.poll() is not None or _serves(port))
        assert process.poll() is None, (folder / "simulator").read_text()
        yield


def ids(bootstrap: str, topic: str) -> dict[tuple[str, str], list[int]]:
    """The trade ids in a topic, by exchange and symbol, in their order."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for _, element in elements(bootstrap, topic):
        if "trade_id" in element:
            found[element["exchange"], element["symbol"]].append(element["trade_id"])
    return found


def in_time(condition: Callable[[], bool]) -> None:
    """Wait for what shows only in the whole topic: to read that all the time would take it from the program."""
    eventually(condition, every_s=0.5)


def _serves(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
