"""Who may ask: names, web sites, keys; and where the service refuses to be started."""

from __future__ import annotations

import base64

import pytest

from market import settings as market_settings
from market.settings import Settings
from serve.access import Access, problem_of

KEY = "a-key-of-16-signs"


def settings(**options: str) -> Settings:
    return market_settings.load({}, None, options)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:3000", "LOCALHOST:1", "127.0.0.1:3000", "[::1]:3000", "[::1]", "localhost."]
)
def test_this_machine_may_be_called_by_its_own_names(host: str) -> None:
    """At whichever port."""
    assert Access(settings()).problem_of_host([host]) is None


@pytest.mark.parametrize(
    "hosts",
    [
        *[["evil.example"], ["evil.example:3000"], ["localhost.evil.example"], ["127.0.0.1.evil.example"]],
        *[["10.0.0.1"], ["0.0.0.0"], ["169.254.169.254"], ["[fe80::1]"]],
        *[[], [""], ["localhost", "evil.example"], ["localhost, evil.example"], ["local host"], ["a@localhost"]],
        *[["localhost:port"], ["localhost/"], ["\x00"], ["é"]],
    ],
)
def test_other_names_are_not_answered(hosts: list[str]) -> None:
    """A web site's own name that points here is how a page of it would get in."""
    assert Access(settings()).problem_of_host(hosts)


def test_other_names_can_be_allowed() -> None:
    """The host that is listened at, and those of SERVE_NAMES."""
    access = Access(settings(serve_host="192.168.1.5", serve_names="bars.example.com, [fd00::5]"))
    for host in ("192.168.1.5:3000", "bars.example.com", "BARS.example.com:80", "[fd00::5]:3000", "localhost"):
        assert access.problem_of_host([host]) is None
    assert "it is called 127.0.0.1, 192.168.1.5, [::1], [fd00::5], bars.example.com, localhost" in str(
        access.problem_of_host(["other.example.com"])
    )


@pytest.mark.parametrize("everywhere", ["0.0.0.0", "::"])
def test_listening_everywhere_any_address_is_ours_and_no_other_name(everywhere: str) -> None:
    """An address cannot be pointed elsewhere, as a name can."""
    access = Access(settings(serve_host=everywhere))
    assert access.problem_of_host(["192.168.1.5:3000"]) is None
    assert access.problem_of_host(["[fd00::5]:3000"]) is None
    assert access.problem_of_host(["evil.example:3000"])


def test_pages_of_other_sites_may_not_open_a_socket() -> None:
    """Programs say no site, our own page its own; SERVE_ORIGINS allows others."""
    access = Access(settings(serve_origins="https://charts.example.com"))
    for origin in (None, "http://localhost:3000", "http://127.0.0.1:8000", "https://charts.example.com"):
        assert access.problem_of_origin(origin) is None, origin
    for origin in ("https://evil.example", "null", "", "http://localhost.evil.example", "https://charts.example.com:1"):
        assert access.problem_of_origin(origin), origin


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anybody:{password}".encode()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"x-api-key": KEY},
        {"x-mbx-apikey": KEY},
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer   {KEY} "},
        {"authorization": basic(KEY)},
        {"x-api-key": "wrong", "authorization": basic(KEY)},
    ],
)
def test_the_key_may_come_in_any_of_the_usual_ways(headers: dict[str, str]) -> None:
    """Ours, Binance's, a bearer's, or a browser's, which asks for a password."""
    assert Access(settings(serve_api_key=KEY)).problem_of_key(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": f"{KEY}x"},
        {"authorization": KEY},
        {"authorization": f"Digest {KEY}"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xfe").decode()},
        {"authorization": basic("")},
        {"x-api-key": "\u00e9"},
    ],
)
def test_without_the_key_nothing_is_answered(headers: dict[str, str]) -> None:
    """And the answer says where it belongs, not what it is."""
    problem = Access(settings(serve_api_key=KEY)).problem_of_key(headers)
    assert problem
    assert "X-API-Key" in problem
    assert KEY not in problem


def test_without_a_key_set_none_is_asked_for() -> None:
    """On this machine alone."""
    assert Access(settings()).problem_of_key({}) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.0.0.2"])
def test_loopback_needs_no_key(host: str) -> None:
    """Nobody else gets there."""
    assert problem_of(settings(serve_host=host)) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com"])
def test_listening_elsewhere_is_refused_without_a_key(host: str) -> None:
    """Unless one says that nobody else can get there."""
    problem = str(problem_of(settings(serve_host=host)))
    assert problem.startswith(f"SERVE_HOST={host} can be reached from other machines, and SERVE_API_KEY is not set")
    assert problem_of(settings(serve_host=host, serve_api_key=KEY)) is None
    assert problem_of(settings(serve_host=host, serve_open="yes")) is None


@pytest.mark.parametrize(
    "key", ["short", "with a blank in it, and long", "schl\u00fcssel-mit-umlaut", "line\nbreak-in-the-key"]
)
def test_a_key_that_is_weak_or_cannot_be_sent_is_refused(key: str) -> None:
    """On loopback too; the key itself is not printed, here or with the settings."""
    problem = str(problem_of(settings(serve_api_key=key)))
    assert "SERVE_API_KEY is too weak or cannot be sent" in problem
    assert key not in problem
    assert key not in repr(settings(serve_api_key=key))
