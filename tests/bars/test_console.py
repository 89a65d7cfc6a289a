"""What a person sees of a running job."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from bars.console import SHOWN, LineView, LiveView, Status, drawing, view

PROGRESS: dict[str, Any] = {
    "batchId": 7,
    "durationMs": {"triggerExecution": 1234},
    "eventTime": {"watermark": "2026-11-21T08:00:00.000Z"},
    "stateOperators": [{"numRowsDroppedByWatermark": 0}],
    "sources": [{"inputRowsPerSecond": 512.4, "metrics": {"maxOffsetsBehindLatest": "1200"}}],
}


def bar(second: int, **changes: Any) -> dict[str, Any]:
    prices = {name: Decimal("42150.50000000") for name in ("open", "high", "low", "close", "volume")}
    time = datetime(2026, 11, 21, 8, 0, second, tzinfo=UTC)
    return (
        {"exchange": "binance", "symbol": "BTCUSDT", "timestamp": time, "trade_count": 3, "missing_trades": 0}
        | prices
        | changes
    )


@pytest.fixture
def status() -> Status:
    status = Status("data/bars_1s", "http://localhost:4040")
    status.take_progress(PROGRESS)
    return status


def test_a_line_says_what_came_of_a_batch(status: Status) -> None:
    """The line has batch, new bars, rate, lag, watermark and duration."""
    assert status.line(status.take_bars([bar(1), bar(2)])).endswith(
        " batch 7: 2 bars, 512 records/s, lag 1,200, watermark 2026-11-21T08:00:00.000Z, 1.2 s"
    )


def test_what_came_too_late_is_said(status: Status) -> None:
    """Trades that the watermark has dropped are counted for good, in the line and in the picture."""
    assert status.take_progress(PROGRESS | {"stateOperators": [{"numRowsDroppedByWatermark": 3}]}) == 3
    assert status.take_progress(PROGRESS) == 0
    assert status.line(0).endswith("1.2 s  3 GROUPS OF TRADES TOO LATE FOR THEIR BARS")
    output = io.StringIO()
    Console(file=output, width=200).print(drawing(status))
    assert "3 GROUPS OF TRADES TOO LATE FOR THEIR BARS" in output.getvalue()


def test_a_first_report_without_rates_or_watermark_is_taken() -> None:
    """A batch that had nothing to read reports neither rate nor lag nor watermark."""
    status = Status("table", None)
    status.take_progress(
        {"batchId": 0, "durationMs": {}, "stateOperators": [], "sources": [{"inputRowsPerSecond": None, "metrics": {}}]}
    )
    assert "batch 0: 0 bars, 0 records/s, lag 0, watermark none yet" in status.line(0)


def test_the_picture_shows_the_last_bars(status: Status) -> None:
    """The table holds the newest bars, oldest first, with plain numbers, and says where everything is."""
    assert status.take_bars(bar(second) for second in range(20)) == 20
    output = io.StringIO()
    Console(file=output, width=120).print(drawing(status))
    lines = output.getvalue().splitlines()
    rows = [line.split() for line in lines if "BTCUSDT" in line]
    assert [row[0] for row in rows] == [f"08:00:{second:02}" for second in range(20 - SHOWN, 20)]
    assert rows[0][1:] == ["binance", "BTCUSDT", *["42150.5"] * 5, "3", "0"]
    assert "20 bars" in lines[0]
    assert "data/bars_1s" in output.getvalue()
    assert "http://localhost:4040" in output.getvalue()


def test_the_view_fits_the_output(status: Status, capsys: pytest.CaptureFixture[str]) -> None:
    """A width means a terminal and a picture redrawn in place; none means lines."""
    live = view(status, "100")
    assert isinstance(live, LiveView)
    live.show(0)
    live.close()
    assert "\x1b[" in capsys.readouterr().out
    lines = view(status, None)
    assert isinstance(lines, LineView)
    lines.show(0)
    lines.close()
    assert "\x1b" not in capsys.readouterr().out
