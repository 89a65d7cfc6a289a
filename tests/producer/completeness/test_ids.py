"""The ids that a symbol has brought, in bounded memory."""

from __future__ import annotations

from producer.completeness.ids import SeenIds


def test_ids_with_gaps_do_not_fill_the_memory() -> None:
    """Of ids that never touch, the lowest are forgotten, and would be published again rather than held back."""
    seen = SeenIds()
    for number in range(0, 10_000, 2):
        seen.add(number)
    assert len(seen.ranges()) == 1_000
    assert seen.add(0)
    assert not seen.add(9_998)
