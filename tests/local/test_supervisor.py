"""The supervisor, with small real children in place of the stack's parts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from local import processes, state
from local.install import ROOT
from local.parts import Part
from local.state import StackState
from local.supervisor import BACKOFF_S, PartError, check_ports
from tests.support import eventually

# A child: tells `events` that it starts and, on SIGTERM, that it stops.
CHILD = """
import pathlib, signal, sys, threading
events, name = pathlib.Path(sys.argv[1]) / "events", sys.argv[2]
def tell(what):
    with events.open("a") as file:
        file.write(f"{what} {name}\\n")
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
tell("start")
stop.wait()
tell("stop")
"""
FAILING = "import sys; print('no such thing'); sys.exit(7)"
STUBBORN = "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN); threading.Event().wait()"
ONCE = "print('made')"

# A supervisor of children: argv = folder, then name=code for each.
SUPERVISOR = """
import logging, os, sys
from pathlib import Path
from local.parts import Part
from local.supervisor import supervise
logging.basicConfig(level=logging.INFO)
folder = Path(sys.argv[1])
def part(name, code):
    return Part(name=name, command=lambda: [sys.executable, "-c", code, folder, name], address=f"at {name}",
        log=f"{name}.log", is_ready=lambda seconds: seconds > 0.15, once=name == "once", stop_s=0.5,
        optional=name in ("redis", "prices"), needs="redis" if name == "prices" else "")
parts = [part(*word.split("=", 1)) for word in sys.argv[2:]]
sys.exit(supervise(parts, folder=folder, started_by="a test", environment=os.environ))
"""


class Supervisor:
    """A supervisor in a process of its own."""

    def __init__(self, folder: Path, **children: str) -> None:
        self.folder = folder
        words = [f"{name}={code}" for name, code in children.items()]
        with (folder / "said").open("a") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISOR, folder, *words], cwd=ROOT, stderr=said, stdout=said
            )

    def until(self, what: str) -> StackState:
        def there() -> StackState | None:
            assert self.process.poll() is None, (self.folder / "said").read_text()
            shown = state.read(self.folder)
            return shown if shown and shown.supervisor.pid == self.process.pid and shown.state == what else None

        shown = eventually(there)
        assert shown
        return shown

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=20)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Supervisor]]:
    """Supervisors started by a test; whatever still runs at its end is ended."""
    everyone: list[Supervisor] = []
    yield everyone
    for one in everyone:
        if one.process.poll() is None:
            one.end()


def alive(shown: StackState) -> list[str]:
    return [part.name for part in shown.parts if part.process and processes.is_alive(part.process)]


def test_parts_start_in_order_and_stop_in_reverse(tmp_path: Path, started: list[Supervisor]) -> None:
    """Each waits for the one before it; SIGTERM ends all, and leaves no process and no state."""
    started.append(Supervisor(tmp_path, kafka=CHILD, once=ONCE, producer=CHILD))
    shown = started[0].until(state.RUNNING)
    assert [(part.name, part.state, part.restarts) for part in shown.parts] == [
        ("kafka", "running", 0),
        ("once", "done", 0),
        ("producer", "running", 0),
    ]
    assert started[0].end() == 0
    assert (tmp_path / "events").read_text().split("\n")[:-1] == [
        "start kafka",
        "start producer",
        "stop producer",
        "stop kafka",
    ]
    assert alive(shown) == []
    assert state.read(tmp_path) is None


def test_a_part_that_dies_is_started_again(tmp_path: Path, started: list[Supervisor]) -> None:
    """After the first pause it runs again under another pid, its restart is counted, and the others stay."""
    started.append(Supervisor(tmp_path, kafka=CHILD, producer=CHILD))
    before = started[0].until(state.RUNNING)
    assert before.parts[1].process
    os.kill(before.parts[1].process.pid, signal.SIGKILL)

    def again() -> StackState | None:
        shown = started[0].until(state.RUNNING)
        return shown if shown.parts[1].restarts == 1 and shown.parts[1].state == "running" else None

    after = eventually(again, within_s=BACKOFF_S[0] + 20)
    assert after
    assert after.parts[1].process != before.parts[1].process
    assert after.parts[0] == before.parts[0]


def test_a_part_that_cannot_start_stops_the_others(tmp_path: Path, started: list[Supervisor]) -> None:
    """The state left behind names the part, why, its log and the log's end; nothing runs."""
    started.append(Supervisor(tmp_path, kafka=CHILD, producer=FAILING))
    assert started[0].process.wait(timeout=20) == 1
    shown = state.read(tmp_path)
    assert shown
    assert shown.state == state.FAILED
    first, *rest = shown.error.splitlines()
    assert first.startswith("producer ended with exit code 7 after 0.")
    assert first.endswith(f" s. Last lines of {tmp_path}/logs/producer.log:")
    assert rest == ["  | no such thing"]
    assert (tmp_path / "events").read_text() == "start kafka\nstop kafka\n"


def test_a_part_that_the_others_can_do_without_is_left_out(tmp_path: Path, started: list[Supervisor]) -> None:
    """The others run, what needs it is left out too, and the state says why; nothing is tried again."""
    started.append(Supervisor(tmp_path, kafka=CHILD, redis=FAILING, prices=CHILD, serve=CHILD))
    shown = started[0].until(state.RUNNING)
    assert [(part.name, part.state, part.restarts) for part in shown.parts] == [
        ("kafka", "running", 0),
        ("redis", "missing", 0),
        ("prices", "missing", 0),
        ("serve", "running", 0),
    ]
    assert shown.parts[1].why.startswith("redis ended with exit code 7 after 0.")
    assert shown.parts[1].why.endswith("\n  | no such thing")
    assert shown.parts[2].why == "it needs redis"
    assert started[0].end() == 0
    assert (tmp_path / "events").read_text() == "start kafka\nstart serve\nstop serve\nstop kafka\n"


def test_a_part_that_has_served_is_started_again_though_the_others_can_do_without(
    tmp_path: Path, started: list[Supervisor]
) -> None:
    """Left out is what does not come at all; what dies later comes again."""
    started.append(Supervisor(tmp_path, kafka=CHILD, redis=CHILD))
    before = started[0].until(state.RUNNING)
    assert before.parts[1].process
    os.kill(before.parts[1].process.pid, signal.SIGKILL)

    def again() -> bool:
        shown = started[0].until(state.RUNNING)
        return shown.parts[1].restarts == 1 and shown.parts[1].state == "running"

    eventually(again, within_s=BACKOFF_S[0] + 20)


def test_a_part_that_does_not_stop_is_killed(tmp_path: Path, started: list[Supervisor]) -> None:
    """SIGKILL follows SIGTERM, and the supervisor still ends with 0."""
    started.append(Supervisor(tmp_path, kafka=STUBBORN))
    shown = started[0].until(state.RUNNING)
    assert started[0].end() == 0
    assert alive(shown) == []


def test_there_is_one_supervisor_per_folder(tmp_path: Path, started: list[Supervisor]) -> None:
    """A second one ends at once and disturbs nothing."""
    started.append(Supervisor(tmp_path, kafka=CHILD))
    shown = started[0].until(state.RUNNING)
    second = Supervisor(tmp_path, kafka=CHILD)
    assert second.process.wait(timeout=20) == 1
    assert "AlreadyRunningError" in (tmp_path / "said").read_text()
    assert started[0].until(state.RUNNING) == shown
    assert alive(shown) == ["kafka"]


def test_a_killed_supervisor_does_not_prevent_the_next(tmp_path: Path, started: list[Supervisor]) -> None:
    """SIGKILL leaves no child once the next supervisor runs, and that one starts as if nothing had been."""
    started.append(Supervisor(tmp_path, kafka=CHILD, producer=CHILD))
    before = started[0].until(state.RUNNING)
    started[0].process.kill()
    started[0].process.wait()
    started.append(Supervisor(tmp_path, kafka=CHILD, producer=CHILD))
    after = started[1].until(state.RUNNING)
    assert alive(before) == []
    assert alive(after) == ["kafka", "producer"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child's life to its parent's")
def test_children_die_with_a_killed_supervisor(tmp_path: Path, started: list[Supervisor]) -> None:
    """The kernel ends them: nobody needs to clear up."""
    started.append(Supervisor(tmp_path, kafka=CHILD, producer=CHILD))
    shown = started[0].until(state.RUNNING)
    started[0].process.kill()
    started[0].process.wait()
    eventually(lambda: not alive(shown), within_s=10)


def test_a_process_is_not_mistaken_for_a_later_one_with_its_pid() -> None:
    """What is recognised is the pid together with its start."""
    us = processes.identify(os.getpid())
    assert processes.is_alive(us)
    assert not processes.is_alive(us._replace(started="long ago"))


def test_a_port_that_is_taken_is_named_with_its_setting() -> None:
    """The message is whole: the port, who needs it, and the setting that moves it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        part = Part(name="kafka", command=list, address="", log="", is_ready=lambda _: True, ports={"KAFKA_PORT": port})
        with pytest.raises(PartError) as raised:
            check_ports([part])
    assert str(raised.value) == (
        f"port {port} on 127.0.0.1, which kafka needs, is taken (Address already in use). "
        "Stop what listens there, or choose another port: KAFKA_PORT=<port>"
    )
    check_ports([part])
