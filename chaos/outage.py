"""`python -m chaos.outage`: the broker is stopped for minutes at full load; what the producer takes of memory and disk
meanwhile, and whether every trade is in the topic afterwards."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from bench import result
from chaos.programs import START_S, free_ports
from chaos.scene import Ports, Scene, judge, now_us, scene
from simulator.tape import SECOND_US

BOUND_MIB = 512
"""What the producer may take of memory, whatever happens: 100,000 trades that wait for missing ones (50 MiB), 32 MiB of
frames, 10,000 records in flight, 16 MiB on their way to the disk, and Python with its libraries (60 MiB)."""
_BEFORE_S = 30.0
_LOOK_S = 1.0


def main() -> int:
    """Exit code: 0 within the bound, complete and accounted for, 1 not."""
    parser = argparse.ArgumentParser(prog="python -m chaos.outage", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the broker is stopped (10)")
    parser.add_argument("--rate", type=float, default=5000.0, help="trades per second (5000)")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated markets (1)")
    parser.add_argument("--spill-limit-mb", default="2048", help="SPILL_LIMIT_MB of the producer (2048)")
    arguments = parser.parse_args()
    outage_s = arguments.minutes * 60
    (metrics_port,) = free_ports(1)
    settings = {
        "METRICS_PORT": str(metrics_port),
        "SPILL_LIMIT_MB": arguments.spill_limit_mb,
        "LOG_LEVEL": "INFO",
        "HOLE_WAIT": "60s",  # longer than the first minute takes to be fetched: nothing may follow late
    }
    folder = Path(tempfile.mkdtemp(prefix="outage-"))
    with scene(
        folder, Ports.free(), seed=arguments.seed, rate=arguments.rate, seconds=outage_s, settings=settings
    ) as running:
        print(f"{running.rate:g} trades/s, the broker is stopped for {outage_s:g} s; logs: {folder}", flush=True)
        looks = _Looks(running, metrics_port)
        _wait_for_a_minute()
        running.begin()
        looks.go_on(_BEFORE_S, "before")
        running.broker.kill()
        looks.go_on(outage_s, "outage")
        running.broker.start()
        running.broker.wait_until(running.broker_is_ready, within_s=START_S)
        back_us = now_us()
        looks.go_on_until_drained(within_s=1200, name="drain")
        settled_us = now_us()
        judgement = judge(running, settled_us, heal_s=120)
    figures: dict[str, Any] = {
        "rate_per_s": running.rate,
        "outage_s": outage_s,
        "trades_in_topic": judgement.trades.records - judgement.trades.heartbeats,
        "duplicates": judgement.trades.duplicates,
        "drained_after_s": round((settled_us - back_us) / SECOND_US, 1),
        "peak_memory_mib": looks.peak_mib,
        "memory_bound_mib": BOUND_MIB,
        "memory_mib_each_minute": looks.each_minute,
        "peak_spill_mib": looks.peak_spill_mib,
        "unaccounted_elements_at_most": looks.unaccounted,
        "cpu_share_in_outage": looks.cpu_share,
        "exit_code": judgement.exit_code,
        "exit_s": round(judgement.exit_s, 1),
        "failures": judgement.failures,
    }
    for name, value in figures.items():
        print(f"{name:32} {value}")
    print(f"written: {result.write('outage', figures, settings=settings | {'seed': arguments.seed})}")
    return 1 if judgement.failures or looks.unaccounted or looks.peak_mib > BOUND_MIB else 0


def _wait_for_a_minute() -> None:
    """The producer begins with the current minute: at its start there is little to fetch, and the outage is alone."""
    while time.time() % 60 > 1:
        time.sleep(0.05)


class _Looks:
    """Looks at the producer each second."""

    def __init__(self, running: Scene, metrics_port: int) -> None:
        self.peak_mib = self.peak_spill_mib = 0
        self.unaccounted = 0
        self.cpu_share: dict[str, float] = {}
        self.each_minute: dict[str, list[int]] = {}
        self._running = running
        self._port = metrics_port
        self._answered = False

    def go_on(self, seconds: float, name: str) -> None:
        """Look for some time."""
        began_s, cpu_s = time.monotonic(), self._cpu_s()
        while time.monotonic() - began_s < seconds:
            self._look(name, time.monotonic() - began_s)
            time.sleep(_LOOK_S)
        self.cpu_share[name] = round((self._cpu_s() - cpu_s) / (time.monotonic() - began_s), 2)

    def go_on_until_drained(self, *, within_s: float, name: str) -> None:
        """Look until nothing waits on the disk."""
        began_s = time.monotonic()
        while time.monotonic() - began_s < within_s:
            self._look(name, time.monotonic() - began_s)
            if self._metric("producer_spill_trades") == 0:
                return
            time.sleep(_LOOK_S)
        raise SystemExit(f"the spill was not drained within {within_s:g} s")

    def _look(self, name: str, elapsed_s: float) -> None:
        status = Path(f"/proc/{self._running.producer.pid}/status").read_text()
        mib = {key: int(value) // 1024 for key, value in re.findall(r"(VmHWM|VmRSS):\s+([0-9]+) kB", status)}
        self.peak_mib = max(self.peak_mib, mib["VmHWM"])
        minutes = self.each_minute.setdefault(name, [])
        if len(minutes) <= elapsed_s / 60:
            minutes.append(mib["VmRSS"])
            print(f"{name} {elapsed_s:5.0f} s: {mib['VmRSS']} MiB, spill {self.peak_spill_mib} MiB", flush=True)
        self.peak_spill_mib = max(self.peak_spill_mib, int(self._metric("producer_spill_bytes") / 2**20))
        self.unaccounted = max(self.unaccounted, abs(int(self._metric("producer_unaccounted_elements"))))

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self._running.producer.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def _metric(self, name: str) -> float:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
                text = answer.read().decode()
        except OSError:
            if self._answered:
                raise
            return 0.0  # it has just been started
        self._answered = True
        found = re.search(rf"^{name} ([0-9.e+-]+)$", text, re.MULTILINE)
        if found is None:
            raise SystemExit(f"the producer has no metric {name}")
        return float(found[1])


if __name__ == "__main__":
    sys.exit(main())
