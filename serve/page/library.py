"""The chart library: TradingView's Lightweight Charts (Apache-2.0), as an installed package carries it.

Set-up brings the package with pip, so that neither Node nor another server is needed. Of it the script alone is used,
and served as it is; none of its Python is run.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

PACKAGE = "litecharts"
FILE = "js/lightweight-charts.js"
MAJOR = 5
"""Of the versions whose functions the page calls."""

_banner = re.compile(rb"TradingView Lightweight Charts\S* v(\d+)\.\d+").search


class LibraryAway(RuntimeError):  # noqa: N818  # a state of the installation
    """There is no such script. The message says where it was looked for, and which command mends it."""


def script() -> bytes:
    """The script, with its licence on top. Raises `LibraryAway`."""
    package = importlib.util.find_spec(PACKAGE)
    for folder in package.submodule_search_locations or () if package else ():
        path = Path(folder, FILE)
        try:
            found = path.read_bytes()
        except OSError as error:
            raise LibraryAway(f"{path} cannot be read: {error.strerror}. Set up anew: scripts/setup") from None
        banner = _banner(found[:2_000])
        if banner is None or int(banner[1]) != MAJOR:
            seen = banner[0].decode(errors="replace") if banner else "another script"
            raise LibraryAway(f"{path} is {seen}; version {MAJOR} of TradingView Lightweight Charts is expected")
        return found
    missing = f"the package {PACKAGE}, which carries the chart library, is not installed"
    raise LibraryAway(f"{missing}: scripts/setup does it")
