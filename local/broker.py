"""A real Kafka broker from its jars: KRaft, one node, on the loopback interface only."""

from __future__ import annotations

import io
import os
import shutil
import socket
import string
import struct
import subprocess
import uuid
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from pathlib import Path

from local.install import ROOT
from local.java import find_java

HEAP_MIB = 512


class BrokerError(RuntimeError):
    """The broker cannot be prepared. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Broker:
    """Where a broker lies and listens. `prepare()` once, then run `command()`; `is_ready()` says when it serves."""

    folder: Path
    """Its configuration, and its data in `data/`."""
    port: int
    controller_port: int

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Writes the configuration and formats a new data folder. A half-formatted one is formatted anew."""
        self.folder.mkdir(parents=True, exist_ok=True)
        template = string.Template((ROOT / "conf/kafka/server.properties").read_text())
        values = {"port": self.port, "controller_port": self.controller_port, "data": self.folder / "data"}
        self._properties.write_text(template.substitute(values))
        if self._formatted.exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        cluster = _cluster_id()
        done = subprocess.run(
            [
                *_java("-XX:TieredStopAtLevel=1"),
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster,
                "-c",
                self._properties,
            ],
            capture_output=True,
            text=True,
            env=self.environment(),
        )
        if done.returncode != 0:
            raise BrokerError(f"Kafka could not format {self.folder / 'data'}:\n{done.stdout}{done.stderr}")
        self._formatted.write_text(cluster + "\n")

    def command(self) -> list[str | Path]:
        memory = [f"-Xms{HEAP_MIB // 2}m", f"-Xmx{HEAP_MIB}m", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError"]
        return [*_java(*memory), "kafka.Kafka", self._properties]

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def is_ready(self) -> bool:
        """Whether it answers, is this broker and no other on its port, and is ready for topics to be created."""
        try:
            brokers, cluster = _metadata(self.port, timeout_s=2.0)
        except (OSError, struct.error):
            return False
        return brokers > 0 and cluster == self._formatted.read_text().strip()

    @property
    def _properties(self) -> Path:
        return self.folder / "server.properties"

    @property
    def _formatted(self) -> Path:
        """The cluster's id, written when the data folder is complete."""
        return self.folder / "formatted"


def _cluster_id() -> str:
    """A new id, as Kafka makes its own: none begins with a dash, which would read as an option."""
    while True:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster.startswith("-"):
            return cluster


def _java(*options: str) -> list[str | Path]:
    jars = ROOT / "jars" / "broker"
    if not jars.is_dir():
        raise BrokerError(f"{jars} is missing: run scripts/setup")
    logging = f"-Dlog4j2.configurationFile={ROOT / 'conf/kafka/log4j2.properties'}"
    return [find_java() / "bin" / "java", *options, logging, "-cp", f"{jars}/*"]


def _metadata(port: int, *, timeout_s: float) -> tuple[int, str]:
    """How many brokers the one on this port knows, and its cluster's id: Kafka's Metadata request, version 2.

    Spoken by hand, since a client library's connection machinery is no use to a question asked until it is answered.
    """
    request = struct.pack(">hhihi", 3, 2, 1, -1, 0)  # Metadata, version 2, correlation 1, no client id, no topics
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        with connection.makefile("rb") as stream:
            (size,) = struct.unpack(">i", stream.read(4))
            answer = io.BytesIO(stream.read(size))

    def number(form: str) -> int:
        return int(struct.unpack(form, answer.read(struct.calcsize(form)))[0])

    def text() -> str:
        return answer.read(max(number(">h"), 0)).decode()

    number(">i")  # the correlation
    brokers = number(">i")
    for _ in range(brokers):
        number(">i"), text(), number(">i"), text()  # id, host, port, rack
    return brokers, text()
