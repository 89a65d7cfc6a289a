from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trades_at
from tests.serve.binance.stand import Stand
from tests.serve.page.browser import Browser, Tab, chromium
from tests.serve.served import served as serving
from tests.serve.tables import Table

SECONDS = [second for second in range(13) if second not in (3, 4, 9)]


@pytest.fixture
def stand(tmp_path: Path, redis: OwnRedis) -> Stand:
    """Not serving yet. Its table has the seconds until 9, its Redis all trades until 12.4; it is 12.5.

    Seconds 3, 4 and 9 are quiet, the others have two trades each, numbered from 1.
    """
    made = Stand(tmp_path, redis)
    trades = trades_at([START_MS + 1_000 * second + part for second in SECONDS for part in (100, 400)])
    made.told(trades)
    made.finished([trade for trade in trades if trade.timestamp < START_MS + 10_000])
    made.stop_clock(START_MS + 12_500)
    return made


@pytest.fixture
def served(stand: Stand) -> Iterator[Stand]:
    """The same, serving."""
    with stand.serving():
        yield stand


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real headless Chromium. Not for longer: while it is open, asyncio cannot run in the thread of the tests."""
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def bare(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """A tab at the page's origin, where its modules are; the page itself is not there."""
    table = Table(tmp_path_factory.mktemp("modules")).create()
    with (
        serving(table.settings) as service,
        browser.tab(f"http://127.0.0.1:{service.settings.serve_port}/page/notice.txt") as made,
    ):
        yield made
