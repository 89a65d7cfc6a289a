"""How often one address may ask."""

from __future__ import annotations

import pytest

from serve.limits import ByAddress, Limits


def test_an_address_may_ask_so_often() -> None:
    """A burst, then as many a second as is set; and it is told how long to wait."""
    limits = Limits(10)
    assert [limits.wait_s("one", 100.0) for _ in range(20)] == [0.0] * 20
    assert limits.wait_s("one", 100.0) == pytest.approx(0.1)
    assert limits.wait_s("one", 100.05) == pytest.approx(0.05)
    assert limits.wait_s("one", 100.1) == 0.0
    assert limits.wait_s("one", 100.1) > 0
    assert [limits.wait_s("one", 200.0) for _ in range(21)][-2:] == [0.0, pytest.approx(0.1)]


def test_addresses_do_not_hold_each_other_up() -> None:
    """Each has its own."""
    limits = Limits(0.5)
    assert [limits.wait_s(name, 0.0) for name in ("one", "other", "one")] == [0.0, 0.0, pytest.approx(2.0)]


def test_without_a_limit_anybody_may() -> None:
    """SERVE_RATE=0."""
    limits = Limits(0)
    assert {limits.wait_s("one", 0.0) for _ in range(10_000)} == {0.0}


def test_addresses_without_end_take_no_memory_without_end() -> None:
    """The longest silent is forgotten; one that is heard of again stays."""
    known: ByAddress[int] = ByAddress(10)
    for number in range(1_000):
        known.put("busy", -1)
        known.put(f"address {number}", number)
    assert [known.get(f"address {number}", -2) for number in (0, 989, 990, 991, 999)] == [-2, -2, -2, 991, 999]
    assert known.get("busy", -2) == -1
    limits = Limits(1, addresses=2)
    assert [limits.wait_s(name, 0.0) for name in ("one", "one", "two", "three", "one")] == [0.0] * 5
