"""Who may ask: by the name the service is called by, the web site the question comes from, and the key.

A web site may have its own name point at this machine's loopback (DNS rebinding), and a visitor's browser would then
take the service for a part of that site. The browser still says the site's name, so only known names are answered. And
a page of another site may open a WebSocket to here without asking; its browser says whose page it is.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence

from market.settings import Settings

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
KEY_LENGTH = 16
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z_.-]{1,253})(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"https?://([^/\s]+)", re.IGNORECASE)


class Access:
    """What the settings allow."""

    def __init__(self, settings: Settings) -> None:
        self._is_everywhere = is_wildcard(settings.serve_host)
        own = () if self._is_everywhere else (bracketed(settings.serve_host),)
        self._names = {*LOOPBACK, *own, *settings.serve_names}
        self._origins = set(settings.serve_origins)
        self._key = settings.serve_api_key.encode()

    def problem_of_host(self, hosts: Sequence[str]) -> str | None:
        """Why a request with these Host headers is not answered."""
        name = name_of(hosts[0]) if len(hosts) == 1 else None
        if name is None:
            return (
                f"one Host header is expected, with a name or an address; there is {', '.join(hosts)[:200] or 'none'}"
            )
        # An address cannot be pointed elsewhere, as a name can; which one is ours, is not known where all are.
        if name in self._names or (self._is_everywhere and is_address(name)):
            return None
        return (
            f"this service is not called {name}; it is called {', '.join(sorted(self._names))} "
            "(SERVE_NAMES adds other names)"
        )

    def problem_of_origin(self, origin: str | None) -> str | None:
        """Why a WebSocket from a page of this site is refused. Programs say no site."""
        if origin is None or origin.lower() in self._origins:
            return None
        match = _ORIGIN.fullmatch(origin)
        if match and self.problem_of_host([match[1]]) is None:
            return None
        return f"pages of {origin[:200]} may not ask this service (SERVE_ORIGINS allows others)"

    def problem_of_key(self, headers: Mapping[str, str]) -> str | None:
        """Why a request without the right key is refused. Any of the usual headers may bear it."""
        if not self._key:
            return None
        given = [headers.get("x-api-key"), headers.get("x-mbx-apikey"), *_authorized(headers.get("authorization", ""))]
        keys = [key for key in given if key]
        # Compared to the end whatever is given, so that the time it takes tells nothing.
        if True in [hmac.compare_digest(key.encode(errors="replace"), self._key) for key in keys]:
            return None
        said = "is not the one that is set" if keys else "is missing"
        return f"the API key {said}: it goes into the header X-API-Key, or after Bearer into Authorization"


def name_of(host: str) -> str | None:
    """The name or the address in a Host header, without its port; None where there is none."""
    match = _HOST.fullmatch(host.strip())
    return match[1].lower().rstrip(".") if match else None


def bracketed(host: str) -> str:
    """A host as a Host header has it: an IPv6 address in brackets."""
    return f"[{host.lower()}]" if ":" in host and not host.startswith("[") else host.lower()


def is_address(name: str) -> bool:
    """Whether it is an address, and no name."""
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def is_wildcard(host: str) -> bool:
    """Whether it stands for all addresses of the machine."""
    return is_address(host) and ipaddress.ip_address(host.strip("[]")).is_unspecified


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. Of a name other than localhost nobody knows."""
    return host.lower() == "localhost" or (is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)


def problem_of(settings: Settings) -> str | None:
    """Why the service must not be started with these settings."""
    key = settings.serve_api_key
    if key and (len(key) < KEY_LENGTH or not key.isascii() or not key.isprintable() or " " in key):
        return (
            f"SERVE_API_KEY is too weak or cannot be sent: {KEY_LENGTH} characters or more are needed, of letters, "
            "digits and signs. One can be had by: python3 -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    if not key and not settings.serve_open and not is_loopback(settings.serve_host):
        return (
            f"SERVE_HOST={settings.serve_host} can be reached from other machines, and SERVE_API_KEY is not set: "
            "whoever finds the service could use it. Set SERVE_API_KEY, or SERVE_HOST=127.0.0.1, or, where nobody "
            "else can get there, SERVE_OPEN=yes"
        )
    return None


def _authorized(header: str) -> list[str]:
    """The keys that an Authorization header may bear: after Bearer, or as the password that a browser asks for."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return [value.strip()]
    if scheme.lower() == "basic":
        try:
            return [base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]]
        except (binascii.Error, ValueError):
            return []
    return []
