"""What a person sees while the job runs: a small live table on a terminal, a line per batch elsewhere."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bars.late import Tally
from bars.sink import Repeats

SHOWN = 12


@dataclass
class Status:
    """The state of the job, gathered from Spark's progress reports and from the table itself."""

    table: str
    ui: str | None
    """Address of the Spark UI, if it runs."""
    batch: int = -1
    records_per_s: float = 0
    lag: int = 0
    """Kafka records not yet read."""
    watermark: str = "none yet"
    batch_s: float = 0
    late: Tally | None = None
    """What came too late for its bar, and amended it; None where no query of this application amends."""
    dropped: int = 0
    """Groups of trades that came after their second was closed, as Spark counts them: not trades."""
    copies: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of each exchange and symbol, elements of open seconds that bear the id of an earlier one."""
    bars: int = 0
    """Bars seen since the start, without amended ones."""
    latest: deque[Mapping[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN))

    def take_progress(self, progress: Mapping[str, Any]) -> int:
        """Takes over a report of the bars query (`StreamingQueryProgress` as a mapping); returns what came too late."""
        (source,) = progress["sources"]
        self.batch = progress["batchId"]
        self.records_per_s = source.get("inputRowsPerSecond") or 0.0
        self.lag = int((source.get("metrics") or {}).get("maxOffsetsBehindLatest") or 0)
        self.watermark = (progress.get("eventTime") or {}).get("watermark") or self.watermark
        dropped = sum(int(operator["numRowsDroppedByWatermark"]) for operator in progress["stateOperators"])
        self.dropped += dropped
        self.batch_s = (progress["durationMs"].get("triggerExecution") or 0) / 1000
        return dropped

    def take_repeats(self, repeats: Sequence[Repeats]) -> None:
        """Takes over what came more than once in a batch of the bars query."""
        for repeat in repeats:
            self.copies[repeat.exchange, repeat.symbol] += repeat.copies + repeat.conflicts

    def take_bars(self, bars: Iterable[Mapping[str, Any]]) -> int:
        """Takes over new rows of the table; returns how many. Amended bars are told by `late`, not here."""
        before = self.bars
        new = (bar for bar in bars if not bar["revision"])
        for bar in sorted(new, key=lambda bar: (bar["timestamp"], bar["trade_count"])):
            self.bars += 1
            self.latest.append(bar)
        return self.bars - before

    def line(self, new_bars: int) -> str:
        """The state in one line."""
        return (
            f"{datetime.now(UTC):%H:%M:%S} batch {self.batch}: {new_bars} bars, {self.records_per_s:,.0f} records/s, "
            f"lag {self.lag:,}, watermark {self.watermark}, {self.batch_s:.1f} s" + self.warning()
        )

    def warning(self) -> str:
        """What to say of trades that came twice or too late; nothing while there are none."""
        said = []
        if copies := self.copies.total():
            said.append(f"copies: {copies:,}")
        if self.late is None and self.dropped:
            said.append(f"GROUPS OF TRADES TOO LATE FOR THEIR BARS: {self.dropped:,}")
        if self.late and self.late.trades:
            said.append(f"late trades: {self.late.trades:,} (by up to {_duration(self.late.latest_ms)})")
        if self.late and self.late.amended:
            said.append(f"amended bars: {self.late.amended:,}")
        if self.late and self.late.refused:
            said.append(f"BARS NOT AMENDED, FOR THE ARCHIVE LACKS TRADES OF THEIRS: {self.late.refused:,}")
        return "  " + ", ".join(said) if said else ""


class LineView:
    """A line per batch, for logs and pipes."""

    def __init__(self, status: Status) -> None:
        self._status = status
        _say(f"bars: {status.table}")
        if status.ui:
            _say(f"Spark UI: {status.ui}")

    def show(self, new_bars: int) -> None:
        """Prints the state."""
        _say(self._status.line(new_bars))

    def close(self) -> None:
        """Nothing to put back."""


class LiveView:
    """The last bars and the state, redrawn in place. Needs a terminal `width` columns wide."""

    def __init__(self, status: Status, width: int) -> None:
        self._status = status
        console = Console(file=sys.stdout, force_terminal=True, width=width)
        self._live = Live(console=console, auto_refresh=False, get_renderable=lambda: drawing(status))
        self._live.start()

    def show(self, new_bars: int) -> None:
        """Redraws."""
        self._live.refresh()

    def close(self) -> None:
        """Leaves the last picture standing."""
        self._live.stop()


def drawing(status: Status) -> Group:
    """The picture of the live view."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("time", "exchange", "symbol"):
        table.add_column(name)
    for name in ("open", "high", "low", "close", "volume", "trades", "missing"):
        table.add_column(name, justify="right")
    for bar in status.latest:
        prices = [f"{bar[name]:f}".rstrip("0").rstrip(".") for name in ("open", "high", "low", "close", "volume")]
        table.add_row(
            f"{bar['timestamp']:%H:%M:%S}",
            bar["exchange"],
            bar["symbol"],
            *prices,
            f"{bar['trade_count']}",
            f"{bar['missing_trades']}",
        )
    head = Text(f"{status.bars:,} bars  ", style="bold")
    head.append(
        f"{status.records_per_s:,.0f} records/s   lag {status.lag:,}   watermark {status.watermark}   "
        f"batch {status.batch} in {status.batch_s:.1f} s{status.warning()}",
        style="not bold",
    )
    foot = Text(f"table {status.table}\nSpark UI {status.ui or 'off'}   Ctrl-C ends the job", style="dim")
    return Group(head, Text(), table, Text(), foot)


def view(status: Status, terminal: str | None) -> LiveView | LineView:
    """The live view where `terminal` gives a width (spark-submit.sh sets BARS_TERMINAL on a terminal), else lines."""
    return LiveView(status, int(terminal)) if terminal else LineView(status)


def _duration(time_ms: int) -> str:
    """A time for a person: 0.3 s, 75.0 s, 3 h 2 min."""
    minutes = time_ms // 60_000
    return f"{time_ms / 1000:.1f} s" if minutes < 10 else f"{minutes // 60} h {minutes % 60} min"


def _say(text: str) -> None:
    print(text, flush=True)
