"""The options of `scripts/chaos --job`, and what its report says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from chaos import report
from chaos.job.command import COLUMNS, LONG, asked, totals
from chaos.job.run import Form, percentiles
from chaos.job.schedule import KINDS
from chaos.run import Result

GOOD = {"trades": 5_000_123, "copies": 5_000, "kills": 104, "lost": 0, "doubled": 0, "wrong": 0, "each_kill": []}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kills", "0"], "argument --kills: 0 is not a whole number from 1 on"),
        (["--seed", "-1"], "argument --seed: -1 is not a whole number from 0 on"),
        (["--runs", "0"], "argument --runs: 0 is not a whole number from 1 on"),
        (["--rate", "nan"], "argument --rate: nan is not a number from 1 to 100000"),
        (["--trades", "many"], "argument --trades: many is not a whole number from 0 on"),
        (["--kinds", ""], f"argument --kinds:  must be some of {', '.join(KINDS)}, separated by commas"),
        (["--restarts", "3"], "unrecognized arguments: --restarts 3"),
    ],
)
def test_wrong_options_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and what is allowed."""
    with pytest.raises(SystemExit) as ended:
        asked(["--job", *words])
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"scripts/chaos: error: {said}"


def test_options_make_the_form() -> None:
    """What is not said is as in the short form, or with --all as in the long one, which is reported."""
    short = asked(["--job"])
    assert (short.form, short.runs, short.report) == (Form(seed=1), 1, None)
    some = asked(["--job", "--seed", "7", "--runs", "2", "--kills", "3", "--kinds", "jvm,broker", "--no-audit"])
    assert (some.form, some.runs) == (Form(seed=7, kills=3, kinds=("jvm", "broker"), audits=False), 2)
    long = asked(["--job", "--all", "--rate", "9000"])
    assert (long.form, long.report) == (replace(LONG, rate=9000.0), "chaos-job")
    assert LONG.kills >= 100
    assert LONG.trades >= 5_000_000


def test_the_report_has_the_jobs_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums of all runs and the figures of each, and a table with a line for each."""
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    results = [Result(1, [], GOOD), Result(2, ["one thing"], GOOD | {"lost": 3})]
    file = report.write("chaos-job", Form(seed=1), results, columns=COLUMNS, sums=totals(results))
    content = json.loads(file.read_text())
    assert content["settings"]["kills"] == Form.kills
    figures = content["figures"]
    assert (figures["runs_passed"], figures["runs_failed"]) == (1, 1)
    assert (figures["trades"], figures["kills"], figures["lost"]) == (10_000_246, 208, 3)
    assert figures["runs"][1]["failures"] == ["one thing"]
    first, second, told = report.table(results, COLUMNS).splitlines()[1:]
    assert first.split()[:3] + first.split()[-1:] == ["1", "5,000,123", "5,000", "exact"]
    assert second.split()[-2:] == ["1", "FAILURES"]
    assert told == "seed 2: one thing"


def test_percentiles_of_few() -> None:
    """Nothing has none; of many, the ones in their places."""
    assert percentiles([]) == {}
    assert percentiles([3.0]) == {"least": 3.0, "p50": 3.0, "p95": 3.0, "most": 3.0}
    assert percentiles([float(number) for number in range(101)][::-1]) == {
        "least": 0.0,
        "p50": 50.0,
        "p95": 95.0,
        "most": 100.0,
    }
