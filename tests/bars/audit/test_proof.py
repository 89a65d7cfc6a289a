"""What the audit says at last, by what it has found."""

from __future__ import annotations

import pytest

from bars.audit.proof import Account, Proof


@pytest.mark.parametrize(
    ("account", "verdict"),
    [
        (Account(), "NOTHING WAS JUDGED: no element and no bar is of that time"),
        (
            Account(consumed=3, open=2, rejected=1),
            "no bar to judge yet: every element is rejected, or of a second that is still open",
        ),
        (Account(consumed=3, open=1, rejected=1), "THE TABLE DOES NOT EQUAL THE TRADES"),
        (Account(consumed=3, in_bars=3, bars=2, equal=2), "the table equals the trades"),
        (
            Account(consumed=3, in_bars=3, bars=2, equal=1, amended_now=1),
            "1 bars amended: the table equals the trades",
        ),
        (Account(consumed=3, in_bars=2, bars=2, equal=1, different=1), "THE TABLE DOES NOT EQUAL THE TRADES"),
    ],
)
def test_the_verdict(account: Account, verdict: str) -> None:
    """It says that bars are right where there were bars to judge, and all elements add up."""
    assert Proof("", "", 0, 0, accounts={("binance", "BTCUSDT"): account}).verdict == verdict
