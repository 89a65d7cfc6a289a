"""What pages of other web sites may do (CORS): those of `SERVE_ORIGINS` may ask and read, others may not. Pure.

A browser sends a page's question on, and gives the page the answer only where a header of the answer says so. Before a
question with a header of our own, such as the key, it asks whether that is allowed: a preflight, which bears no key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

ASKED = ("Authorization", "X-API-Key", "X-MBX-APIKEY", "X-MBX-TIME-UNIT")
"""Headers that a page may send, beside those that every page may."""
EXPOSED = ("Link", "Retry-After", "WWW-Authenticate", "X-MBX-USED-WEIGHT-1M")
"""Headers that our routes answer with and that a page may read, beside those that every page may."""
ALLOWED = {
    "access-control-allow-methods": "GET, HEAD",
    "access-control-allow-headers": ", ".join(ASKED),
    "access-control-max-age": "600",
}


class Cors:
    """What the settings allow."""

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins = frozenset(origins)

    def leave(self, headers: Mapping[str, str]) -> dict[str, str]:
        """What the answer to a request with these headers says of who may read it."""
        if not self._origins:
            return {}
        origin = headers.get("origin", "")
        if origin.lower() not in self._origins:
            return {"vary": "Origin"}
        exposed = {"access-control-expose-headers": ", ".join(EXPOSED)}
        return {"access-control-allow-origin": origin, "vary": "Origin"} | exposed

    def is_preflight(self, method: str, headers: Mapping[str, str]) -> bool:
        """Whether a browser asks for a page that may ask."""
        is_asking = method == "OPTIONS" and "access-control-request-method" in headers
        return is_asking and headers.get("origin", "").lower() in self._origins
