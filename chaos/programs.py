"""The programs of a run: each a process of its own, started, killed and ended by its pid, with a log in a folder."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from json import dumps, loads
from pathlib import Path
from typing import Any

from local import processes
from local.broker import Broker
from market.settings import ROOT

START_S = 60.0


class ProgramError(RuntimeError):
    """A program of the run does not do its part, so that nothing can be said of the producer. Names its log."""


class Program:
    """A program that can be started again and again. It ends with us, however we end."""

    def __init__(self, name: str, command: Sequence[str | Path], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self._process.poll() if self._process else 0

    @property
    def pid(self) -> int:
        """Of its last start; 0 before the first."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start it; what it says goes to the end of its log."""
        with self.log.open("ab") as output:
            self._process = processes.start(
                self._command, environment=self._environment, output=output, working_directory=ROOT
            )

    def kill(self) -> bool:
        """SIGKILL; whether it was running."""
        if self._process is None or self._process.poll() is not None:
            return False
        processes.signal_group(self._process.pid, signal.SIGKILL)
        return self._process.wait() == -signal.SIGKILL

    def end(self, *, within_s: float) -> tuple[int | None, float]:
        """SIGTERM; its exit code (None: it had to be killed) and the seconds it took."""
        assert self._process is not None
        began_s = time.monotonic()
        self._process.terminate()
        return self.wait(within_s), time.monotonic() - began_s

    def wait(self, within_s: float) -> int | None:
        """Its exit code when it ends by itself in time; else None, and it is killed."""
        assert self._process is not None
        try:
            return self._process.wait(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def wait_until(self, condition: Callable[[], bool], *, within_s: float = START_S) -> None:
        """Wait for what it is to bring about. Raises `ProgramError` when it ends, or takes too long."""
        deadline_s = time.monotonic() + within_s
        while not condition():
            if self.code is not None:
                raise ProgramError(f"the {self.name} ended with exit code {self.code}; its log: {self.log}")
            if time.monotonic() > deadline_s:
                raise ProgramError(f"the {self.name} was not ready within {within_s:g} s; its log: {self.log}")
            time.sleep(0.05)


def python(name: str, *words: str, environment: Mapping[str, str], folder: Path) -> Program:
    """A Python program of the project."""
    return Program(name, [sys.executable, "-m", *words], {**os.environ, **environment}, folder / f"{name}.log")


def broker_program(broker: Broker, *, advertised_port: int | None = None) -> Program:
    """A prepared broker. `advertised_port`: where clients are to reach it, when a proxy is in front of it."""
    broker.prepare()
    if advertised_port is not None:
        properties = broker.folder / "server.properties"
        own, other = (f"advertised.listeners=CLIENT://127.0.0.1:{port}" for port in (broker.port, advertised_port))
        text = properties.read_text()
        if own not in text:
            raise ProgramError(f"{properties} does not say {own}, which is to be replaced")
        properties.write_text(text.replace(own, other))
    return Program("broker", broker.command(), broker.environment(), broker.folder.parent / "broker.log")


def asked(port: int, method: str, path: str, body: Any = None) -> Any:
    """The JSON answer of the simulator. Raises `ProgramError`."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body=None if body is None else dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise ProgramError(f"the simulator answered {method} {path} with {answer.status}: {text[:300]}")
        return loads(text or "null")
    except (OSError, HTTPException, ValueError) as error:
        raise ProgramError(f"the simulator does not answer {method} {path}: {error!r}") from error
    finally:
        connection.close()


def serves(port: int) -> bool:
    """Whether the simulator answers."""
    try:
        asked(port, "GET", "/healthz")
    except ProgramError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different, and below those that the system gives to clients: while a broker
    is down, none of them may take its port."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            one = socket.socket()
            try:
                one.bind(("127.0.0.1", random.randrange(15_000, 32_000)))
            except OSError:
                one.close()
            else:
                sockets.append(one)
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
