"""The report says which runs were exact, what was done, and where it was measured."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chaos import report
from chaos.run import Form, Result
from market.settings import ROOT

GOOD = {
    "trades_verified": 123456,
    "made_per_s": 2100,
    "duplicates": 7,
    "missing": 0,
    "order_violations": 0,
    "kills": 5,
    "broker_restarts": 3,
    "faults": 30,
    "catch_up_s": 4.5,
    "exit_s": 0.4,
}
RESULTS = [
    Result(1, [], GOOD),
    Result(2, ["one thing", "another"], GOOD | {"missing": 3, "catch_up_s": None}),
    Result(3, ["the broker ended"]),
]


def test_the_table_has_a_line_for_each_run_and_all_that_was_wrong() -> None:
    """Exact runs are called so; failures are counted in the line and told below; what is not known is a dash."""
    head, first, second, third, *told = report.table(RESULTS).splitlines()
    assert head.split() == [
        *("seed", "trades", "made/s", "duplicates", "missing", "disordered", "kills", "restarts", "faults"),
        *("catch-up", "s", "exit", "s", "verdict"),
    ]
    assert first.split() == ["1", "123,456", "2,100", "7", "0", "0", "5", "3", "30", "4.5", "0.4", "exact"]
    assert second.split()[-4:] == ["–", "0.4", "2", "FAILURES"]
    assert third.split() == ["3", *["–"] * 10, "1", "FAILURES"]
    assert told == ["seed 2: one thing", "seed 2: another", "seed 3: the broker ended"]


def test_the_result_has_the_form_of_all_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, command, commit, machine, versions, settings, and the figures of each run beside their sums."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["chaos", "--producer", "--runs", "3"])
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    file = report.write("chaos-producer", Form(seed=1), RESULTS, now=now)
    assert file == tmp_path / "2026-01-02/chaos-producer.json"
    content = json.loads(file.read_text())
    other = sorted((ROOT / "bench/results").glob("*/first_bar.json"))[-1]
    assert content.keys() == json.loads(other.read_text()).keys()
    assert content["command"] == "scripts/chaos --producer --runs 3"
    assert content["settings"]["hole_wait"] == "120s"
    figures = content["figures"]
    assert (figures["runs_passed"], figures["runs_failed"], figures["kills"]) == (1, 2, 10)
    assert (figures["trades_verified"], figures["missing"], figures["catch_up_s_max"]) == (246912, 3, 4.5)
    assert [one["seed"] for one in figures["runs"]] == [1, 2, 3]
    assert figures["runs"][1]["failures"] == ["one thing", "another"]
    text = file.with_suffix(".txt").read_text()
    assert text.startswith("scripts/chaos --producer --runs 3\ncommit ")
    assert report.table(RESULTS) in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "one of the arguments --producer --job is required"),
        (["--producer", "--job"], "argument --job: not allowed with argument --producer"),
        (["--producer", "--seconds", "5"], "argument --seconds: 5 is not a number above 5 and up to 86400"),
        (["--producer", "--runs", "0"], "argument --runs: 0 is not a whole number from 1 on"),
        (["--producer", "--kills", "-1"], "argument --kills: -1 is not a whole number from 0 on"),
        (["--producer", "--kinds", "rain"], "argument --kinds: rain must be some of cut, silence, "),
    ],
)
def test_wrong_options_are_refused(words: list[str], said: str) -> None:
    """Exit code 2, and what is allowed; nothing is started."""
    done = subprocess.run([sys.executable, "-m", "chaos", *words], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert said in done.stderr
