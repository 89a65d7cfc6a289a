"""The local stack as its user runs it, real parts all of them, in a folder and on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from redis import Redis

from local import processes, state
from local.install import ROOT
from local.state import PartState, StackState
from market.latest import KNOWN, price_key
from tests.support import eventually, free_ports

pytestmark = pytest.mark.e2e


class Stack:
    """`python -m local …` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka, self.controller, self.simulator, self.redis, self.serve = free_ports(5)
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("KAFKA_BOOTSTRAP", "SOURCE")},
            "BARS_RUN_DIR": str(folder),
            "KAFKA_PORT": str(self.kafka),
            "KAFKA_CONTROLLER_PORT": str(self.controller),
            "SIMULATOR_PORT": str(self.simulator),
            "REDIS_PORT": str(self.redis),
            "SERVE_PORT": str(self.serve),
            "OUTPUT_DIR": str(folder / "data"),
            "ROLLUP_DIR": str(folder / "rollups"),
            "PRICES_METRICS_PORT": "0",
            "KAFKA_BOOTSTRAP": "",
            "REDIS_URL": "",
            "SOURCE": "",
        }

    def run(self, *arguments: str, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "local", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def records(self) -> int:
        consumer = KafkaConsumer(bootstrap_servers=f"127.0.0.1:{self.kafka}")
        try:
            partitions = [TopicPartition("crypto-trades", number) for number in range(4)]
            return sum(consumer.end_offsets(partitions).values())
        finally:
            consumer.close()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    one = Stack(tmp_path / "run")
    yield one
    one.run("down")


def shown_by(stack: Stack) -> StackState:
    shown = state.read(stack.folder)
    assert shown
    return shown


def alive(shown: StackState) -> list[str]:
    return [part.name for part in shown.parts if part.process and processes.is_alive(part.process)]


def test_up_status_down(stack: Stack) -> None:
    """`up` returns when trades flow, a second `up` says so, `status` shows the parts, `down` leaves nothing."""
    assert stack.run("status").returncode == 3
    up = stack.run("up")
    assert (up.returncode, up.stderr) == (0, "")
    parts = ["kafka", "topics", "simulator", "producer", "redis", "prices", "serve"]
    assert [line.split()[0] for line in up.stdout.splitlines()[:-1]] == parts
    shown = shown_by(stack)
    eventually(lambda: stack.records() > 100)

    again = stack.run("up")
    assert (again.returncode, again.stdout) == (
        0,
        f"The local stack runs already (pid {shown.supervisor.pid}): "
        "kafka (running), simulator (running), producer (running), redis (running), prices (running), "
        "serve (running).\n",
    )

    status = stack.run("status")
    assert status.returncode == 0
    rows = [line.split() for line in status.stdout.splitlines()]
    assert [row[:2] for row in rows[1:8]] == [
        ["kafka", "running"],
        ["topics", "done"],
        ["simulator", "running"],
        ["producer", "running"],
        ["redis", "running"],
        ["prices", "running"],
        ["serve", "running"],
    ]

    down = stack.run("down", timeout_s=15)
    assert down.returncode == 0
    assert down.stdout.endswith(" s: serve, prices, redis, producer, simulator, kafka.\n")
    assert alive(shown) == []
    assert state.read(stack.folder) is None
    assert stack.run("down").stdout == "The local stack is not running.\n"


def test_prices_are_in_redis_and_served(stack: Stack) -> None:
    """The stack's own Redis holds a price of every simulated symbol, soon after the stack is up; the service has it."""
    assert stack.run("up").returncode == 0
    with Redis.from_url(f"redis://127.0.0.1:{stack.redis}/0", decode_responses=True) as redis:
        known = eventually(lambda: redis.smembers(KNOWN))
        assert {name.partition(":")[0] for name in known} <= {"sim-binance", "sim-coinbase"}
        eventually(lambda: redis.hget(price_key("sim-binance", "BTCUSDT"), "price"))
    with urllib.request.urlopen(f"http://127.0.0.1:{stack.serve}/price/BTCUSDT", timeout=10) as answer:
        told = json.load(answer)
    assert (told["symbol"], told["exchange"], told["stale"]) == ("BTCUSDT", "sim-binance", False)


def test_without_redis_the_bars_have_all_they_need(stack: Stack) -> None:
    """Where its port is taken, Redis is left out, and prices with it; that is said, and the trades flow."""
    with socket.create_server(("127.0.0.1", stack.redis)):
        up = stack.run("up")
    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.splitlines()[-4:-2] == [
        f"  redis      missing   port {stack.redis} on 127.0.0.1, which redis needs, is taken (Address already in "
        "use). Stop what listens there, or choose another port: REDIS_PORT=<port>",
        "  prices     missing   it needs redis",
    ]
    assert up.stdout.splitlines()[-2].split()[::3] == ["serve", f"http://127.0.0.1:{stack.serve}"]
    eventually(lambda: stack.records() > 100)
    status = stack.run("status")
    assert status.returncode == 0
    assert "prices is missing: it needs redis\n" in status.stdout
    assert stack.run("down").stdout.endswith(" s: serve, producer, simulator, kafka.\n")


def test_without_the_service_the_bars_have_all_they_need(stack: Stack) -> None:
    """Where its port is taken, it is left out; that is said, and prices and trades flow."""
    with socket.create_server(("127.0.0.1", stack.serve)):
        up = stack.run("up")
    assert (up.returncode, up.stderr) == (0, "")
    assert up.stdout.splitlines()[-2].startswith(f"  serve      missing   port {stack.serve} on 127.0.0.1, which serve")
    eventually(lambda: stack.records() > 100)
    assert stack.run("down").stdout.endswith(" s: prices, redis, producer, simulator, kafka.\n")


def test_kafka_alone_and_what_is_not_there(stack: Stack) -> None:
    """`--only kafka` starts that; asking for more than runs, or for another port, is answered with the way out."""
    assert stack.run("up", "--only", "kafka").returncode == 0
    more = stack.run("up")
    assert more.returncode == 1
    assert more.stderr == (
        "The local stack: simulator is not among them. Stop it first: .venv/bin/python -m local down\n"
    )
    before, stack.environment["KAFKA_PORT"] = stack.kafka, "1"
    other = stack.run("up", "--only", "kafka")
    assert other.returncode == 1
    assert other.stderr == (
        f"The local stack: its kafka is 127.0.0.1:{before}, but the settings say 127.0.0.1:1. "
        "Stop it first: .venv/bin/python -m local down\n"
    )


def test_its_data_outlives_a_kill(stack: Stack) -> None:
    """After SIGKILL of the supervisor the next start clears up by itself, and the topic still holds its records."""
    assert stack.run("up").returncode == 0
    eventually(lambda: stack.records() > 100)
    before = shown_by(stack)
    os.kill(before.supervisor.pid, signal.SIGKILL)
    eventually(lambda: not processes.is_alive(before.supervisor))
    assert stack.run("status").returncode == 3
    up = stack.run("up", "--only", "kafka")
    assert (up.returncode, up.stderr) == (0, "")
    assert alive(before) == []
    assert stack.records() > 100


def test_a_taken_port_stops_it_before_anything_starts(stack: Stack) -> None:
    """The message is whole, the exit code 1, and no process is left."""
    with socket.create_server(("127.0.0.1", stack.simulator)):
        up = stack.run("up")
    assert up.returncode == 1
    assert up.stderr == (
        f"The local stack: port {stack.simulator} on 127.0.0.1, which simulator needs, is taken "
        "(Address already in use). Stop what listens there, or choose another port: SIMULATOR_PORT=<port>\n"
    )
    assert not (stack.folder / "logs" / "kafka.log").exists()


def test_wrong_settings_are_named(stack: Stack) -> None:
    """A setting that is not allowed ends `up` with exit code 2 and its name."""
    stack.environment["KAFKA_PORT"] = "x"
    up = stack.run("up")
    assert up.returncode == 2
    assert up.stderr.startswith("KAFKA_PORT=x (from the environment) is not allowed")


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Every field of a stack's state comes back, and the file is plain JSON."""
    part = PartState("kafka", "running", "127.0.0.1:1", "log", processes.ProcessId(1, "2"), 3.5, 0.5, 4, "why")
    shown = StackState(processes.ProcessId(5, "6"), "local up", state.RUNNING, "", [part, PartState("x", "", "", "")])
    state.write(tmp_path, shown)
    assert state.read(tmp_path) == shown
    assert json.loads((tmp_path / "local.json").read_text())["parts"][0]["restarts"] == 4
