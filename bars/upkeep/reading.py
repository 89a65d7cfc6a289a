"""How far the query amend has read the archive, by its checkpoint: what upkeep may touch, and what it must leave."""

from __future__ import annotations

from bars.recovery.checkpoint import last_planned, planned_before
from bars.recovery.identity import checkpoint_of
from market.settings import Settings

NOTHING = 0
"""Of the table, nothing may be touched."""


def first_needed(settings: Settings) -> int | None:
    """The first version of `trades` that the query amend may read again; None where it has never begun.

    Started again, Spark lists once more what the newest planned batch reads, finished or not; so it goes by the batch
    before. `NOTHING` while the query reads the table as it stood when it began: that is no version it could name.
    Raises `CheckpointError` for a file that is missing or damaged.
    """
    checkpoint = checkpoint_of(settings, "amend")
    if last_planned(checkpoint) is None:
        return None
    position = planned_before(checkpoint)
    if position is None or position["isStartingVersion"]:
        return NOTHING
    return int(position["reservoirVersion"])
