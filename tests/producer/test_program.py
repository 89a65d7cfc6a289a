"""`python -m producer` as a user runs it: what it publishes, what it says, how it ends."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from market.settings import ROOT
from producer.publishing import topics
from tests.producer.doubles import elements
from tests.support import eventually, free_ports

DATA = ROOT / "../shared/data"
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data (../shared/data) is not there")
WITHIN_S = 60.0


def environment(bootstrap: str, topic: str, **settings: str) -> dict[str, str]:
    """Settings for a program of its own."""
    return {**os.environ, "KAFKA_BOOTSTRAP": bootstrap, "KAFKA_TOPIC": topic, "SOURCE": "simulator", **settings}


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


@recorded
@pytest.mark.e2e
@pytest.mark.parametrize("batch_size", ["1", "32"])
def test_a_replay_of_recordings_is_in_kafka_when_it_ends(kafka: str, topic: str, batch_size: str) -> None:
    """Both spot recordings: every trade once and in order, and behind them in their partition the closing heartbeat."""
    files = [DATA / f"hftbacktest/spot_btcusdt_2024080{day}.gz" for day in (8, 9)]
    ended = run(environment(kafka, topic, BATCH_SIZE=batch_size), "--replay", *files, "--speed", "max", "--close")
    assert ended.returncode == 0, ended.stderr
    assert "received 99574, published 19904, un-acked 0, rejected 0, passed over 79670, duplicates 0" in ended.stderr
    found = elements(kafka, topic)
    assert [e["trade_id"] for _, e in found if "trade_id" in e] == list(range(3735683259, 3735703163))
    last_ms = max(e["timestamp"] for _, e in found if "timestamp" in e)
    of_trades = {partition for partition, e in found if "trade_id" in e}
    beats = [(partition, e) for partition, e in found if "heartbeat" in e]
    assert beats == [(n, {"exchange": "binance", "heartbeat": last_ms + 60_000}) for n in of_trades]
    assert "heartbeat" in [e for partition, e in found if partition in of_trades][-1]


@recorded
@pytest.mark.e2e
def test_recordings_of_several_exchanges_and_symbols_are_replayed_together(kafka: str, topic: str) -> None:
    """Coinbase's ten products, then futures: each trade under its own exchange, none lost at the barriers."""
    files = [DATA / "cryptofeed/COINBASE.ws.28.0", DATA / "matched_usdm/usdm_btcusdt_20240808.gz"]
    ended = run(environment(kafka, topic), "--replay", *files, "--speed", "max")
    assert ended.returncode == 0, ended.stderr
    found = [element for _, element in elements(kafka, topic)]
    counts = {name: sum(e["exchange"] == name for e in found) for name in ("coinbase", "binance-usdm")}
    assert counts == {"coinbase": 107, "binance-usdm": 21_313}
    assert len(found) == 107 + 21_313


TRADE = '{{"e":"trade","s":"BTCUSDT","t":{0},"p":"0.001","q":"100","T":{1},"m":true}}'


@pytest.mark.e2e
def test_a_damaged_recording_is_published_as_far_as_it_goes(kafka: str, topic: str, tmp_path: Path) -> None:
    """The end is an error that names the file; what could be read is in Kafka; nothing is closed."""
    lines = [TRADE.format(number * 7919, 1672515782136 + number) for number in range(20_000)]
    packed = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "cut.gz"
    path.write_bytes(packed[: len(packed) // 2])
    ended = run(environment(kafka, topic), "--replay", path, "--speed", "max", "--close")
    assert ended.returncode == 1
    assert f"{path} is damaged after line" in ended.stderr
    assert "Traceback" not in ended.stderr
    ids = [element["trade_id"] for _, element in elements(kafka, topic)]
    assert len(ids) > 5_000
    assert ids == [number * 7919 for number in range(len(ids))]
    assert f"published {len(ids)}, un-acked 0" in ended.stderr


@pytest.mark.e2e
def test_a_missing_recording_is_an_error_before_anything_is_published(kafka: str, topic: str, tmp_path: Path) -> None:
    """All files are looked for first."""
    good = tmp_path / "good"
    good.write_text(TRADE.format(1, 1672515782136))
    ended = run(environment(kafka, topic), "--replay", good, tmp_path / "nowhere", "--speed", "max")
    assert ended.returncode == 1
    assert f"{tmp_path}/nowhere is not a file; nothing was replayed" in ended.stderr
    assert elements(kafka, topic) == []


@pytest.mark.e2e
def test_a_stopped_replay_leaves_nothing_unacknowledged(kafka: str, topic: str, tmp_path: Path) -> None:
    """SIGTERM in the middle of a paced replay: what was read is acknowledged, and the exit code says it is not all."""
    path, log = tmp_path / "slow", tmp_path / "log"
    path.write_text("\n".join(TRADE.format(number, 1672515782136 + number * 100) for number in range(1_000)))
    arguments = ["--replay", str(path), "--speed", "1"]
    with running(environment(kafka, topic), log, "producer", *arguments) as process:
        eventually(lambda: len(elements(kafka, topic)) > 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
    ids = [element["trade_id"] for _, element in elements(kafka, topic)]
    assert ids == list(range(len(ids)))
    assert f"published {len(ids)}, un-acked 0" in log.read_text()


@pytest.mark.e2e
def test_the_simulator_is_read_live_and_a_signal_stops_it(kafka: str, topic: str, tmp_path: Path) -> None:
    """Both simulated exchanges: contiguous ids per symbol, heartbeats of each, no trade behind one, exit 0."""
    (port,) = free_ports(1)
    env = environment(kafka, topic, SIMULATOR_PORT=str(port))
    log = tmp_path / "log"
    with (
        running(env, tmp_path / "simulator", "simulator", "--port", str(port)),
        running(env, log, "producer") as process,
    ):
        eventually(lambda: sum("heartbeat" in element for _, element in elements(kafka, topic)) >= 32)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    ids: dict[tuple[str, str], list[int]] = {}
    reached: dict[tuple[int, str], int] = {}
    for partition, element in elements(kafka, topic):
        exchange = element["exchange"]
        if "heartbeat" in element:
            reached[partition, exchange] = element["heartbeat"]
        else:
            ids.setdefault((exchange, element["symbol"]), []).append(element["trade_id"])
            assert element["timestamp"] > reached.get((partition, exchange), 0)
    assert {exchange for exchange, _ in ids} == {"sim-binance", "sim-coinbase"}
    assert all(numbers == list(range(numbers[0], numbers[0] + len(numbers))) for numbers in ids.values())
    assert "rejected 0" in log.read_text()


@pytest.mark.e2e
def test_a_missing_topic_is_waited_for(kafka: str, tmp_path: Path) -> None:
    """It says which topic is missing and how to create it; once it is there, it is used."""
    path, log = tmp_path / "one", tmp_path / "log"
    path.write_text(TRADE.format(1, 1672515782136))
    arguments = ["--replay", str(path)]
    with running(environment(kafka, "late"), log, "producer", *arguments) as process:
        eventually(lambda: "there is no topic late" in log.read_text())
        assert "python -m producer --create-topics" in log.read_text()
        topics.create(kafka, "late", partitions=1)
        assert process.wait(WITHIN_S) == 0
    assert [element["trade_id"] for _, element in elements(kafka, "late")] == [1]


def test_an_absent_kafka_is_waited_for_and_a_signal_ends_the_wait(tmp_path: Path) -> None:
    """Each attempt is told; SIGTERM ends the program within ten seconds, with nothing lost."""
    (port,) = free_ports(1)
    log = tmp_path / "log"
    with running(environment(f"127.0.0.1:{port}", "t"), log, "producer") as process:
        eventually(lambda: f"Kafka does not answer at 127.0.0.1:{port}" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"BATCH_SIZE": "0"}, "BATCH_SIZE=0 (from the environment) is not allowed"),
        ({"SOURCE": ""}, "SOURCE is not set, and KAFKA_BOOTSTRAP=127.0.0.1:9 is not the local stack"),
    ],
)
def test_wrong_settings_end_with_the_name_and_the_value(settings: dict[str, str], message: str) -> None:
    """Exit code 2, before anything is connected."""
    ended = run(environment("127.0.0.1:9", "t", **settings))
    assert ended.returncode == 2
    assert message in ended.stderr
