"""The parts of the local stack: what each runs, where it listens, and how one sees that it serves."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from local.broker import Broker
from local.redis_server import RedisServer
from market.latest import address_of
from market.settings import Settings

NAMES = ("kafka", "simulator", "producer", "redis", "prices", "serve")
_SETTLED_S = 1.5


@dataclass(frozen=True, kw_only=True)
class Part:
    """One program under supervision."""

    name: str
    command: Callable[[], Sequence[str | Path]]
    address: str
    """Where a person or program finds it, or what it does."""
    log: str
    is_ready: Callable[[float], bool]
    """Whether it serves, given the seconds since its start."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports it listens on, by the name of their setting."""
    prepare: Callable[[], None] = lambda: None
    """Done before each start; what it raises is why the part cannot start."""
    once: bool = False
    """It ends by itself, with exit code 0, and the next part waits for that."""
    optional: bool = False
    """The others run without it: if it cannot start, that is said, and it is left out."""
    needs: str = ""
    """The part without which it is left out too."""
    start_s: float = 60.0
    stop_s: float = 3.0
    """How long it may take to end after SIGTERM before it is killed."""


def parts_of(settings: Settings, folder: Path, only: Sequence[str] = NAMES) -> list[Part]:
    """The parts in the order in which they start, those that bars need first.

    The simulator runs only where trades come from it, and Redis where there is no other one.
    """
    needless = {"simulator": "simulator" not in settings.sources, "redis": bool(settings.redis_url)}
    wanted = [name for name in NAMES if name in only and not needless.get(name)]
    return [part for name in wanted for part in _MADE[name](settings, folder)]


def _kafka(settings: Settings, folder: Path) -> list[Part]:
    broker = Broker(folder=folder / "kafka", port=settings.kafka_port, controller_port=settings.kafka_controller_port)
    server = Part(
        name="kafka",
        command=broker.command,
        address=broker.bootstrap,
        log="kafka.log",
        ports={"KAFKA_PORT": settings.kafka_port, "KAFKA_CONTROLLER_PORT": settings.kafka_controller_port},
        prepare=broker.prepare,
        is_ready=lambda _: broker.is_ready(),
        stop_s=4.0,
    )
    topics = Part(
        name="topics",
        command=lambda: [sys.executable, "-m", "producer", "--create-topics"],
        address=f"{settings.kafka_topic}, {settings.kafka_partitions} partitions",
        log="producer.log",
        is_ready=lambda _: False,
        once=True,
    )
    return [server, topics]


def _simulator(settings: Settings, folder: Path) -> list[Part]:
    port = settings.simulator_port
    return [
        Part(
            name="simulator",
            command=lambda: [sys.executable, "-m", "simulator"],
            address=f"http://127.0.0.1:{port}",
            log="simulator.log",
            ports={"SIMULATOR_PORT": port},
            is_ready=lambda _: _answers(port, "/healthz"),
            stop_s=2.0,
        )
    ]


def _producer(settings: Settings, folder: Path) -> list[Part]:
    return [
        Part(
            name="producer",
            command=lambda: [sys.executable, "-m", "producer"],
            address=f"{', '.join(settings.sources)} → {settings.kafka_topic}",
            log="producer.log",
            # It has no port; wrong settings end it at once, and a source that is down it waits for, as it should.
            is_ready=lambda seconds: seconds > _SETTLED_S,
            stop_s=10.0,
        )
    ]


def _redis(settings: Settings, folder: Path) -> list[Part]:
    server = RedisServer(folder=folder / "redis", port=settings.redis_port)
    return [
        Part(
            name="redis",
            command=server.command,
            address=server.url,
            log="redis.log",
            ports={"REDIS_PORT": settings.redis_port},
            prepare=server.prepare,
            is_ready=lambda _: server.is_ready(),
            optional=True,
            start_s=10.0,
            stop_s=2.0,
        )
    ]


def _prices(settings: Settings, folder: Path) -> list[Part]:
    return [
        Part(
            name="prices",
            command=lambda: [sys.executable, "-m", "prices"],
            address=f"{settings.kafka_topic} → {address_of(settings.redis)}",
            log="prices.log",
            # Wrong settings end it at once; Kafka and Redis it waits for.
            is_ready=lambda seconds: seconds > _SETTLED_S,
            optional=True,
            needs="" if settings.redis_url else "redis",
            stop_s=5.0,
        )
    ]


def _serve(settings: Settings, folder: Path) -> list[Part]:
    # The page is at its address.
    host, port = _found_at(settings.serve_host), settings.serve_port
    return [
        Part(
            name="serve",
            command=lambda: [sys.executable, "-m", "serve"],
            address=f"http://{f'[{host}]' if ':' in host else host}:{port}",
            log="serve.log",
            ports={"SERVE_PORT": port},
            is_ready=lambda _: _answers(port, "/healthz", host),
            optional=True,  # and it needs neither Redis nor a table: it says what is away
            start_s=30.0,
            stop_s=3.0,
        )
    ]


def _found_at(host: str) -> str:
    """Where one that listens at a host is found from here: on loopback of the same kind, where that is everywhere."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _answers(port: int, path: str, host: str = "127.0.0.1") -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


_MADE: Mapping[str, Callable[[Settings, Path], list[Part]]] = {
    "kafka": _kafka,
    "simulator": _simulator,
    "producer": _producer,
    "redis": _redis,
    "prices": _prices,
    "serve": _serve,
}
