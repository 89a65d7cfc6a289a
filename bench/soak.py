"""Whether the job stays as it is: many trades at speed, and what batches, memory and files come to over time.

A real broker, and the real job, submitted as a user does it, with all three queries and upkeep. Trades are made at a
steady rate by the clock, whether the job keeps up or not. In the end every bar has to be what its trades make, in all
columns that whole numbers can tell, and `jobs/reconcile.py --check` has to agree. Batches are timed by the files of
their checkpoint, from plan to commit. The result is a JSON document and a picture beside it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from kafka import KafkaProducer

from bench import broker, plot, result
from bench.first_bar import _driver, _resident_mib
from market.settings import ROOT
from market.trade import Trade, batch_record_of

TABLES = ("bars_1s", "trades", "rejected_trades")
QUERIES = ("bars", "archive", "amend")
TOPIC = "crypto-trades"
SLICE_S = 0.05
QUIET_S = 900
"""How long the job may need for what is left when the last trade is made."""
Key = tuple[str, int]
"""Symbol, and second since the epoch."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--trades", type=int, default=20_000_000, help="default 20000000")
    parser.add_argument("--rate", type=int, default=20_000, help="trades per second; default 20000")
    parser.add_argument("--record", type=int, default=20, help="trades in a record; default 20")
    parser.add_argument("--symbols", type=int, default=20, help="default 20")
    parser.add_argument("--upkeep", default="1m", help="UPKEEP_INTERVAL; default 1m")
    parser.add_argument("--keep", default="2m", help="UPKEEP_KEEP; default 2m")
    parser.add_argument("--every", type=float, default=5, help="seconds between two samples; default 5")
    parser.add_argument("--memory", default="1g", help="heap of the JVM; default 1g")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # ends what it has started, too
    with tempfile.TemporaryDirectory(prefix="bench-soak-") as name, broker.running() as kafka:
        kafka.create(TOPIC)
        folder = Path(name)
        environment = os.environ | {
            "KAFKA_BOOTSTRAP": kafka.bootstrap,
            "KAFKA_TOPIC": TOPIC,
            "OUTPUT_DIR": str(folder / "data"),
            "CHECKPOINT_DIR": str(folder / "checkpoints"),
            "QUERIES": ",".join(QUERIES),
            "UPKEEP_INTERVAL": arguments.upkeep,
            "UPKEEP_KEEP": arguments.keep,
        }
        made = Made(arguments.symbols, arguments.record, random.Random(arguments.seed))
        with _job(folder, environment, arguments.memory) as process:
            watch = Watch(folder, process, made, arguments.every)
            try:
                _wait(lambda: any(folder.glob("checkpoints/ohlcv/bars/metadata")), process, "the job did not begin")
                watch.start()
                took_s = _produce(made, kafka.bootstrap, arguments.trades, arguments.rate)
                _wait(lambda: _counted(folder) >= made.number, process, "not every trade came to a bar")
                caught_up_s = time.monotonic() - made.last_s
            finally:
                watch.end()
        wrong = _wrong(folder, made)
        if wrong:
            raise SystemExit(f"{len(wrong)} of {len(made.bars)} bars are wrong, such as {wrong[0]}")
        audit = _audit(folder, environment)
    figures = _figures(watch.samples) | {
        "trades": made.number,
        "bars": len(made.bars),
        "seconds": round(took_s, 1),
        "trades_per_s": round(made.number / took_s),
        "caught_up_after_s": round(caught_up_s, 1),
        "bars_wrong": 0,
        "reconcile": audit,
        "samples": watch.samples,
    }
    file = result.write("soak", figures, settings=vars(arguments))
    _plot(file.with_suffix(".svg"), watch.samples, made.number, arguments.rate)
    print(file)
    for name, figure in figures.items():
        if name != "samples":
            print(f"{name:28} {figure}")


@dataclass
class Made:
    """The trades that were made, and the bars they make."""

    symbols: int
    size: int
    chance: random.Random
    number: int = 0
    last_s: float = 0
    bars: dict[Key, list[int]] = field(default_factory=dict)
    """Open, high, low, close, volume (all times 10^8), count, first and last id."""
    _ids: dict[str, int] = field(default_factory=dict)

    def record(self, time_ms: int) -> tuple[bytes, bytes]:
        """Key and value of the next record: trades of one symbol, at that time."""
        symbol = f"S{self.chance.randrange(self.symbols):02}USDT"
        next_id, trades = self._ids.get(symbol, 0) + 1, []
        for id_ in range(next_id, next_id + self.size):
            price, quantity = self.chance.randrange(10**8, 10**13), self.chance.randrange(1, 10**10)
            texts = (f"{price // 10**8}.{price % 10**8:08}", f"{quantity // 10**8}.{quantity % 10**8:08}")
            trades.append(Trade("binance", symbol, *texts, time_ms, id_, bool(id_ % 2)))
            bar = self.bars.setdefault((symbol, time_ms // 1000), [price, price, price, 0, 0, 0, id_, id_])
            bar[1:] = [max(bar[1], price), min(bar[2], price), price, bar[4] + quantity, bar[5] + 1, bar[6], id_]
        self._ids[symbol] = next_id + self.size - 1
        self.number += self.size
        return symbol.encode(), batch_record_of(trades)


def _produce(made: Made, bootstrap: str, number: int, rate: int) -> float:
    """Makes and sends trades at the rate; the seconds it took. The clock says how many are due."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20, batch_size=2**18)
    began, failed = time.monotonic(), list[Exception]()
    while made.number < number:
        due = min(int((time.monotonic() - began) * rate), number)
        while made.number < due:
            key, value = made.record(time.time_ns() // 1_000_000)
            producer.send(TOPIC, value, key=key).add_errback(failed.append)
        threading.Event().wait(SLICE_S)
    took_s, made.last_s = time.monotonic() - began, time.monotonic()
    producer.flush(60)
    if failed:
        raise SystemExit(f"Kafka has not taken {len(failed)} records: {failed[0]!r}")
    # The last seconds close when the watermark passes them: a few heartbeats, by the clock.
    for _ in range(6):
        threading.Event().wait(1)
        heartbeat = b'{"exchange":"binance","heartbeat":%d}' % (time.time_ns() // 1_000_000)
        for partition in range(broker.PARTITIONS):
            producer.send(TOPIC, heartbeat, key=b"any", partition=partition)
        producer.flush(60)
    producer.close()
    return took_s


class Watch:
    """Looks at the job again and again, in a thread of its own."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], made: Made, every_s: float) -> None:
        self.samples: list[dict[str, float]] = []
        self._folder, self._process, self._made, self._every_s = folder, process, made, every_s
        self._seen = dict.fromkeys(QUERIES, -1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def end(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            self.samples.append({"s": round(time.monotonic() - self._began, 1)} | self._sample())

    def _sample(self) -> dict[str, float]:
        pids = _driver(self._process.pid)
        found: dict[str, float] = {
            "made": self._made.number,
            "jvm_mib": _resident_mib(pids[0]) if pids else 0,
            "python_mib": sum(map(_resident_mib, pids[1:])),
        }
        for query in QUERIES:
            times = self._batches(query)
            found[f"{query}_batch_ms"] = round(statistics.median(times)) if times else 0
            found[f"{query}_batch_max_ms"] = round(max(times, default=0))
        for table in TABLES:
            log, data = _size(self._folder / f"data/{table}/_delta_log"), _size(self._folder / f"data/{table}")
            found |= {f"{table}_files": data[0] - log[0], f"{table}_log_files": log[0]}
            found[f"{table}_mib"] = round(data[1] / 2**20, 1)
        files, bytes_ = _size(self._folder / "checkpoints")
        return found | {"checkpoint_files": files, "checkpoint_mib": round(bytes_ / 2**20, 2)}

    def _batches(self, query: str) -> list[float]:
        """Milliseconds from plan to commit, of the batches that were finished since the last sample."""
        folder, times = self._folder / "checkpoints/ohlcv" / query, []
        for commit in sorted(int(file.name) for file in (folder / "commits").glob("*") if file.name.isdecimal()):
            if commit > self._seen[query]:
                self._seen[query] = commit
                try:
                    ends = [(folder / name / str(commit)).stat().st_mtime_ns for name in ("offsets", "commits")]
                except FileNotFoundError:
                    continue  # Spark keeps 30 batches
                times.append((ends[1] - ends[0]) / 1e6)
        return times


def _size(folder: Path) -> tuple[int, int]:
    """Files below a folder, and their bytes."""
    number = size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(parent) / name).stat().st_size
            except FileNotFoundError:
                continue
            number += 1
    return number, size


def _figures(samples: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Each sampled figure in the second and in the last quarter of the run: the first is warming up."""
    quarter = max(len(samples) // 4, 1)
    parts = {"second_quarter": samples[quarter : 2 * quarter], "last_quarter": samples[-quarter:]}
    return {
        part: {name: round(statistics.median(one[name] for one in some), 1) for name in some[0] if name != "s"}
        for part, some in parts.items()
        if some
    }


def _plot(file: Path, samples: Sequence[dict[str, float]], number: int, rate: int) -> None:
    def of(*names: str) -> plot.Series:
        return {name: [sample[name] for sample in samples] for name in names}

    panels = {
        "batch, median of a sample, ms": of(*(f"{query}_batch_ms" for query in QUERIES)),
        "batch, longest of a sample, ms": of(*(f"{query}_batch_max_ms" for query in QUERIES)),
        "resident memory, MiB": of("jvm_mib", "python_mib"),
        "data files on disk": of(*(f"{table}_files" for table in TABLES)),
        "files of the log": of(*(f"{table}_log_files" for table in TABLES)),
        "checkpoints, files": of("checkpoint_files"),
        "tables, MiB": of(*(f"{table}_mib" for table in TABLES)),
    }
    times = [sample["s"] for sample in samples]
    plot.draw(file, f"{number:,} trades, {rate:,} a second", times, panels, unit="seconds")


@contextmanager
def _job(folder: Path, environment: dict[str, str], memory: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(ROOT / "spark-submit.sh"), "--driver-memory", memory, "jobs/ohlcv.py"]
    log_file = folder / "job.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        except SystemExit as error:
            raise SystemExit(f"{error}; the job said:\n{log_file.read_text()[-3000:]}") from None
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)


def _wait(condition: Any, process: subprocess.Popen[bytes], otherwise: str) -> None:
    deadline = time.monotonic() + QUIET_S
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{otherwise} (spark-submit.sh: {process.poll()})")
        threading.Event().wait(1)


def _current(folder: Path) -> dict[Key, dict[str, Any]]:
    names = ("open", "high", "low", "close", "volume", "trade_count", "first_trade_id", "last_trade_id")
    rows = DeltaTable(folder / "data/bars_1s").to_pyarrow_table(columns=["symbol", "timestamp", "revision", *names])
    newest: dict[Key, dict[str, Any]] = {}
    for row in rows.to_pylist():
        key = row["symbol"], int(row["timestamp"].timestamp())
        if key not in newest or newest[key]["revision"] < row["revision"]:
            newest[key] = row
    return newest


def _counted(folder: Path) -> int:
    return sum(row["trade_count"] for row in _current(folder).values())


def _wrong(folder: Path, made: Made) -> list[str]:
    found = {
        key: [
            *(int(Decimal(row[name]) * 10**8) for name in ("open", "high", "low", "close", "volume")),
            *(row[name] for name in ("trade_count", "first_trade_id", "last_trade_id")),
        ]
        for key, row in _current(folder).items()
    }
    keys = found.keys() | made.bars.keys()
    return [
        f"{key}: {found.get(key)}, not {made.bars.get(key)}" for key in keys if found.get(key) != made.bars.get(key)
    ]


def _audit(folder: Path, environment: dict[str, str]) -> str:
    command = [str(ROOT / "spark-submit.sh"), "--driver-memory", "4g", "jobs/reconcile.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(
            f"jobs/reconcile.py: exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        )
    return "exit code 0"


if __name__ == "__main__":
    main()
