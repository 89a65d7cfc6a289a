"""`@trade` around an interruption: each trade once, in order, whatever Redis and its news did meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from market.latest import NEWS, line_of, name_of, trades_key
from market.trade import Trade
from prices.store import StoreAway
from serve.bars import Bars
from serve.binance.outbox import Budget, Outbox
from serve.binance.push import Client, Push
from serve.binance.service import Service
from serve.binance.streams import Session
from serve.live.live import Live
from serve.news import News
from serve.prices import Prices
from serve.tasks import end
from tests.redis_servers import OwnRedis
from tests.serve.binance.made import BTC, START_MS, trade
from tests.serve.binance.stand import Stand
from tests.serve.binance.talk import WITHIN_S, ask, in_thread, listening, run
from tests.serve.following import until
from tests.support import eventually

STREAM = "/ws/btcusdt@trade"


def made(*numbers: int) -> list[Trade]:
    """Trades behind those that the stand has; a greater number is a later one."""
    return [trade(number, START_MS + 12_400 + number) for number in numbers]


async def ids(socket: ClientConnection, count: int) -> list[int]:
    """Of the next trades that are told."""
    async with asyncio.timeout(2 * WITHIN_S):
        return [json.loads(await socket.recv())["t"] for _ in range(count)]


def restarted(stand: Stand) -> None:
    """Redis is killed, and is there again, empty."""
    stand.redis.kill()
    stand.redis.start()


def kept(stand: Stand, trades: Sequence[Trade]) -> None:
    """Redis' record of the symbol gets trades, without a word in the news."""
    for one in trades:
        stand.redis.client.xadd(trades_key(*BTC), {"trade": line_of(one, one.timestamp)})


def news(stand: Stand, trades: Sequence[Trade]) -> None:
    """News come of trades, and those before them have gone already."""
    ((newest, _),) = stand.redis.client.xrevrange(NEWS, count=1)
    begun, number = newest.split("-")
    lines = "\n".join(line_of(one, one.timestamp) for one in trades)
    stand.redis.client.xadd(NEWS, {name_of(*BTC): lines}, id=f"{begun}-{int(number) + 10}")


def overtaken(stand: Stand, missed: Sequence[Trade], told: Sequence[Trade]) -> None:
    """Redis gets trades; the news of some have gone before the service could read them, those of the others come."""
    kept(stand, [*missed, *told])
    news(stand, told)


def test_nothing_is_missed_and_nothing_comes_twice_when_redis_dies_while_trades_are_written(stand: Stand) -> None:
    """What it lost is written again, as prices does: from before the first trade that was told."""
    numbers = range(21, 321)

    def write() -> None:
        for first in numbers[::5]:
            if first == 121:
                stand.redis.kill()
                with pytest.raises(StoreAway):
                    stand.told(made(*range(first, first + 5)))
                stand.redis.start()
                stand.written(stand.trades)
            else:
                stand.told(made(*range(first, first + 5)))
        stand.written(stand.trades)

    async def scenario() -> None:
        async with connect(f"{stand.ws}{STREAM}") as socket:
            await in_thread(lambda: listening(stand))
            _, told = await asyncio.gather(in_thread(write), ids(socket, len(numbers)))
            assert told == list(numbers)
            await in_thread(lambda: stand.told(made(321)))
            assert await ids(socket, 1) == [321]

    run(scenario)
    assert "serve_sockets_lost_trades_total 0.0" in stand.rows("/metrics")


def test_trades_of_an_interruption_before_the_first_one_was_told_are_told(stand: Stand) -> None:
    """It is known what was newest when somebody began to listen: what came since is told, what was before is not."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}{STREAM}") as socket:
            await in_thread(lambda: listening(stand))
            await in_thread(lambda: restarted(stand))
            await in_thread(lambda: stand.told(made(21, 22)))
            await in_thread(lambda: stand.written(stand.trades))
            await in_thread(lambda: stand.told(made(23)))
            assert await ids(socket, 3) == [21, 22, 23]

    run(scenario)


def test_a_reader_that_lags_behind_the_news_reads_what_it_missed(stand: Stand) -> None:
    """Before what came since."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}{STREAM}") as socket:
            await in_thread(lambda: listening(stand))
            await in_thread(lambda: stand.told(made(21)))
            missed = [*made(*range(22, 2_022)), stand.trades[0]]  # one of before is written once more among them
            await in_thread(lambda: overtaken(stand, missed, made(2_022, 2_023)))
            await in_thread(lambda: overtaken(stand, made(2_024), made(2_025)))
            assert await ids(socket, 2_005) == list(range(21, 2_026))

    run(scenario)


def test_what_was_missed_is_asked_for_until_redis_gives_it(stand: Stand) -> None:
    """What comes meanwhile waits, also for a client that wants it in another form."""
    redis, key = stand.redis.client, trades_key(*BTC)

    async def scenario() -> None:
        async with connect(f"{stand.ws}{STREAM}") as socket:
            await in_thread(lambda: listening(stand))
            await in_thread(lambda: stand.told(made(21)))
            assert await ids(socket, 1) == [21]
            redis.rename(key, "aside")
            redis.set(key, "no stream: Redis refuses to read it as one")
            (feed,) = stand.app.state.binance.push._trade_feeds()
            await in_thread(lambda: news(stand, made(24)))
            await in_thread(lambda: eventually(lambda: feed._waiting))
            for combined in (True, False):
                assert await ask(socket, {"method": "SET_PROPERTY", "params": ["combined", combined], "id": 1})
            redis.delete(key)
            redis.rename("aside", key)
            kept(stand, made(22, 23, 24))
            assert await ids(socket, 3) == [22, 23, 24]

    run(scenario)


def test_a_trade_that_is_back_filled_is_told_when_it_comes(stand: Stand) -> None:
    """Also one that is older than the last interruption; what was told is not told again, nor what was before."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}{STREAM}") as socket:
            await in_thread(lambda: listening(stand))
            await in_thread(lambda: stand.told(made(21, 25)))
            assert await ids(socket, 2) == [21, 25]
            await in_thread(lambda: restarted(stand))
            await in_thread(lambda: stand.written(stand.trades))
            await in_thread(lambda: stand.told(made(23)))
            assert await ids(socket, 1) == [23]
            await in_thread(lambda: overtaken(stand, made(22), made(26)))
            assert await ids(socket, 2) == [22, 26]

    run(scenario)


def test_what_redis_does_not_hold_any_more_is_said_once(stand: Stand, caplog: pytest.LogCaptureFixture) -> None:
    """With the symbol and the ids, and counted."""

    async def scenario() -> None:
        async with connect(f"{stand.ws}{STREAM}") as socket:
            await in_thread(lambda: listening(stand))
            await in_thread(lambda: stand.told(made(21)))
            assert await ids(socket, 1) == [21]
            await in_thread(lambda: restarted(stand))
            await in_thread(lambda: stand.told(made(30, 31)))
            await in_thread(lambda: stand.told(made(40)))
            assert await ids(socket, 3) == [30, 31, 40]

    with caplog.at_level(logging.WARNING):
        run(scenario)
    said = [record.getMessage() for record in caplog.records if "@trade" in record.getMessage()]
    assert said == [
        "sim-binance:BTCUSDT@trade: ids 22 to 29 were missed, and Redis does not give them any more",
    ]
    assert "serve_sockets_lost_trades_total 8.0" in stand.rows("/metrics")


def test_hearing_that_ends_and_is_begun_again_goes_on_where_it_was(tmp_path: Path, redis: OwnRedis) -> None:
    """As after a defect: what came meanwhile is read from Redis."""
    stand = Stand(tmp_path, redis)
    stand.told(made(20))

    async def scenario() -> None:
        bars, prices, news = Bars.of(stand.table.settings), Prices(redis.url), News(redis.url)
        push = Push(Service(bars, prices, Live(bars, prices, news, "crypto-trades")), news.hub)
        client = Client("", Session(["btcusdt@trade"], combined=False), 1_000, Outbox(Budget()))

        async def told(count: int) -> list[int]:
            async with asyncio.timeout(WITHIN_S):
                return [json.loads(await client.outbox.take())["t"] for _ in range(count)]

        pumping = asyncio.create_task(news.run())
        hearing = asyncio.create_task(push._hear())
        await until(lambda: push._places)
        push.follow(client)
        await in_thread(lambda: stand.told(made(21)))
        assert await told(1) == [21]
        await end([hearing])
        await in_thread(lambda: stand.told(made(22)))
        hearing = asyncio.create_task(push._hear())
        await in_thread(lambda: stand.told(made(23)))
        assert await told(2) == [22, 23]
        await end([hearing, pumping])
        await bars.close()
        await prices.close()
        await news.close()

    run(scenario)
