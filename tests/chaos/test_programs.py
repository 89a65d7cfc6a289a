"""The programs of a run: started, watched, killed and ended; and the simulator asked."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.programs import Program, ProgramError, asked, broker_program, free_ports, python, serves
from local import processes
from local.broker import Broker
from tests.support import eventually

WAITS = "import signal; print('up', flush=True); signal.pause()"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Program]]:
    """Programs that end with the test."""
    programs: list[Program] = []
    yield programs
    for program in programs:
        program.kill()


def program(made: list[Program], folder: Path, text: str) -> Program:
    """A program in Python, not started."""
    made.append(Program("thing", [sys.executable, "-c", text], {}, folder / "thing.log"))
    return made[-1]


def is_up(thing: Program) -> bool:
    """Whether it has said so."""
    return thing.log.is_file() and "up" in thing.log.read_text()


def test_a_killed_program_is_dead_and_can_be_started_again(made: list[Program], tmp_path: Path) -> None:
    """A kill counts when it hit a running program; the next start is another process, with the same log."""
    thing = program(made, tmp_path, WAITS)
    assert not thing.kill()
    thing.start()
    first = processes.identify(thing.pid)
    thing.wait_until(lambda: is_up(thing))
    assert thing.code is None
    assert thing.kill()
    assert (thing.code, processes.is_alive(first)) == (-signal.SIGKILL, False)
    assert not thing.kill()
    thing.start()
    assert thing.pid != first.pid
    eventually(lambda: thing.log.read_text() == "up\nup\n")


def test_a_program_that_ended_by_itself_was_not_killed(made: list[Program], tmp_path: Path) -> None:
    """What has gone before the kill is no kill."""
    thing = program(made, tmp_path, "raise SystemExit(3)")
    thing.start()
    assert thing.wait(10) == 3
    assert not thing.kill()


def test_an_end_tells_the_exit_code_and_a_deaf_program_is_killed(made: list[Program], tmp_path: Path) -> None:
    """SIGTERM and its exit code; None when it had to be killed."""
    hears = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))"
    thing = program(made, tmp_path, f"{hears}; print('up', flush=True); signal.pause()")
    thing.start()
    thing.wait_until(lambda: is_up(thing))
    assert thing.end(within_s=10)[0] == 7
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up up', flush=True)"
    thing = program(made, tmp_path, f"{deaf}; signal.pause()")
    thing.start()
    thing.wait_until(lambda: "up up" in thing.log.read_text())
    code, seconds = thing.end(within_s=0.2)
    assert code is None
    assert seconds >= 0.2
    assert thing.code == -signal.SIGKILL


def test_waiting_ends_with_the_program_or_the_time(made: list[Program], tmp_path: Path) -> None:
    """Both errors name the program and its log."""
    thing = program(made, tmp_path, "raise SystemExit(3)")
    thing.start()
    log = re.escape(str(thing.log))
    with pytest.raises(ProgramError, match=rf"^the thing ended with exit code 3; its log: {log}$"):
        thing.wait_until(lambda: False)
    thing = program(made, tmp_path, WAITS)
    thing.start()
    with pytest.raises(ProgramError, match=rf"^the thing was not ready within 0.2 s; its log: {log}$"):
        thing.wait_until(lambda: False, within_s=0.2)


def test_the_simulator_is_asked_and_what_it_refuses_is_told(made: list[Program], tmp_path: Path) -> None:
    """Faults are posted, counted and ended; an answer that is an error, and none at all, are errors of the run."""
    (port,) = free_ports(1)
    assert not serves(port)
    with pytest.raises(ProgramError, match=r"^the simulator does not answer GET /faults: ConnectionRefusedError"):
        asked(port, "GET", "/faults")
    made.append(python("simulator", "simulator", "--port", str(port), "--rate", "10", environment={}, folder=tmp_path))
    made[0].start()
    made[0].wait_until(lambda: serves(port))
    asked(port, "POST", "/faults", [{"kind": "silence"}])
    assert [fault["kind"] for fault in asked(port, "GET", "/faults")] == ["silence"]
    assert asked(port, "GET", "/faults/struck") == {}
    asked(port, "DELETE", "/faults")
    assert asked(port, "GET", "/faults") == []
    with pytest.raises(ProgramError, match=r"^the simulator answered POST /faults with 400: .*kind is .*rain"):
        asked(port, "POST", "/faults", [{"kind": "rain"}])


def test_a_broker_behind_a_proxy_tells_its_clients_the_proxys_port(tmp_path: Path) -> None:
    """It listens where it did; what it advertises is the proxy."""
    port, controller, proxy = free_ports(3)
    broker_program(Broker(folder=tmp_path / "kafka", port=port, controller_port=controller), advertised_port=proxy)
    properties = (tmp_path / "kafka/server.properties").read_text().splitlines()
    assert f"advertised.listeners=CLIENT://127.0.0.1:{proxy}" in properties
    assert f"listeners=CLIENT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}" in properties
