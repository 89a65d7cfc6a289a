"""How long after a trade was published its price can be read over REST: open loop, at several rates.

A real broker, a real Redis, `python -m prices` and `python -m serve`, all on this machine. Trades come at their times
(bench/load.py), whether those before are done or not. Of one symbol some are chosen beforehand, evenly; from the time
on at which such a trade is due, its symbol's price is asked for again and again, until an answer shows it or a later
one. So each figure holds the publisher's tick, its way to Kafka, prices, Redis and HTTP, and a trade that comes while
the one before is still waited for is late by all of that. In the end every symbol's price has to be that of its last
trade.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from bench import result
from bench.broker import Running, free_ports, running
from bench.load import SYMBOLS, Load
from bench.meters import waited
from local import processes
from local.redis_server import RedisServer

WARM_UP_S = 30.0
"""Java compiles what a new broker does, on the cores that all share."""
START_S = 30.0
TICK_MS = 1
MOST_BEHIND_MS = 1_000
"""A load that is later than this at some time cannot keep its rate on this machine."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.prices", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rates", type=int, nargs="+", default=[2_000, 20_000], help="trades per second; 2000 20000")
    parser.add_argument("--seconds", type=float, default=60, help="measured at each rate; default 60")
    parser.add_argument("--samples", type=int, default=50, help="trades per second that are waited for; default 50")
    arguments = parser.parse_args()
    with running() as broker:
        figures = {str(rate): _measured(broker, rate, arguments) for rate in arguments.rates}
    print(result.write("prices", figures, settings=vars(arguments) | {"tick_ms": TICK_MS, "linger_ms": 0}))
    for rate, found in figures.items():
        print(f"{rate:>7} trades/s  " + "  ".join(f"{name} {value}" for name, value in found.items()))


def _measured(broker: Running, rate: int, arguments: argparse.Namespace) -> dict[str, Any]:
    topic = f"prices-{rate}"
    broker.create(topic)
    with tempfile.TemporaryDirectory(prefix="bench-prices-") as name:
        folder = Path(name)
        redis_port, serve_port, metrics_port = free_ports(3)
        redis = RedisServer(folder=folder / "redis", port=redis_port)
        redis.prepare()
        environment = os.environ | {
            "KAFKA_BOOTSTRAP": broker.bootstrap,
            "KAFKA_TOPIC": topic,
            "REDIS_URL": redis.url,
            "OUTPUT_DIR": str(folder / "data"),
            "CHECKPOINT_DIR": str(folder / "checkpoints"),
            "SERVE_PORT": str(serve_port),
            "PRICES_METRICS_PORT": str(metrics_port),
        }
        with part("redis", redis.command(), environment, folder):
            until(redis.is_ready, "Redis does not answer")
            prices = part("prices", [sys.executable, "-m", "prices"], environment, folder)
            serve = part("serve", [sys.executable, "-m", "serve"], environment, folder)
            with prices as writer, serve as reader, _loading(broker.bootstrap, topic, rate) as (load, sender):
                connection = http.client.HTTPConnection("127.0.0.1", serve_port, timeout=10)
                until(lambda: _shown(connection, SYMBOLS[0]) is not None, "no price came")
                _waits(connection, load, arguments.samples, WARM_UP_S)
                before = {name: _cpu_s(process) for name, process in (("prices", writer), ("serve", reader))}
                waits, asked = _waits(connection, load, arguments.samples, arguments.seconds)
                after = {name: _cpu_s(process) for name, process in (("prices", writer), ("serve", reader))}
                sender.send_signal(signal.SIGTERM)
                sent = json.loads(sender.communicate(timeout=60)[0].splitlines()[-1])
                last = {load.trade(number).symbol: load.trade(number) for number in range(sent["trades"])[-200:]}
                until(
                    lambda: (
                        {name: trade.trade_id for name, trade in last.items()}
                        == {name: (_shown(connection, name) or {}).get("trade_id") for name in last}
                    ),
                    "the last trades' prices did not come",
                )
                shown = {name: Decimal(_shown(connection, name)["price"]) for name in last}
                wrong = [name for name, trade in last.items() if shown[name] != Decimal(trade.price)]
                if wrong:
                    raise SystemExit(f"the price of {wrong} is not that of its last trade")
    broker.delete(topic)
    if sent["behind_ms"] > MOST_BEHIND_MS:
        raise SystemExit(f"the load was {sent['behind_ms']} ms behind its times: what was measured is the load")
    cpu = {f"{name}_cpu": round((after[name] - before[name]) / arguments.seconds, 2) for name in after}
    return {
        **waited(waits),
        "samples": len(waits),
        "requests": asked,
        "load_behind_ms": sent["behind_ms"],
        "checked": {"prices": len(last), "wrong": len(wrong)},
        **cpu,
    }


def _waits(connection: http.client.HTTPConnection, load: Load, samples: int, seconds: float) -> tuple[list[float], int]:
    """How long each chosen trade took from its time until an answer showed it, in ms; and how often was asked."""
    waits: list[float] = []
    asked = 0
    step = max(1, load.rate // len(SYMBOLS) // samples)
    chosen = int(_shown(connection, SYMBOLS[0])["trade_id"]) + step
    until_s = time.time() + seconds
    while (due_s := load.start_ms / 1000 + chosen * len(SYMBOLS) / load.rate) < until_s:
        time.sleep(max(0.0, due_s - time.time()))
        shown = -1
        while shown < chosen:
            shown = int(_shown(connection, SYMBOLS[0])["trade_id"])
            asked += 1
        waits.append((time.time() - due_s) * 1000)
        chosen += step
    return waits, asked


def _shown(connection: http.client.HTTPConnection, symbol: str) -> Any:
    """The price of a symbol, as it is answered; None where there is none yet. Decimals as their text."""
    try:
        connection.request("GET", f"/price/{symbol}")
        answer = connection.getresponse()
        content = answer.read()
    except OSError:  # it has not started yet
        connection.close()
        return None
    if answer.status not in (200, 404, 503):
        raise SystemExit(f"/price/{symbol} was answered with {answer.status}: {content!r}")
    return json.loads(content, parse_float=str) if answer.status == 200 else None


@contextmanager
def part(name: str, command: list[Any], environment: dict[str, str], folder: Path) -> Iterator[psutil.Process]:
    """A process that lasts as long as this; what it says is shown where it fails."""
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = processes.start(command, environment=environment, output=output)
        try:
            yield psutil.Process(process.pid)
            if process.poll() is not None:
                raise SystemExit(f"{name} has ended with {process.returncode}")
        except BaseException:
            print(f"{name} said:\n{log.read_text(errors='replace')[-2_000:]}", file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait(timeout=30)


@contextmanager
def _loading(bootstrap: str, topic: str, rate: int) -> Iterator[tuple[Load, subprocess.Popen[bytes]]]:
    options = ["--rate", str(rate), "--tick-ms", str(TICK_MS), "--linger-ms", "0"]
    command = [sys.executable, "-m", "bench.load", bootstrap, topic, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            yield Load(rate, json.loads(process.stdout.readline())["start_ms"]), process
        finally:
            process.kill()


def until(is_so: Any, otherwise: str) -> None:
    """Wait, and end the measurement where it does not come."""
    deadline_s = time.monotonic() + START_S
    while not is_so():
        if time.monotonic() > deadline_s:
            raise SystemExit(otherwise)
        time.sleep(0.1)


def _cpu_s(process: psutil.Process) -> float:
    spent = process.cpu_times()
    return float(spent.user + spent.system)


if __name__ == "__main__":
    main()
