"""`docker-compose.yml` and `Dockerfile`, as far as can be told without an engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib

import pytest

from local.redis_server import MEMORY
from market.settings import ROOT, described

COMPOSE = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
NOT_PASSED_ON = {"KAFKA_PORT", "KAFKA_CONTROLLER_PORT", "REDIS_PORT"}
"""Settings of the local stack's servers: in containers they are services, and KAFKA_PORT is Kafka's published port."""
SECRETS = {"SERVE_API_KEY": ["serve"]}
"""And the services that get them; no other one does."""


def block(name: str, *, within: str = COMPOSE, indent: int = 0) -> str:
    """What stands under a key. The file keeps to two blanks a level, which makes it readable without a parser."""
    match = re.search(rf"^{' ' * indent}{name}:[^\n]*\n((?: {{{indent + 1},}}[^\n]*\n|\s*\n)+)", within, re.MULTILINE)
    assert match, f"no {name}"
    return match[1]


def keys(text: str, indent: int) -> list[str]:
    """The keys at one level."""
    return re.findall(rf"^ {{{indent}}}([A-Za-z_-]+):", text, re.MULTILINE)


SERVICES = {name: block(name, within=block("services"), indent=2) for name in keys(block("services"), 2)}


def test_the_services_are_the_way_of_the_data() -> None:
    """Kafka, its topic, an exchange, the producer, the job, latest prices, who serves them, and a look at the topic."""
    before = ["kafka", "topic-init", "simulator", "producer", "ohlcv"]
    assert list(SERVICES) == [*before, "redis", "stream-processor", "serve", "consumer"]


def test_compose_accepts_the_file() -> None:
    """Where the compose plugin is installed, it reads the file without an error; no engine is asked."""
    plugin = shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True)
    if not plugin or plugin.returncode:
        pytest.skip("docker has no compose plugin here")
    command = ["docker", "compose", "-f", str(ROOT / "docker-compose.yml"), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_setting_reaches_the_containers() -> None:
    """Each setting is passed on from .env or the environment, or fixed; none that does not exist."""
    passed = keys(block("x-settings"), 2)
    assert sorted(passed) == sorted(described().keys() - NOT_PASSED_ON - SECRETS.keys())
    for name in ("topic-init", "simulator", "producer", "ohlcv", "stream-processor", "serve"):
        assert re.search(r"\*settings\b", SERVICES[name]), name


def test_a_secret_reaches_only_who_needs_it() -> None:
    """A setting that is a key or a password is one; whoever reads another container's environment does not find it."""
    assert {name for name in described() if re.search("KEY|PASSWORD|SECRET|TOKEN", name)} == SECRETS.keys()
    for name, services in SECRETS.items():
        got = [service for service, text in SERVICES.items() if re.search(rf"^      {name}:", text, re.MULTILINE)]
        assert got == services
        assert COMPOSE.count(f"{name}:") == len(services)


def test_the_fixed_settings_agree_with_the_services() -> None:
    """Kafka, Redis and the simulator are found by their services' names, at the ports they listen on."""
    settings = dict(re.findall(r"^  ([A-Z_]+): (.+)$", block("x-settings"), re.MULTILINE))
    assert settings == {
        "KAFKA_BOOTSTRAP": "kafka:9092",
        "SOURCE": "${SOURCE:-simulator}",
        "REDIS_URL": "redis://redis:6379/0",
        "SIMULATOR_HOST": "simulator",
        "SIMULATOR_PORT": "28080",
        "OUTPUT_DIR": "data",
        "CHECKPOINT_DIR": "checkpoints",
        "SERVE_HOST": "0.0.0.0",
        "SERVE_PORT": "3000",
        "SERVE_OPEN": '"yes"',
        "ROLLUP_DIR": "run/rollups",
    }
    assert "INTERNAL://kafka:9092,EXTERNAL://localhost:${KAFKA_PORT:-29092}" in SERVICES["kafka"]
    assert ":28080/healthz" in SERVICES["simulator"]
    assert '["tables:/app/data", "checkpoints:/app/checkpoints"]' in SERVICES["ohlcv"]
    assert '["tables:/app/data:ro", "rollups:/app/run/rollups"]' in SERVICES["serve"]
    assert ":3000/healthz" in SERVICES["serve"]
    assert "WORKDIR /app" in DOCKERFILE


def test_prices_can_be_scaled_and_redis_keeps_nothing() -> None:
    """More of them take a part of the partitions each: no name and no port is fixed. Redis is a cache, and bounded."""
    assert "container_name" not in SERVICES["stream-processor"]
    assert "ports:" not in SERVICES["stream-processor"] + SERVICES["redis"]
    cache = f'--save, "", --appendonly, "no", --maxmemory, {MEMORY}, --maxmemory-policy, noeviction'
    assert cache in SERVICES["redis"]


def test_defaults_in_the_file_are_those_of_the_settings() -> None:
    """Where a name has a default here, it is the setting's own; SOURCE's is what an empty one means."""
    expected = {name: default for name, (default, _) in described().items()} | {"SOURCE": "simulator"}
    found = re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", COMPOSE)
    assert {(name, default) for name, default in found if expected[name] != default} == set()


def test_ports_are_published_on_loopback_alone() -> None:
    """Nothing is offered to the network."""
    published = [port for text in SERVICES.values() for port in re.findall(r"ports: \[(.*)\]", text)]
    assert published == [
        '"127.0.0.1:${KAFKA_PORT:-29092}:29092"',
        '"127.0.0.1:4040:4040"',
        '"127.0.0.1:${SERVE_PORT:-3000}:3000"',
    ]


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_a_limit_and_comes_back(name: str) -> None:
    """Memory is bounded, a failure is not the end, logs do not fill the disk, and what is waited for can be told."""
    text = SERVICES[name]
    assert "mem_limit:" in text
    assert "<<: *app" in text or ("restart: unless-stopped" in text and "logging: *logging" in text)
    for other, condition in re.findall(r"^      ([a-z-]+): \{condition: ([a-z_]+)\}$", text, re.MULTILINE):
        assert condition == ("service_completed_successfully" if other == "topic-init" else "service_healthy")
        assert other == "topic-init" or "healthcheck:" in SERVICES[other]


def test_volumes_are_declared_and_used() -> None:
    """Kafka's data, the tables, the checkpoints, what waits for Kafka, and what was rolled up survive `down`."""
    used = {name for text in SERVICES.values() for name in re.findall(r'"([a-z]+):/', text)}
    assert sorted(keys(block("volumes"), 2)) == sorted(used) == ["checkpoints", "kafka", "rollups", "spill", "tables"]


def test_nothing_asks_for_what_an_engine_may_refuse() -> None:
    """Unprivileged engines of several ages take the files."""
    for word in ("version:", "privileged", "memlock", "nofile", "oom_score_adj", "start_interval", "# syntax="):
        assert word not in COMPOSE, word
        assert word not in DOCKERFILE, word
    assert "\t" not in COMPOSE


def test_the_local_kafka_and_the_image_are_of_one_version() -> None:
    """What is tried here is what runs there."""
    versions = set(re.findall(r"image: apache/kafka:([0-9.]+)", COMPOSE))
    match = re.search(r'name="kafka_2\.13" rev="([0-9.]+)"', (ROOT / "conf/ivy.xml").read_text())
    assert match
    assert versions == {match[1]}


def test_the_image_bears_the_projects_version() -> None:
    """One version for all."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"image: live-bars:{version}\n" in COMPOSE


def test_what_the_dockerfile_copies_for_setup_is_all_that_setup_reads() -> None:
    """Set-up runs before the rest is copied: the files it reads, and the modules it imports, are there by then."""
    before = DOCKERFILE.split("RUN scripts/setup")[0]
    copied = {word for line in re.findall(r"^COPY (.*) \S+$", before, re.MULTILINE) for word in line.split()[1:]}
    install = (ROOT / "local/install.py").read_text()
    modules = set(re.findall(r"^from local\.(\w+) import", install, re.MULTILINE))
    files = {f"conf/{name}" for name in re.findall(r'"(?:conf" / ")?(?:conf/)?([a-z.]+\.(?:txt|xml|sha256))"', install)}
    assert copied == {"pyproject.toml", "scripts/setup", "local/__init__.py", "local/install.py"} | files | {
        f"local/{module}.py" for module in modules
    }
