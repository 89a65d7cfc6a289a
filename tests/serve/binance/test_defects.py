"""A part of the streams that fails by a defect: it is counted and begun anew, and nobody who listens lacks anything."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect

from serve.binance.feeds import KlineFeed
from serve.binance.push import Push
from tests.serve.binance.made import START_MS, trade
from tests.serve.binance.stand import Stand
from tests.serve.binance.talk import WITHIN_S, in_thread, run, subscribed
from tests.support import eventually

STREAMS = ("btcusdt@trade", "btcusdt@kline_1s")


def failures(stand: Stand) -> dict[str, float]:
    """The parts that have failed, and how often, as the metrics tell."""
    _, _, text = stand.get("/metrics")
    counted = re.findall(r'^serve_failures_total\{part="(.+)"\} (.+)$', text, re.MULTILINE)
    return {part: float(number) for part, number in counted if float(number)}


@pytest.mark.parametrize(
    ("part", "owner", "name"),
    [
        ("streams: trades", Push, "_take"),
        ("streams: commits", KlineFeed, "finish"),
        ("streams: clock", Push, "_tell_days"),
    ],
)
def test_a_part_that_fails_once_is_begun_anew_and_its_clients_lack_nothing(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, part: str, owner: type, name: str
) -> None:
    """What came while it failed is told as what comes then: each trade once, finished klines, and what runs."""
    whole, calls = getattr(owner, name), 0

    def fails_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ValueError("a defect")
        return whole(*arguments)

    def comes(number: int, second: int) -> None:
        """A new trade; and the table gets a second."""
        stand.told([trade(number, START_MS + 12_400 + number)])
        stand.finished([one for one in stand.trades if one.timestamp // 1_000 == START_MS // 1_000 + second])

    async def scenario() -> None:
        async with connect(f"{stand.ws}/stream?streams={'/'.join(STREAMS)}") as socket:
            await in_thread(lambda: eventually(lambda: all(subscribed(stand, stream) for stream in STREAMS)))
            monkeypatch.setattr(owner, name, fails_once)
            await in_thread(lambda: comes(21, 10))
            await in_thread(lambda: eventually(lambda: failures(stand) == {part: 1}))
            await in_thread(lambda: comes(22, 11))
            trades, finished = await told(socket.recv, 22, START_MS + 11_000)
            await in_thread(lambda: stand.told([trade(23, START_MS + 12_450)]))
            await in_thread(lambda: eventually(lambda: calls > 1))
        assert trades == [21, 22]
        assert finished == [START_MS + 1_000 * second for second in (9, 10, 11)]

    run(scenario)
    assert failures(stand) == {part: 1}


async def told(receive: Callable[[], Any], last_id: int, last_ms: int) -> tuple[list[int], list[int]]:
    """Trades by id and finished klines by start, until the last ones are told, and what runs with that trade."""
    trades: list[int] = []
    finished: list[int] = []
    runs = False
    async with asyncio.timeout(WITHIN_S):
        while not (last_id in trades and last_ms in finished and runs):
            event = json.loads(await receive())["data"]
            if event["e"] == "trade":
                trades.append(event["t"])
            elif event["k"]["x"]:
                finished.append(event["k"]["t"])
            else:
                runs = runs or event["k"]["L"] == last_id
    return trades, finished
