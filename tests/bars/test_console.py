"""What a person sees of a running job."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from bars.console import SHOWN, LineView, LiveView, Status, drawing, view
from bars.late import Tally
from bars.sink import Repeats

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
        {
            "exchange": "binance",
            "symbol": "BTCUSDT",
            "timestamp": time,
            "trade_count": 3,
            "missing_trades": 0,
            "revision": 0,
        }
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


def test_late_trades_are_said(status: Status) -> None:
    """How many were late, by how much at most, and how many bars they have amended, in the line and in the picture."""
    status.late = Tally()
    assert status.line(0).endswith("1.2 s")
    status.late.trades, status.late.latest_ms, status.late.amended = 1_200, 75_040, 45
    said = "late trades: 1,200 (by up to 75.0 s), amended bars: 45"
    assert status.line(0).endswith(f"1.2 s  {said}")
    output = io.StringIO()
    Console(file=output, width=200).print(drawing(status))
    assert said in output.getvalue()


@pytest.mark.parametrize(
    ("tally", "said"),
    [
        (Tally(), ""),
        (Tally(trades=3, latest_ms=10_920_000), "  late trades: 3 (by up to 3 h 2 min)"),
        (Tally(amended=2), "  amended bars: 2"),
        (
            Tally(trades=1, latest_ms=40, refused=1),
            "  late trades: 1 (by up to 0.0 s), BARS NOT AMENDED, FOR THE ARCHIVE LACKS TRADES OF THEIRS: 1",
        ),
    ],
)
def test_what_is_said_of_a_tally(status: Status, tally: Tally, said: str) -> None:
    """Nothing while nothing is late; a bar that could not be amended is never left out."""
    status.late = tally
    assert status.warning() == said


def test_without_an_amending_query_what_spark_drops_is_said(status: Status) -> None:
    """Where nothing amends, the groups of trades that the watermark has dropped are counted for good."""
    assert status.take_progress(PROGRESS | {"stateOperators": [{"numRowsDroppedByWatermark": 3}]}) == 3
    assert status.take_progress(PROGRESS) == 0
    assert status.line(0).endswith("1.2 s  GROUPS OF TRADES TOO LATE FOR THEIR BARS: 3")
    output = io.StringIO()
    Console(file=output, width=200).print(drawing(status))
    assert "GROUPS OF TRADES TOO LATE FOR THEIR BARS: 3" in output.getvalue()


def test_copies_are_counted_per_symbol(status: Status) -> None:
    """What came more than once is counted for each exchange and symbol, conflicts among it; the line has the sum."""
    status.take_repeats([Repeats("binance", "BTCUSDT", 3, 1), Repeats("coinbase", "BTCUSD", 2, 0)])
    status.take_repeats([Repeats("binance", "BTCUSDT", 1, 0)])
    assert status.copies == {("binance", "BTCUSDT"): 5, ("coinbase", "BTCUSD"): 2}
    assert status.warning() == "  copies: 7"


def test_an_amended_bar_is_no_new_bar(status: Status) -> None:
    """A further revision is not counted among the new bars, nor shown as one of the last."""
    assert status.take_bars([bar(1), bar(1, revision=1, trade_count=4)]) == 1
    assert [shown["trade_count"] for shown in status.latest] == [3]


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
