"""How often one address may ask."""

from __future__ import annotations

import pytest

from serve import limits as module
from serve.limits import Limits


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


def test_addresses_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest silent is forgotten."""
    monkeypatch.setattr(module, "ADDRESSES", 10)
    limits = Limits(1)
    for number in range(1_000):
        limits.wait_s(f"address {number}", float(number))
    assert len(limits._buckets) == 10
