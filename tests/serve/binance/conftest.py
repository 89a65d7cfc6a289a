"""What tests of Binance's routes share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trades_at
from tests.serve.binance.stand import Stand


@pytest.fixture
def stand(tmp_path: Path, redis: OwnRedis) -> Iterator[Stand]:
    """A service whose table has the seconds until 10, and whose Redis has all trades until 12.4; it is 12.5.

    Seconds 3, 4 and 9 are quiet, the others have two trades each.
    """
    made = Stand(tmp_path, redis)
    seconds = [second for second in range(13) if second not in (3, 4, 9)]
    trades = trades_at([START_MS + 1_000 * second + part for second in seconds for part in (100, 400)])
    made.told(trades)
    made.finished([trade for trade in trades if trade.timestamp < START_MS + 10_000])
    made.stop_clock(START_MS + 12_500)
    with made.serving():
        yield made
