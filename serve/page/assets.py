"""What the page is made of, read once: its own files lie in `static`, the chart library where pip has put it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from market.settings import ROOT
from serve.page import library

log = logging.getLogger(__name__)

STATIC = Path(__file__).resolve().parent / "static"
INDEX = "index.html"
ICON = "icon.svg"
LIBRARY = "lightweight-charts.js"
LICENCE = "licence.txt"
"""The chart library's and ours: Apache's, whose copy goes with what is handed on."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""Of the files that are served; others are not."""


class Asset(NamedTuple):
    """A file as it is served."""

    body: bytes
    media_type: str
    etag: str
    """Changes with the body: who has the same one already is not sent it again."""


def read() -> Mapping[str, Asset]:
    """Every file by its name. Without the chart library the page has no candles, and says so."""
    found = {path.name: _asset(path.name, path.read_bytes()) for path in STATIC.iterdir() if path.suffix in TYPES}
    found[LICENCE] = _asset(LICENCE, (ROOT / "LICENSE").read_bytes())
    try:
        found[LIBRARY] = _asset(LIBRARY, library.script())
    except library.LibraryAway as error:
        log.warning("the page has no candles: %s", error)
    return found


def _asset(name: str, body: bytes) -> Asset:
    return Asset(body, TYPES[Path(name).suffix], f'"{hashlib.sha256(body).hexdigest()[:20]}"')
