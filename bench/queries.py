"""What the archive and the amend query cost beside the bars: one full topic, read by the job with one, two and three.

The job is started as its users start it, on a broker of its own, and runs until every query has read all there is.
Rates are counted from the end of each query's first batch, which compiles what the others run. The ways take turns.
After each run the bars have to be what plain Python makes of the trades, and the archive to have each trade once.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from deltalake import DeltaTable
from kafka import KafkaProducer

from bars.recovery.checkpoint import last_committed
from bench import broker, meters, result
from market.bar import Bar, bars_of
from market.settings import ROOT
from market.trade import Trade, record_of

WAYS = ("bars", "bars,archive", "bars,archive,amend")
TOPIC = "bench"
SYMBOLS = [f"S{number:02}USDT" for number in range(20)]
START_MS = 1_700_000_000_000
RATE = 20_000
"""Trades per second of event time."""
_PATIENCE_S = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__.split("\n\n")[0])
    parser.add_argument("--trades", type=int, default=2_000_000, help="in the topic; default 2000000")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured; default 3")
    parser.add_argument("--per-batch", type=int, default=100_000, help="MAX_OFFSETS_PER_TRIGGER; default 100000")
    arguments = parser.parse_args()
    runs: dict[str, list[Run]] = {way: [] for way in WAYS}
    with broker.running() as kafka:
        kafka.create(TOPIC)
        trades = list(_trades(arguments.trades))
        _publish(kafka.bootstrap, trades)
        expected = sorted(bars_of(trades), key=_key)
        for number in range(arguments.rounds):
            order = list(WAYS)
            random.Random(number).shuffle(order)
            for way in order:
                run = _run(way, kafka.bootstrap, arguments.per_batch, len(trades), expected)
                print(f"round {number}, {way}: {run}", flush=True)
                runs[way].append(run)
    figures = {way: _figures(found) for way, found in runs.items()}
    settings = vars(arguments) | {"symbols": len(SYMBOLS), "event_rate": RATE, "partitions": broker.PARTITIONS}
    print(result.write("queries", figures, settings=settings))
    for way, found in figures.items():
        print(f"{way:19}", *(f"{name} {values['median']:g}" for name, values in found.items()), sep="  ")


@dataclass
class Run:
    """What one run showed."""

    bars_per_s: float
    """Trades that the bars query read in a second."""
    all_per_s: float
    """Trades in a second until every query was done."""
    cpu_s: float
    """Of all processes of the job, its start included."""


def _trades(number: int) -> Iterator[Trade]:
    chance, ids = random.Random(1), dict.fromkeys(SYMBOLS, 0)
    for place in range(number):
        symbol = chance.choice(SYMBOLS)
        ids[symbol] += 1
        price, quantity = f"{chance.randrange(1, 10**7) / 100:.2f}", f"{chance.randrange(1, 10**9) / 10**8:.8f}"
        time_ms = START_MS + place * 1000 // RATE
        yield Trade("binance", symbol, price, quantity, time_ms, ids[symbol], chance.random() < 0.5)


def _publish(bootstrap: str, trades: list[Trade]) -> None:
    """One record each, keyed by symbol; behind them, in the fullest partition, the heartbeat that closes all."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50, batch_size=2**18)
    ends: dict[int, int] = {}
    for first in range(0, len(trades), 20_000):
        some = trades[first : first + 20_000]
        futures = [producer.send(TOPIC, record_of(trade), key=trade.symbol.encode()) for trade in some]
        for future in futures:
            place = future.get(timeout=60)
            ends[place.partition] = place.offset
    longest = max(ends, key=lambda partition: ends[partition])
    closing = json.dumps({"exchange": "binance", "heartbeat": trades[-1].timestamp + 60_000}).encode()
    producer.send(TOPIC, closing, partition=longest).get(timeout=60)
    producer.close()


def _run(way: str, bootstrap: str, per_batch: int, trades: int, expected: list[Bar]) -> Run:
    with tempfile.TemporaryDirectory(prefix="bench-queries-") as name:
        folder = Path(name)
        spent_s = _cpu_s()
        with _job(way, bootstrap, per_batch, folder) as process:
            rates, began_s, done_s = _watched(way, process, folder, trades)
        cpu_s = _cpu_s() - spent_s
        _check(folder / "data", way, trades, expected)
    return Run(rates["bars"], trades / (done_s - began_s), cpu_s)


def _watched(
    way: str, process: subprocess.Popen[bytes], folder: Path, trades: int
) -> tuple[dict[str, float], float, float]:
    """The rate of each query that reads the topic, when the bars' first batch ended, and when all was done."""
    first: dict[str, tuple[float, int]] = {}
    rates: dict[str, float] = {}
    deadline_s = time.monotonic() + _PATIENCE_S
    readers = [query for query in way.split(",") if query != "amend"]
    while len(rates) < len(readers) or ("amend" in way and not _is_amended(folder)):
        for query in readers:
            batch = last_committed(folder / f"checkpoints/ohlcv/{query}")
            read = sum(batch.offsets[TOPIC].values()) if batch else 0
            if batch and query not in first:
                first[query] = time.monotonic(), read
            elif query not in rates and read == trades + 1:
                rates[query] = (read - first[query][1]) / (time.monotonic() - first[query][0])
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise SystemExit(f"QUERIES={way} was not done:\n{(folder / 'job.log').read_text()[-5_000:]}")
        threading.Event().wait(0.02)
    return rates, first["bars"][0], time.monotonic()


def _is_amended(folder: Path) -> bool:
    """Whether the amend query has looked at the newest version of the archive."""
    checkpoint = folder / "checkpoints/ohlcv/amend"
    finished = sorted((checkpoint / "commits").glob("[0-9]*"), key=lambda file: int(file.name))
    if not finished:
        return False
    offset = json.loads((checkpoint / "offsets" / finished[-1].name).read_text().splitlines()[2])
    return bool(offset["reservoirVersion"] >= DeltaTable(folder / "data/trades").version())


def _job(way: str, bootstrap: str, per_batch: int, folder: Path) -> AbstractContextManager[subprocess.Popen[bytes]]:
    environment = os.environ | {
        "KAFKA_BOOTSTRAP": bootstrap,
        "KAFKA_TOPIC": TOPIC,
        "QUERIES": way,
        "OUTPUT_DIR": str(folder / "data"),
        "CHECKPOINT_DIR": str(folder / "checkpoints"),
        "MAX_OFFSETS_PER_TRIGGER": str(per_batch),
        "TRIGGER_INTERVAL": "0s",
        "ARCHIVE_INTERVAL": "0s",
    }
    return meters.job(ROOT, environment, folder / "job.log")


def _check(tables: Path, way: str, trades: int, expected: list[Bar]) -> None:
    rows = DeltaTable(tables / "bars_1s").to_pyarrow_table().drop_columns("date").to_pylist()
    found = [Bar(**row | {"timestamp": round(row["timestamp"].timestamp() * 1000)}) for row in rows]
    newest = {_key(bar): bar for bar in sorted(found, key=lambda bar: bar.revision)}
    if [Bar(**asdict(bar) | {"revision": 0}) for _, bar in sorted(newest.items())] != expected:
        late = " (MAX_OFFSETS_PER_TRIGGER made trades late)" if "amend" not in way else ""
        raise SystemExit(f"QUERIES={way}: the bars are not what plain Python makes of the trades{late}")
    if "archive" in way and (count := DeltaTable(tables / "trades").to_pyarrow_dataset().count_rows()) != trades:
        raise SystemExit(f"QUERIES={way}: the archive has {count} rows of {trades} trades")


def _key(bar: Bar) -> tuple[str, int]:
    return bar.symbol, bar.timestamp


def _cpu_s() -> float:
    """CPU seconds of all processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _figures(runs: list[Run]) -> Mapping[str, Mapping[str, float]]:
    return {
        name: {
            "median": round(statistics.median(values), 1),
            "min": round(min(values), 1),
            "max": round(max(values), 1),
        }
        for name in asdict(runs[0])
        if (values := [getattr(run, name) for run in runs])
    }


if __name__ == "__main__":
    main()
