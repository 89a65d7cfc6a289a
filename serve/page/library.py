"""The chart library: TradingView's Lightweight Charts (Apache-2.0), as an installed package carries it.

Set-up brings the package with pip, so that neither Node nor another server is needed. Of it the script alone is used,
and served as it is; none of its Python is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

PACKAGE = "litecharts"
FILE = "js/lightweight-charts.js"
SHA256 = "756b0ba9f58930226d6b8b9d47ad310448ab85d799ea1f7c2c02304777c10b52"
"""Of the one script that is served, version 5.1.0, which the package has at the version that pyproject.toml pins: what
runs in the browsers of users is what was tested, whatever a registry gives."""


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
        seen = hashlib.sha256(found).hexdigest()
        if seen != SHA256:
            raise LibraryAway(
                f"{path} is another script than the one that belongs here: its SHA-256 is {seen}, "
                f"expected is {SHA256}. Remove .venv and set up anew: scripts/setup"
            )
        return found
    missing = f"the package {PACKAGE}, which carries the chart library, is not installed"
    raise LibraryAway(f"{missing}: scripts/setup does it")
