"""Trade ids, kept as ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from market.ids import Ids

RANGES = st.lists(
    st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 9)).map(lambda one: (one[0], one[1], one[1] + one[2]))
)


@given(RANGES, st.integers(0, 60), st.integers(0, 20))
def test_ranges_put_in_and_taken_out_are_a_set(changes: list[tuple[bool, int, int]], first: int, length: int) -> None:
    """However they overlap, the ids are those of the same changes to a plain set, in as few ranges as there can be."""
    ids, plain = Ids(), set[int]()
    for put_in, lower, upper in changes:
        if put_in:
            ids.include(lower, upper)
            plain |= set(range(lower, upper + 1))
        else:
            ids.exclude(lower, upper)
            plain -= set(range(lower, upper + 1))
    part = range(first, first + length + 1)
    assert numbers(ids.ranges()) == sorted(plain)
    assert numbers(ids.within(part[0], part[-1])) == sorted(plain & set(part))
    assert numbers(ids.without([(part[0], part[-1])]).ranges()) == sorted(plain - set(part))
    assert numbers(ids.ranges()) == sorted(plain)  # which looking has not changed
    assert (bool(ids), first in ids) == (bool(plain), first in plain)
    assert all(later[0] > earlier[1] + 1 for earlier, later in zip(ids.ranges(), ids.ranges()[1:], strict=False))


@given(st.lists(st.integers(0, 60)))
def test_each_id_is_new_once(numbers_: list[int]) -> None:
    """Ids in any order are new the first time only, and the ranges between them are their runs."""
    seen, known = Ids(), set[int]()
    for number in numbers_:
        assert seen.add(number) == (number not in known)
        known.add(number)
    assert numbers(seen.ranges()) == sorted(known)
    assert seen.pieces == len(seen.ranges())
    assert all(seen.around(number) in seen.ranges() for number in known)
    assert all(seen.around(number)[0] <= number <= seen.around(number)[1] for number in known)


def numbers(ranges: list[tuple[int, int]]) -> list[int]:
    """The ids of some ranges."""
    return [number for first, last in ranges for number in range(first, last + 1)]
