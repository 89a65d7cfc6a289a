"""Where a partition is begun, or gone on with."""

from __future__ import annotations

import pytest

from prices.start import REPLACED, UNKNOWN, Known, Start, start_of


@pytest.mark.parametrize(
    ("known", "start"),
    [
        # Redis knows the partition: on from the lower of what it has and what is committed.
        (Known(stored=70, committed=70, earliest=0, end=100), Start(70)),
        (Known(stored=70, committed=60, earliest=0, end=100), Start(60)),
        (Known(stored=60, committed=70, earliest=0, end=100), Start(60)),
        (Known(stored=60, committed=None, earliest=0, end=100), Start(60)),
        (Known(stored=0, committed=0, earliest=0, end=0), Start(0)),
        # Redis is empty: the last 20 records, and whatever has not been written yet.
        (Known(stored=None, committed=None, earliest=0, end=100), Start(80, UNKNOWN)),
        (Known(stored=None, committed=100, earliest=0, end=100), Start(80, UNKNOWN)),
        (Known(stored=None, committed=50, earliest=0, end=100), Start(50, UNKNOWN)),
        (Known(stored=None, committed=None, earliest=0, end=10), Start(0, UNKNOWN)),
        (Known(stored=None, committed=None, earliest=95, end=100), Start(95, UNKNOWN)),
        # Retention has passed both: Redis expects what comes next at 70, or takes nothing any more.
        (Known(stored=70, committed=70, earliest=90, end=100), Start(70)),
        (Known(stored=None, committed=50, earliest=90, end=100), Start(90, UNKNOWN)),
        # The topic was made anew: neither offset means anything in it.
        (Known(stored=500, committed=500, earliest=0, end=10), Start(0, REPLACED)),
        (Known(stored=7, committed=500, earliest=0, end=10), Start(7)),
        # It has grown past them since, and its id tells.
        (Known(stored=70, committed=None, earliest=0, end=100, is_replaced=True), Start(80, REPLACED)),
        (Known(stored=70, committed=70, earliest=0, end=100, is_replaced=True), Start(70, REPLACED)),
        (Known(stored=None, committed=None, earliest=0, end=100, is_replaced=False), Start(80, UNKNOWN)),
    ],
)
def test_nothing_is_left_out_and_no_more_is_repeated_than_helps(known: Known, start: Start) -> None:
    """By what Redis, the group and Kafka know."""
    assert start_of(known, rebuild=20) == start
