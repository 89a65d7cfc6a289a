"""What a run showed: a table for the reader, and a result as `bench/` keeps them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.result import RESULTS, machine, versions
from chaos.run import Result
from market.settings import ROOT

Columns = Sequence[tuple[str, str]]
"""Names of figures, and what they are called at the head of a table."""

PRODUCER: Columns = (
    ("seed", "seed"),
    ("trades_verified", "trades"),
    ("made_per_s", "made/s"),
    ("duplicates", "duplicates"),
    ("missing", "missing"),
    ("order_violations", "disordered"),
    ("kills", "kills"),
    ("broker_restarts", "restarts"),
    ("faults", "faults"),
    ("catch_up_s", "catch-up s"),
    ("exit_s", "exit s"),
    ("verdict", "verdict"),
)


def table(results: Sequence[Result], columns: Columns = PRODUCER) -> str:
    """A line for each run, and below it what was wrong."""
    rows = [tuple(title for _, title in columns)]
    for result in results:
        verdict = f"{len(result.failures)} FAILURES" if result.failures else "exact"
        figures = {"seed": result.seed, "verdict": verdict, **result.figures}
        rows.append(tuple(_shown(figures.get(name)) for name, _ in columns))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    for result in results:
        lines += [f"seed {result.seed}: {failure}" for failure in result.failures]
    return "\n".join(lines)


def write(
    name: str,
    form: Any,
    results: Sequence[Result],
    *,
    columns: Columns = PRODUCER,
    sums: Mapping[str, Any] | None = None,
    now: datetime | None = None,
) -> Path:
    """Write `bench/results/<date>/<name>.json` and the table beside it as `.txt`; the path of the first.

    `form` is the dataclass of how the first run went; `sums` is what is told of all runs together, `totals` unless
    given.
    """
    now = now or datetime.now(UTC)
    sums = totals(results) if sums is None else sums
    settings = {key: value for key, value in asdict(form).items() if key != "seed"}
    content = {
        "name": name,
        "time": now.isoformat(timespec="seconds"),
        "command": " ".join(["scripts/chaos", *sys.argv[1:]]),
        "commit": _git("rev-parse", "HEAD") + (", with changes" if _git("status", "--porcelain") else ""),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "figures": {**sums, "runs": [_run(result) for result in results]},
    }
    file = RESULTS / f"{now:%Y-%m-%d}" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2) + "\n")
    told = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "kinds")
    file.with_suffix(".txt").write_text(
        f"{content['command']}\ncommit {content['commit']}\n{told}\n\n{table(results, columns)}\n"
    )
    return file


def totals(results: Sequence[Result]) -> dict[str, Any]:
    """The sums over all runs, and the longest catch-up."""
    names = ("trades_verified", "duplicates", "missing", "order_violations", "kills", "broker_restarts", "faults")
    sums = {name: sum(result.figures.get(name) or 0 for result in results) for name in names}
    longest = max((result.figures.get("catch_up_s") or 0.0 for result in results), default=0.0)
    passed = sum(not result.failures for result in results)
    return {"runs_passed": passed, "runs_failed": len(results) - passed, **sums, "catch_up_s_max": longest}


def _run(result: Result) -> dict[str, Any]:
    return {"seed": result.seed, "passed": not result.failures, **result.figures, "failures": result.failures[:50]}


def _shown(value: Any) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, cwd=ROOT).stdout.strip()
