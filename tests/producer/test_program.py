"""`python -m producer` as a user runs it on recordings and on wrong settings: what it publishes, says, how it ends."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from market.settings import ROOT
from producer.publishing import topics
from tests.producer.doubles import elements
from tests.producer.program import WITHIN_S, environment, run, running
from tests.support import eventually

DATA = ROOT / "../shared/data"
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="the recorded market data (../shared/data) is not there")


@pytest.fixture
def topic(kafka: str, topic: str) -> str:
    """A new topic and that of its gaps, as the program makes them."""
    topics.create(kafka, topic, partitions=4)
    return topic


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
def test_on_a_terminal_a_replay_shows_its_progress(kafka: str, topic: str, tmp_path: Path) -> None:
    """The bar is on standard error where that is a terminal; in a file there is the log alone."""
    path = tmp_path / "recording"
    path.write_text("\n".join(TRADE.format(number, 1672515782136) for number in range(2_000)))
    ours, theirs = os.openpty()
    env = environment(kafka, topic, TERM="xterm", COLUMNS="160")
    command = [sys.executable, "-m", "producer", "--replay", str(path), "--speed", "max"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 100_000):
            shown += part
    except OSError:  # the program has ended, and nobody else has the terminal
        pass
    os.close(ours)
    assert process.wait(WITHIN_S) == 0
    assert b"100%" in shown
    assert b"received 2000, published 2000" in shown
    elsewhere = run(env, "--replay", path, "--speed", "max")
    assert "received 2000, published 2000" in elsewhere.stderr
    assert "%" not in elsewhere.stderr


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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"BATCH_SIZE": "0"},
            "BATCH_SIZE=0 (from the environment) is not allowed: it must be a whole number from 1 to 1000\n",
        ),
        (
            {"SOURCE": ""},
            "SOURCE is not set, and KAFKA_BOOTSTRAP=127.0.0.1:9 is not the local stack; say where its trades shall "
            "come from: simulator, binance, coinbase, coinbase-advanced, several by comma\n",
        ),
    ],
)
def test_wrong_settings_end_with_the_name_and_the_value(settings: dict[str, str], message: str) -> None:
    """Exit code 2, before anything is connected."""
    ended = run(environment("127.0.0.1:9", "t", **settings))
    assert (ended.returncode, ended.stderr) == (2, message)


def test_a_folder_that_cannot_be_used_ends_the_program_at_once(tmp_path: Path) -> None:
    """Exit code 1, with the setting's name and what helps, before anything is connected or taken."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "spill"
    ended = run(environment("127.0.0.1:9", "t", SPILL_DIR=str(folder)))
    assert ended.returncode == 1
    assert ended.stderr.endswith(
        f"ERROR SPILL_DIR={folder} cannot be used ([Errno 20] Not a directory: '{folder}/t'); "
        "name a folder that can be written, or set SPILL_LIMIT_MB=0, with which nothing is kept on disk\n"
    )
