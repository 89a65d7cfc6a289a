"""A market in which nobody trades, and a feed that says nothing: only a producer's heartbeat tells them apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trade, trades_at
from tests.serve.binance.stand import Stand, promised
from tests.serve.binance.talk import heard, in_thread, listening, run
from tests.support import eventually

OTHER = ("sim-coinbase", "ETHUSD")


@pytest.fixture
def silent(tmp_path: Path, redis: OwnRedis) -> Iterator[Stand]:
    """Of BTCUSDT there are trades until second 2, and no heartbeat; of another exchange until second 20; it is 21.5."""
    made = Stand(tmp_path, redis)
    trades = trades_at([START_MS + 1_000 * second for second in range(3)])
    others = trades_at([START_MS + 1_000 * second for second in range(21)], key=OTHER)
    made.told([*trades, *others])
    made.finished([*trades, *others[:20]])
    made.stop_clock(START_MS + 21_500, is_promised=False)
    with made.serving():
        yield made


def seconds(rows: list[Any]) -> list[int]:
    """Which seconds rows are of."""
    return [(row[0] - START_MS) // 1_000 for row in rows]


def told(stand: Stand) -> list[tuple[int, bool]]:
    """The seconds of our own route, and whether each was filled."""
    rows = stand.rows(f"/bars/BTCUSDT?interval=1s&fill=previous&from={START_MS}")["bars"]
    return [((row["timestamp"] - START_MS) // 1_000, row["filled"]) for row in rows]


def test_a_silent_feed_is_not_told_as_a_quiet_market(silent: Stand) -> None:
    """What follows the last trade is absent, though the table is far beyond it; in a wider interval too."""
    assert seconds(silent.klines()) == [0, 1, 2]
    assert seconds(silent.klines(startTime=START_MS + 3_000)) == []
    assert told(silent) == [(0, False), (1, False), (2, False)]
    assert len(silent.klines(interval="1m")) == 1


def test_a_heartbeat_tells_that_nobody_traded(silent: Stand) -> None:
    """Until its time, and no further: Binance's routes have quiet rows, ours too where it is asked to fill."""
    promised(silent.redis, START_MS + 6_000)
    eventually(lambda: seconds(silent.klines()) == list(range(6)))
    assert [row[8] for row in silent.klines()] == [1, 1, 1, 0, 0, 0]
    assert told(silent) == [(0, False), (1, False), (2, False), (3, True), (4, True), (5, True)]


def test_what_redis_has_promised_once_stays_so(silent: Stand) -> None:
    """Also when it goes, or comes back with nothing."""
    promised(silent.redis, START_MS + 6_000)
    eventually(lambda: seconds(silent.klines()) == list(range(6)))
    silent.redis.kill()
    eventually(lambda: not silent.app.state.live._is_redis_there)
    assert seconds(silent.klines()) == list(range(6))
    assert told(silent)[-1] == (5, True)
    silent.redis.start()
    eventually(lambda: silent.app.state.live._is_redis_there)
    assert seconds(silent.klines()) == list(range(6))
    assert told(silent)[-1] == (5, True)


@pytest.mark.parametrize(("next_id", "expected"), [(4, [3, 4, 5, 6]), (9, [6])], ids=["quiet", "gap"])
def test_the_next_trade_tells_what_was_and_finals_come_late_and_not_wrong(
    silent: Stand, next_id: int, expected: list[int]
) -> None:
    """Its number says whether nobody traded: then quiet seconds follow as finals. What is lost is left out."""

    async def scenario() -> None:
        async with connect(f"{silent.ws}/ws/btcusdt@kline_1s") as socket:
            await in_thread(lambda: listening(silent))
            late = trade(next_id, START_MS + 6_000)
            await in_thread(lambda: silent.told([late]))
            await in_thread(lambda: silent.finished([late, trade(22, START_MS + 30_000, key=OTHER)]))
            frames: list[int] = []
            while not frames or frames[-1] != 6:
                frame = await heard(socket, lambda frame: frame["k"]["x"])
                frames.append((frame["k"]["t"] - START_MS) // 1_000)
            assert frames == expected

    run(scenario)


def test_an_interval_is_final_only_when_all_of_it_is_known(silent: Stand) -> None:
    """A minute whose last seconds nobody has told of is not final, though the table is beyond it."""

    async def scenario() -> None:
        async with connect(f"{silent.ws}/ws/btcusdt@kline_1m") as socket:
            await in_thread(lambda: listening(silent))
            await in_thread(lambda: silent.finished([trade(22, START_MS + 70_000, key=OTHER)]))
            silent.clock = lambda: START_MS + 71_500
            running = await heard(socket, lambda frame: True)
            assert (running["k"]["x"], running["k"]["t"]) == (False, START_MS)
            await in_thread(lambda: promised(silent.redis, START_MS + 60_000))
            final = await heard(socket, lambda frame: frame["k"]["x"])
            assert (final["k"]["t"], final["k"]["n"]) == (START_MS, 3)

    run(scenario)


def test_a_late_trade_that_waits_to_be_amended_is_not_told_as_quiet(silent: Stand) -> None:
    """Its exchange was away while the other moved the table on: Redis has it, the table has it later."""
    late = trade(4, START_MS + 5_000)
    silent.told([late])
    promised(silent.redis, START_MS + 8_000)
    eventually(lambda: silent.app.state.live.promised_ms("sim-binance") == START_MS + 8_000)
    assert seconds(silent.klines()) == [0, 1, 2]
    assert told(silent)[-1] == (2, False)
    silent.finished([late])
    eventually(lambda: seconds(silent.klines()) == list(range(8)))
    assert told(silent)[3:] == [(3, True), (4, True), (5, False), (6, True), (7, True)]


def test_a_second_that_lacks_trades_is_final_when_they_have_come(silent: Stand) -> None:
    """What an outage has delayed is amended some seconds later; what follows waits for it."""

    async def scenario() -> None:
        async with connect(f"{silent.ws}/ws/btcusdt@kline_1s") as socket:
            await in_thread(lambda: listening(silent))
            trades = [trade(4, START_MS + 16_000), trade(5, START_MS + 17_500), trade(6, START_MS + 19_000)]
            await in_thread(lambda: silent.told(trades))
            await in_thread(lambda: silent.finished([trades[0], trades[2], trade(22, START_MS + 22_000, key=OTHER)]))
            finals = [await heard(socket, lambda frame: frame["k"]["x"]) for _ in range(14)]
            assert [(frame["k"]["t"] - START_MS) // 1_000 for frame in finals] == list(range(3, 17))
            push = silent.app.state.binance.push
            (feed,) = push._feeds.values()
            await in_thread(lambda: eventually(lambda: feed._final_ms == START_MS + 17_000))
            await in_thread(lambda: silent.finished([trades[1]]))
            finals = [await heard(socket, lambda frame: frame["k"]["x"]) for _ in range(3)]
            told = [((frame["k"]["t"] - START_MS) // 1_000, frame["k"]["n"]) for frame in finals]
            assert told == [(17, 1), (18, 0), (19, 1)]

    run(scenario)


def test_an_older_redis_does_not_make_what_ran_quiet(silent: Stand) -> None:
    """It comes back without the last trades and the promise behind them: what runs ends where it ends."""
    silent.told([trade(4, START_MS + 20_500), trade(5, START_MS + 23_500)])
    promised(silent.redis, START_MS + 25_000)
    eventually(lambda: seconds(silent.klines())[-1] == 24)
    silent.redis.client.flushall()
    silent.written([*silent.trades[:3], trade(4, START_MS + 20500)])
    promised(silent.redis, START_MS + 22_000)
    eventually(lambda: seconds(silent.klines())[-1] == 21)
    promised(silent.redis, START_MS + 23_000)
    eventually(lambda: seconds(silent.klines())[-1] == 22)
