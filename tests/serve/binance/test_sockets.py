"""Binance's streams over real WebSockets: trades as they come, what runs, and what is final."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from market.bar import bars_of
from market.widths import WIDTHS
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trade, trades_at
from tests.serve.binance.stand import Stand
from tests.serve.binance.talk import ask, heard, in_thread, listening, run
from tests.support import eventually


def test_trades_come_as_they_are_raw_and_combined(stand: Stand) -> None:
    """Each once, in order; nothing that was before; times in microseconds where the address asks for them."""

    async def scenario() -> None:
        async with (
            connect(f"{stand.ws}/ws/btcusdt@trade") as raw,
            connect(f"{stand.ws}/binance/stream?streams=btcusdt@trade/nope@trade&timeUnit=microsecond") as combined,
        ):
            await in_thread(lambda: listening(stand, 2))
            trades = trades_at([START_MS + 12_450, START_MS + 12_450, START_MS + 12_460], first_id=21)
            await in_thread(lambda: stand.told(trades))
            events = [json.loads(await raw.recv()) for _ in trades]
            assert [event["t"] for event in events] == [21, 22, 23]
            assert events[0]["p"] == "121.10000000"
            assert (events[0]["T"], events[0]["E"]) == (START_MS + 12_450, START_MS + 12_500)
            wrapped = [json.loads(await combined.recv()) for _ in trades]
            assert [frame["stream"] for frame in wrapped] == ["btcusdt@trade"] * 3
            assert wrapped[2]["data"]["T"] == (START_MS + 12_460) * 1_000

    run(scenario)


@pytest.mark.parametrize("interval", ["1s", "1m", "1h", "1d"])
def test_the_first_running_kline_is_whole(stand: Stand, interval: str) -> None:
    """Built of the table's seconds and Redis' trades in one moment: never of one of them alone."""
    width_ms = WIDTHS[interval]
    expected = bars_of(stand.trades, width_ms)[-1]

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws/btcusdt@kline_{interval}") as socket:
            frames = [json.loads(await socket.recv())]
            while frames[-1]["k"]["t"] < expected.timestamp:
                frames.append(json.loads(await socket.recv()))
            kline = frames[-1]["k"]
            assert (kline["x"], kline["i"], kline["T"]) == (False, interval, expected.timestamp + width_ms - 1)
            assert (kline["n"], kline["f"], kline["L"]) == (
                expected.trade_count,
                expected.first_trade_id,
                expected.last_trade_id,
            )
            assert (kline["o"], kline["c"], kline["v"], kline["Q"]) == tuple(
                f"{number:.8f}"
                for number in (expected.open, expected.close, expected.volume, expected.taker_buy_quote_volume)
            )

    run(scenario)


@pytest.mark.parametrize("interval", ["1m", "1h", "1d"])
def test_what_runs_has_its_beginning_also_where_memory_has_not(tmp_path: Path, redis: OwnRedis, interval: str) -> None:
    """A symbol that was quiet for long, in a service that has begun since: its interval begins in the table's past."""
    stand = Stand(tmp_path, redis, serve_recent="60")
    old = trades_at([START_MS + 10_100, START_MS + 10_400])
    others = trades_at(range(START_MS + 3_000_000, START_MS + 3_590_000, 1_000), key=("sim-binance", "ETHUSDT"))
    stand.finished([*old, *others])
    new = trades_at([START_MS + 3_595_000], first_id=3)
    stand.told([*old, *new])
    stand.stop_clock(START_MS + 3_595_500)
    with stand.serving():
        eventually(lambda: stand.app.state.bars.newest_ms("sim-binance", "BTCUSDT") is None)
        expected = bars_of([*old, *new], WIDTHS[interval])[-1]
        row = stand.klines(interval=interval)[-1]
    assert (row[0], row[8]) == (expected.timestamp, expected.trade_count)
    assert tuple(map(Decimal, row[1:6])) == (
        expected.open,
        expected.high,
        expected.low,
        expected.close,
        expected.volume,
    )


def test_klines_run_on_however_long_the_table_stands(tmp_path: Path, redis: OwnRedis) -> None:
    """More intervals than are caught up with at once: the stream shows the newest of them."""
    stand = Stand(tmp_path, redis)
    seconds = trades_at(range(START_MS, START_MS + 1_200_000, 1_000))
    stand.finished(seconds[:10])
    stand.told(seconds)
    stand.stop_clock(START_MS + 1_199_500)

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws/btcusdt@kline_1s") as socket:
            while json.loads(await socket.recv())["k"]["t"] != seconds[-1].timestamp:
                pass

    with stand.serving():
        run(scenario)


def test_each_second_is_told_as_final_once_when_the_table_has_it(stand: Stand) -> None:
    """With the fields of REST's kline; a quiet one too; in the order of time; a gap not at all."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws/btcusdt@kline_1s") as socket:
            await in_thread(lambda: listening(stand))
            opened = [one for one in stand.trades if one.timestamp >= START_MS + 10_000]
            await in_thread(lambda: stand.finished(opened))
            finals = [await heard(socket, lambda frame: frame["k"]["x"]) for _ in range(4)]
            klines = [frame["k"] for frame in finals]
            assert [(kline["t"] - START_MS) // 1_000 for kline in klines] == [9, 10, 11, 12]
            assert [kline["n"] for kline in klines] == [0, 2, 2, 2]
            await in_thread(stand.caught_up)
            rows = await in_thread(lambda: stand.klines(startTime=START_MS + 9_000))
            names = "tohlcvTqnVQ"
            assert [[kline[name] for name in names] for kline in klines] == [row[:11] for row in rows[:4]]
            # Until a later bar tells that the gap is old, what lacks may yet come.
            await in_thread(lambda: stand.finished(trades_at([START_MS + 15_000, START_MS + 40_000], first_id=99)))
            after = await heard(socket, lambda frame: frame["k"]["x"])
            assert after["k"]["t"] == START_MS + 15_000

    run(scenario)


def test_a_minute_is_told_as_final_when_its_last_second_is(stand: Stand) -> None:
    """The last form of it before was not final, and had all that was known."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/stream?streams=btcusdt@kline_1m") as socket:
            first = await heard(socket, lambda frame: "data" in frame)
            assert (first["stream"], first["data"]["k"]["x"]) == ("btcusdt@kline_1m", False)
            opened = [one for one in stand.trades if one.timestamp >= START_MS + 10_000]
            await in_thread(lambda: stand.finished([*opened, trade(21, START_MS + 60_100)]))
            final = await heard(socket, lambda frame: frame["data"]["k"]["x"])
            (minute,) = bars_of(stand.trades, 60_000)
            assert (final["data"]["k"]["t"], final["data"]["k"]["n"]) == (START_MS, minute.trade_count)

    run(scenario)


def test_tickers_are_of_24_hours(stand: Stand) -> None:
    """In short, at length, and of all symbols; Q is the last trade's quantity."""

    async def scenario() -> None:
        streams = "btcusdt@miniTicker/btcusdt@ticker/!miniTicker@arr"
        async with connect(f"{stand.ws}/stream?streams={streams}") as socket:
            seen: dict[str, Any] = {}
            while len(seen) < 3:
                frame = json.loads(await socket.recv())
                seen[frame["stream"]] = frame["data"]
            (bar,) = bars_of(stand.trades, 86_400_000)
            mini, full, array = (seen[name] for name in streams.split("/"))
            assert (mini["e"], mini["v"], mini["c"]) == ("24hrMiniTicker", f"{bar.volume:.8f}", f"{bar.close:.8f}")
            assert (full["e"], full["n"], full["Q"]) == ("24hrTicker", bar.trade_count, "0.50000000")
            assert [one["s"] for one in array] == ["BTCUSDT"]

    run(scenario)


def test_streams_are_asked_for_and_left_while_connected(stand: Stand) -> None:
    """SUBSCRIBE, LIST_SUBSCRIPTIONS, UNSUBSCRIBE; an unknown one is acknowledged, and silent."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws") as socket:
            asked = {"method": "SUBSCRIBE", "params": ["btcusdt@trade", "nope@trade"], "id": 1}
            assert await ask(socket, asked) == {"result": None, "id": 1}
            await in_thread(lambda: stand.told([trade(21, START_MS + 12_450)]))
            assert json.loads(await socket.recv())["t"] == 21
            listed = await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 2})
            assert listed == {"result": ["btcusdt@trade", "nope@trade"], "id": 2}
            assert await ask(socket, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 3})
            await in_thread(lambda: stand.told([trade(22, START_MS + 12_450)]))
            assert json.loads(await socket.recv())["stream"] == "btcusdt@trade"
            assert await ask(socket, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 4})
            await in_thread(lambda: stand.told([trade(23, START_MS + 12_450)]))
            assert await ask(socket, {"method": "LIST_SUBSCRIPTIONS", "id": 5}) == {"result": ["nope@trade"], "id": 5}

    run(scenario)


def test_a_symbol_that_begins_to_trade_is_streamed_from_then_on(stand: Stand) -> None:
    """It was asked for before anybody knew of it."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/coinbase/ws/ethusd@trade") as socket:
            await in_thread(lambda: listening(stand))
            trades = [trade(number, START_MS + number, key=("sim-coinbase", "ETHUSD")) for number in (1, 2, 3)]
            await in_thread(lambda: stand.told(trades[:2]))
            await in_thread(lambda: stand.told(trades[2:]))
            assert [json.loads(await socket.recv())["t"] for _ in trades] == [1, 2, 3]

    run(scenario)


def test_a_symbol_that_gets_its_first_bar_is_streamed_from_then_on(stand: Stand) -> None:
    """The table has it, and Redis does not."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/coinbase/ws/ethusd@miniTicker") as socket:
            await in_thread(lambda: listening(stand))
            first = trade(1, START_MS + 12_100, key=("sim-coinbase", "ETHUSD"))
            await in_thread(lambda: stand.finished([first]))
            ticker = json.loads(await socket.recv())
            assert (ticker["s"], ticker["v"]) == ("ETHUSD", "0.50000000")

    run(scenario)


def test_names_that_nobody_knows_are_not_looked_up_again_and_again(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client with a thousand of them costs no more than one with none, and leaves nothing behind."""
    service, push = stand.app.state.binance.service, stand.app.state.binance.push
    lookups: list[str] = []
    known_source = service.known_source

    def counted(venue: str, symbol: str) -> str | None:
        lookups.append(symbol)
        found: str | None = known_source(venue, symbol)
        return found

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws/btcusdt@miniTicker") as socket:
            for number in (1, 2):
                names = [f"nope{place}@trade" for place in range(500 * number - 500, 500 * number)]
                assert await ask(socket, {"method": "SUBSCRIBE", "params": names, "id": number})
            monkeypatch.setattr(service, "known_source", counted)
            for _ in range(3):
                await heard(socket, lambda frame: frame.get("e") == "24hrMiniTicker")
            assert lookups == []
            assert len(push._lacking) == 1_000
            assert await ask(socket, {"method": "UNSUBSCRIBE", "params": names, "id": 3})
            assert len(push._lacking) == 500

    run(scenario)
    listening(stand, 0)
    assert push._lacking == {}


def test_trades_that_came_while_redis_was_away_are_told_when_it_is_back(stand: Stand) -> None:
    """It begins anew: what it holds behind the last trade that was told is read again, each once."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}/ws/btcusdt@trade") as socket:
            await in_thread(lambda: listening(stand))
            await in_thread(lambda: stand.told([trade(21, START_MS + 12_450)]))
            assert json.loads(await socket.recv())["t"] == 21
            await in_thread(stand.redis.kill)
            await in_thread(stand.redis.start)
            trades = [*stand.trades, *(trade(number, START_MS + 12_450 + number) for number in (22, 23))]
            await in_thread(lambda: stand.told(trades))
            await in_thread(lambda: stand.told([trade(24, START_MS + 12_490)]))
            ids = [json.loads(await socket.recv())["t"] for _ in range(3)]
            assert ids == [22, 23, 24]

    run(scenario)
