"""How the chaos of the bars job sees that a table grows."""

from __future__ import annotations

from pathlib import Path

from bars.tables import create_tables
from bars.upkeep import deltalog
from bars.upkeep.passes import FEW, upkeep
from chaos.job.tables import Growth
from market.settings import load
from tests.bars.upkeep.kept import START_MS, Kept, trade


def test_files_that_were_made_few_are_no_growth(tmp_path: Path) -> None:
    """Rows count when they are new, not when upkeep has written them once more."""
    options = {"output_dir": str(tmp_path / "data"), "checkpoint_dir": str(tmp_path), "kafka_bootstrap": "none:1"}
    kept = Kept(load({}, None, options))
    create_tables(kept.settings)
    growth = Growth(kept.path())
    for second in range(FEW):
        kept.barred([trade(second, second)])
    assert growth.look() == FEW
    upkeep(kept.settings, now_ms=START_MS)
    assert len(deltalog.settled(kept.path())) == 1
    assert growth.look() == FEW
