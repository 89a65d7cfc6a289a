"""What a setting may be: each function makes of a text its value, or raises `ValueError` that says what is allowed."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit


def text(value: str) -> str:
    return value


def some_text(value: str) -> str:
    if not value:
        raise ValueError("some text")
    return value


def addresses(value: str) -> str:
    # Brokers name themselves with a scheme, such as PLAINTEXT://, and clients take that.
    for name in value.split(",") if value else ():
        match = re.fullmatch(r"(?:[A-Z_]+://)?([^\s:/]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", name.strip())
        if not match or not 1 <= int(match[2]) <= 65535:
            raise ValueError("host:port, several by comma")
    return value


def url_of_redis(value: str) -> str:
    try:
        parts = urlsplit(value)
        is_right = parts.port != 0 and (
            (parts.scheme in ("redis", "rediss") and bool(parts.hostname))
            or (parts.scheme == "unix" and bool(parts.path))
        )
    except ValueError:  # a port that is no number
        is_right = False
    if value and not is_right:
        raise ValueError("redis://host:port/number, rediss://… or unix:///path")
    return value


def names(value: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in value.split(",") if name.strip())


def some_of(*allowed: str, or_none: bool = False) -> Callable[[str], tuple[str, ...]]:
    def parse(value: str) -> tuple[str, ...]:
        found = names(value)
        if not set(found) <= set(allowed) or not (found or or_none):
            raise ValueError(f"one or more of {', '.join(allowed)}, separated by commas")
        return found

    return parse


def one_of(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}")
        return value

    return parse


def yes_or_no(value: str) -> bool:
    if value not in ("yes", "no"):
        raise ValueError("yes or no")
    return value == "yes"


_HOST = r"(?:[0-9a-z_.-]{1,253}|\[[0-9a-f:.]{2,45}\])"


def host_names(value: str) -> tuple[str, ...]:
    found = names(value.lower())
    if not all(re.fullmatch(_HOST, name) for name in found):
        raise ValueError("names of hosts without a port, several by comma; an IPv6 address in brackets")
    return found


def origins(value: str) -> tuple[str, ...]:
    found = names(value.lower())
    if not all(re.fullmatch(rf"https?://{_HOST}(?::[0-9]{{1,5}})?", name) for name in found):
        raise ValueError("https://host or http://host:port, several by comma")
    return found


def integer(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch("-?[0-9]{1,18}", value) or not lowest <= int(value) <= highest:
            raise ValueError(f"a whole number from {lowest} to {highest}")
        return int(value)

    return parse


def number(lowest: float, highest: float, *words: str) -> Callable[[str], float]:
    def parse(value: str) -> float:
        if value in words:
            return 0.0
        try:
            found = float(value)
        except ValueError:
            found = float("nan")
        if not lowest <= found <= highest:
            raise ValueError(" or ".join([f"a number from {lowest:g} to {highest:g}", *words]))
        return found

    return parse


_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def duration_ms(lowest: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        match = re.fullmatch("([0-9]{1,9})(ms|s|m|h)", value)
        if not match or int(match[1]) * _UNITS_MS[match[2]] < lowest:
            raise ValueError(f"a number and a unit (ms, s, m or h), such as 500ms or 2s, of at least {lowest} ms")
        return int(match[1]) * _UNITS_MS[match[2]]

    return parse
