"""What runs, of a real Redis, beside a table that stands still, is behind, or of which Redis has not enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from market.bar import bars_of
from market.trade import Trade
from serve.bars import Bars
from serve.live import records
from serve.live.live import Live
from serve.news import News, NewTrades
from serve.prices import Prices
from serve.tasks import Works
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import BTC, START_MS, trade, trades_at
from tests.serve.binance.stand import Stand, promised
from tests.serve.binance.talk import in_thread, run
from tests.serve.following import until
from tests.support import eventually

EXCHANGE = BTC[0]


def seconds_of(key: tuple[str, str], seconds: range, first_id: int = 1) -> list[Trade]:
    """A trade in each second."""
    return trades_at([START_MS + 1_000 * second for second in seconds], first_id, key)


def counted(trades: list[Trade]) -> list[list[Any]]:
    """What klines of these trades begin with, and their counts: the time, and how many."""
    return [[bar.timestamp, bar.trade_count] for bar in bars_of(trades)]


def klines(stand: Stand, symbol: str) -> list[list[Any]]:
    """The same of the klines that are served."""
    return [[row[0], row[8]] for row in stand.klines(symbol)]


def reads_of(stand: Stand) -> list[tuple[str, str]]:
    """The symbols whose trades are read from Redis, from now on, each time that they are."""
    asked: list[tuple[str, str]] = []
    prices = stand.app.state.prices
    plain = prices.newest_first

    def spy(exchange: str, symbol: str) -> Any:
        asked.append((exchange, symbol))
        return plain(exchange, symbol)

    prices.newest_first = spy
    return asked


def test_a_table_that_stands_still_does_not_fill_the_memory(
    tmp_path: Path, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many symbols too much is open: the oldest goes. What is told is whole or absent until the table moves on."""
    monkeypatch.setattr(records, "OPEN_SECONDS", 1_500)
    keys = [(EXCHANGE, f"S{number}USDT") for number in range(20)]
    trades = {key: seconds_of(key, range(90)) for key in keys}
    stand = Stand(tmp_path, redis)
    stand.finished([some[0] for some in trades.values()])
    stand.told([one for some in trades.values() for one in some[:50]])
    stand.stop_clock(START_MS + 49_500)
    with stand.serving():
        live = stand.app.state.live
        for _, symbol in keys:
            eventually(lambda symbol=symbol: klines(stand, symbol) == counted(trades[EXCHANGE, symbol][:50]))
        assert (live.records.size, live.records.forgotten) == (20 * 49, 0)
        stand.told([one for some in trades.values() for one in some[50:]])
        stand.stop_clock(START_MS + 89_500)
        eventually(lambda: live.records.forgotten)
        eventually(lambda: max(klines(stand, symbol)[-1][0] for _, symbol in keys) == START_MS + 89_000)
        assert live.records.size <= 1_500
        for key in keys:
            assert klines(stand, key[1]) in (counted(trades[key]), counted(trades[key][:1]))
        assert "serve_open_seconds_forgotten_total" in stand.rows("/metrics")
        stand.finished([one for some in trades.values() for one in some[1:80]])
        for key in keys:
            eventually(lambda key=key: klines(stand, key[1]) == counted(trades[key]))
        assert live.records.size == 20 * 10


def test_a_redis_that_once_answers_too_late_costs_nothing(tmp_path: Path, redis: OwnRedis) -> None:
    """What runs is absent until it answers again, and is then what was known and heard: no record is read anew."""
    stand = Stand(tmp_path, redis)
    trades = seconds_of(BTC, range(10))
    stand.finished(trades[:5])
    stand.told(trades)
    stand.stop_clock(START_MS + 9_500)
    with stand.serving():
        eventually(lambda: klines(stand, BTC[1]) == counted(trades))
        asked = reads_of(stand)
        redis.client.execute_command("CLIENT", "PAUSE", 1_500, "ALL")
        eventually(lambda: klines(stand, BTC[1]) == counted(trades[:5]))
        more = seconds_of(BTC, range(10, 12), first_id=11)
        stand.told(more)
        eventually(lambda: klines(stand, BTC[1]) == counted([*trades, *more]))
        assert asked == []


def test_a_record_that_cannot_reach_the_table_is_not_read_again_and_again(
    tmp_path: Path, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table is further behind than Redis reaches back: what runs is told when it has come so far, unread."""
    monkeypatch.setattr(records, "_ANEW_S", 0.0)
    stand = Stand(tmp_path, redis)
    trades = seconds_of(BTC, range(20))
    stand.finished(trades[:3])
    stand.told(trades[10:])
    stand.stop_clock(START_MS + 19_500)
    with stand.serving():
        asked = reads_of(stand)
        for end in (3, 5, 8):
            stand.finished(trades[3:end])
            stand.caught_up()
            for _ in range(5):
                assert klines(stand, BTC[1]) == counted(trades[:end])
        stand.finished(trades[8:12])
        eventually(lambda: klines(stand, BTC[1]) == counted(trades))
        assert asked == [BTC]


def test_a_record_is_read_anew_when_what_it_lacked_has_come(
    tmp_path: Path, redis: OwnRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole before it is filled: then it reaches back to the table, long before the table has come so far."""
    monkeypatch.setattr(records, "_ANEW_S", 0.0)
    stand = Stand(tmp_path, redis)
    trades = seconds_of(BTC, range(20))
    stand.finished(trades[:3])
    stand.told([*trades[:5], *trades[10:]])
    stand.stop_clock(START_MS + 19_500)
    with stand.serving():
        asked = reads_of(stand)
        assert klines(stand, BTC[1]) == counted(trades[:3])
        stand.told(trades[5:10])
        eventually(lambda: klines(stand, BTC[1]) == counted(trades))
        assert set(asked) == {BTC}
        assert stand.app.state.live.records.size == 17  # of the seconds that the table does not have


def test_as_much_is_read_as_the_table_lacks(tmp_path: Path, redis: OwnRedis) -> None:
    """Redis holds more: pages of it that the table has are left there."""
    stand = Stand(tmp_path, redis)
    trades = trades_at([START_MS + number for number in range(4_000)])
    stand.finished([one for one in trades if one.timestamp < START_MS + 3_000])
    stand.told(trades)
    stand.stop_clock(START_MS + 3_999)
    with stand.serving():
        prices = stand.app.state.prices
        plain, pages = prices.newest_first, []

        async def spy(exchange: str, symbol: str) -> AsyncIterator[list[Trade]]:
            async for page in plain(exchange, symbol):
                pages.append(len(page))
                yield page

        prices.newest_first = spy
        eventually(lambda: klines(stand, BTC[1]) == counted(trades))
        assert 1_000 <= sum(pages) <= 2_000


def test_what_runs_is_whole_after_each_commit_also_where_bars_are_amended(tmp_path: Path, redis: OwnRedis) -> None:
    """Over the end of a minute, in widths that begin then and in those that go on."""
    stand = Stand(tmp_path, redis)
    trades = seconds_of(BTC, range(50, 80))
    late = {trades[3].trade_id, trades[14].trade_id}  # the table has them two commits later than their neighbours
    stand.finished(trades[:1])
    stand.told(trades)
    stand.stop_clock(START_MS + 79_500)
    with stand.serving():
        for number in range(1, 26):
            stand.finished([one for one in trades[number : number + 1] if one.trade_id not in late])
            if (amended := trades[number - 2]).trade_id in late:
                stand.finished([amended], revision=1)
            stand.caught_up()
            # Its second is closed by the commit of the next one, and it is in the table with the one after that.
            seen = [one for one in trades if one.trade_id not in late or one.trade_id != number]
            for width_ms, interval in ((60_000, "1m"), (300_000, "5m"), (86_400_000, "1d")):
                expected = [[bar.timestamp, bar.trade_count] for bar in bars_of(seen, width_ms)]
                told = [[row[0], row[8]] for row in stand.klines(interval=interval)]
                assert told == expected, (number, interval)


@asynccontextmanager
async def following_by_hand(stand: Stand) -> AsyncIterator[tuple[Live, Callable[[NewTrades], None]]]:
    """What runs, of trades that the test hands on itself."""
    bars, prices, news = Bars.of(stand.table.settings), Prices(stand.redis.url), News(stand.redis.url)
    live = Live(bars, prices, news, "crypto-trades")
    await bars.start()
    async with live.running_on(Works()):
        await until(lambda: live.closed_ms and news.hub.listeners)
        yield live, news.hub.publish
    await bars.close()
    await prices.close()
    await news.close()


def test_a_promise_waits_for_the_trades_that_redis_has_and_nobody_has_heard_yet(
    tmp_path: Path, redis: OwnRedis
) -> None:
    """Else a second whose trades are on their way would be told as one in which nobody traded."""
    stand = Stand(tmp_path, redis)
    stand.finished(seconds_of(BTC, range(3)))

    async def scenario() -> None:
        async with following_by_hand(stand) as (live, publish):
            await until(lambda: live._is_redis_there)
            publish(NewTrades([], (0, 0)))
            late = trade(4, START_MS + 4_000)
            await in_thread(lambda: stand.told([late]))
            await in_thread(lambda: promised(redis, START_MS + 6_000))
            looks = await asyncio.gather(*(live._look() for _ in range(3)))
            assert len(looks) == 3
            assert live.promised_ms(EXCHANGE) == 0
            place = (await live._prices.heartbeats("crypto-trades")).place
            publish(NewTrades([late], place))
            await until(lambda: live.promised_ms(EXCHANGE) == START_MS + 6_000)

    run(scenario)
