"""The bars job under kills of every kind: not one bar or row is lost, doubled or wrong.

A failing run is repeated with `scripts/chaos --job --seed …`, which keeps its logs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.job.run import Form, run
from chaos.job.schedule import KINDS

pytestmark = pytest.mark.e2e

SEED = 174
"""The last of its kills ends the job, which need not be started again before the rest is processed."""


def check(form: Form, folder: Path) -> None:
    """Run it; everything must be exact, and every kill must have been done to a job at work."""
    result = run(form, folder, print)
    assert result.failures == []
    figures = result.figures
    assert figures["kills"] == form.kills
    assert (figures["lost"], figures["doubled"], figures["wrong"]) == (0, 0, 0)
    assert figures["trades"] >= form.trades
    assert figures["bars"] > 0
    assert figures.get("falls", 0) == 0


def test_the_tables_are_exact_after_five_kills(tmp_path: Path) -> None:
    """The Python driver, the JVM, the broker twice, and all processes of the job at once are killed."""
    kinds = ("jvm", "driver", "all", "broker")
    check(Form(seed=SEED, kills=5, kinds=kinds, rate=300, audits=False), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 4))
def test_the_tables_are_exact_after_all_kinds_of_kills(tmp_path: Path, seed: int) -> None:
    """Each kind at least once, and the audit agrees."""
    check(Form(seed=seed, kills=len(KINDS) + 4, rate=2000), tmp_path)
