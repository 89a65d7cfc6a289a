"""What the commands of `scripts/chaos` share: a test that was asked for, and the kinds of its options."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chaos.report import Columns
from chaos.run import Result

Say = Callable[[str], None]


class Wanted(NamedTuple):
    """What the options ask for."""

    form: Any
    """How the first run goes: a dataclass with a `seed`, which is one higher for each further run."""
    run: Callable[[Any, Path, Say], Result]
    """Does one run in a folder, which then holds its logs."""
    runs: int
    report: str | None
    """The name of the report, where one is to be written."""
    columns: Columns
    totals: Callable[[Sequence[Result]], dict[str, Any]]


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser for one of the commands."""
    return argparse.ArgumentParser(
        prog="scripts/chaos",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def whole(least: int) -> Callable[[str], int]:
    """Reads a whole number from `least` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return int(text)

    return read


def kinds_of(allowed: Sequence[str], *, or_none: bool = False) -> Callable[[str], tuple[str, ...]]:
    """Reads some of these names, or none of them."""

    def read(text: str) -> tuple[str, ...]:
        kinds = tuple(name for name in text.split(",") if name)
        if not set(kinds) <= set(allowed) or not (kinds or or_none):
            raise argparse.ArgumentTypeError(f"{text} must be some of {', '.join(allowed)}, separated by commas")
        return kinds

    return read
