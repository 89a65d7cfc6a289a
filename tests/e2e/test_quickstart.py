"""The one command, as its users run it: stack, bars, a kill, recovery, the audit, and the end of everything."""

from __future__ import annotations

import json
import re
import signal
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from local import processes, state
from market.bar import Bar, current
from tests.e2e.jobs import PATIENCE_S, bars_at, own_stack, submitted
from tests.recordings import Kline, kline_of
from tests.serve.page.browser import chromium, program
from tests.support import eventually

pytestmark = pytest.mark.e2e

BINANCE = "sim-binance"


@pytest.mark.parametrize("is_killed", [False, pytest.param(True, marks=pytest.mark.long)])
def test_quickstart(tmp_path: Path, is_killed: bool) -> None:
    """Bars grow, equal the exchange's klines, also across a kill -9 of the JVM, the audit agrees, nothing is left."""
    environment = own_stack(tmp_path)
    command = ["--conf", f"spark.ui.port={environment['SPARK_UI_PORT']}", "jobs/ohlcv.py"]
    table, log, run = tmp_path / "data/local/bars_1s", tmp_path / "job.log", tmp_path / "run"

    if is_killed:
        with submitted(command, environment, log) as job:
            eventually(lambda: len(bars_at(table)) > 100, within_s=PATIENCE_S)
            assert job.kill_jvm() == 128 + signal.SIGKILL
            assert "the local stack goes on, so that no trade is missed" in job.log()
    before = bars_at(table)

    with submitted(command, environment, log) as job:
        eventually(lambda: len(bars_at(table)) > len(before) + 200, within_s=PATIENCE_S)
        written = bars_at(table)
        assert len({(bar.exchange, bar.symbol, bar.timestamp, bar.revision) for bar in written}) == len(written)
        bars = current(written)
        assert ("The local stack runs already" in job.log()) == is_killed
        assert listening(int(environment["SPARK_UI_PORT"])) == {"127.0.0.1"}
        service = f"http://127.0.0.1:{environment['SERVE_PORT']}"
        assert f"Page, prices and bars: {service}\n" in job.log()
        assert told_by(f"{service}/price/BTCUSDT")["exchange"] == BINANCE
        assert told_by(f"{service}/bars/BTCUSDT?interval=1s&from={bars[0].timestamp}&limit=1")["bars"]
        assert_page_moves(service)
        shown = state.read(run)
        assert shown is not None
        running = [part.process for part in shown.parts if part.process] + [shown.supervisor]
        assert_equal_to_klines(bars, f"http://127.0.0.1:{environment['SIMULATOR_PORT']}")
        said = len(job.log())
        # 0 when the batch under way ended by itself, 130 when the machine was too slow for that.
        assert job.end(signal.SIGINT) in (0, 128 + signal.SIGINT), job.log()
        assert not re.search("Exception|Error", job.log()[said:]), job.log()[said:]
    assert not [process for process in running if processes.is_alive(process)]
    assert state.read(run) is None

    with submitted(["--conf", "spark.ui.enabled=false", "jobs/reconcile.py", "--check"], environment, log) as audit:
        assert audit.process.wait(timeout=PATIENCE_S) == 0, audit.log()
    assert "the table equals the trades" in audit.log()


def told_by(address: str) -> Any:
    """What the service answers."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)


def assert_page_moves(service: str) -> None:
    """The page shows candles of several symbols, which become more while it is looked at.

    Where there is no Chromium, nobody looks: the tests of the page are skipped then, and say so.
    """
    if program() is None:
        return
    final = "liveBars.bars.filter((bar) => bar.final)"
    with chromium() as browser:
        for symbol in ("BTCUSDT", "ETHUSDT"):
            with browser.tab(f"{service}/#{BINANCE}:{symbol}:1s") as tab:
                tab.until(f"liveBars.session?.loaded && {final}.length > 2")
                newest = tab.evaluate(f"{final}.at(-1).timestamp")
                tab.until(f"(newest) => {final}.at(-1).timestamp > newest", newest)
                tab.picture(f"quickstart-{symbol}")


def assert_equal_to_klines(bars: list[Bar], exchange: str) -> None:
    """Holds every bar of the simulated Binance to the exchange's own klines, and every kline with trades to a bar.

    The first bar of a symbol may be cut by the start of the recording and is left out. Up to the newest second in
    the table, all seconds are closed.
    """
    newest = max(bar.timestamp for bar in bars)
    of_symbol: dict[str, list[Bar]] = {}
    for bar in bars:
        if bar.exchange == BINANCE:
            of_symbol.setdefault(bar.symbol, []).append(bar)
    compared = 0
    for symbol, own in of_symbol.items():
        klines: dict[int, Kline] = {}
        start = own[0].timestamp + 1000
        while start <= newest:
            query = f"symbol={symbol}&interval=1s&startTime={start}&endTime={newest}&limit=1000"
            with urllib.request.urlopen(f"{exchange}/api/v3/klines?{query}", timeout=10) as answer:
                rows = json.load(answer)
            if not rows:
                break
            for row in rows:
                if row[8]:
                    klines[row[0]] = tuple(map(Decimal, (*row[1:6], row[7], row[8], row[9], row[10])))
            start = rows[-1][0] + 1000
        assert {bar.timestamp: kline_of(bar) for bar in own[1:]} == klines, symbol
        compared += len(klines)
    assert compared > 150


def listening(port: int) -> set[str]:
    """The addresses on which a port is listened to, from the kernel's tables."""
    found = set()
    for table in ("tcp", "tcp6"):
        file = Path(f"/proc/net/{table}")
        rows = file.read_text().splitlines()[1:] if file.exists() else []
        for row in rows:
            _, local, _, status, *_ = row.split()
            address, _, hexadecimal = local.partition(":")
            if status == "0A" and int(hexadecimal, 16) == port:
                found.add(
                    {"0100007F": "127.0.0.1", "0000000000000000FFFF00000100007F": "127.0.0.1"}.get(address, address)
                )
    return found
