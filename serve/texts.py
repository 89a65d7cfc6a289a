"""Decimals as text."""

from __future__ import annotations

from decimal import Decimal


def plain(number: Decimal) -> str:
    """A decimal as people write it: no exponent, no zeros at its end."""
    return shortened(f"{number:f}")


def shortened(text: str) -> str:
    """A decimal that is written without an exponent, without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text
