"""The page's files over HTTP: what is served, under which policy, and that they belong together."""

from __future__ import annotations

import hashlib
import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from market.settings import ROOT
from market.widths import WIDTHS
from serve.page import assets, library
from serve.page.assets import LIBRARY, LICENCE, STATIC
from serve.page.routes import POLICY
from tests.serve.served import Served

HTML = (STATIC / "index.html").read_text()
COLOURS = (STATIC / "colours.css").read_text()
SCRIPTS = sorted(STATIC.glob("*.js"))
NAMES = sorted(path.name for path in STATIC.iterdir())


def test_the_page_is_at_the_root(service: Served) -> None:
    """HTML, under a policy that lets in nothing from elsewhere and nothing inline."""
    answer = service.ask("/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.body.decode() == HTML
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    for name in ("x-content-type-options", "x-frame-options", "referrer-policy", "cross-origin-opener-policy"):
        assert name in answer.headers


@pytest.mark.parametrize("name", NAMES)
def test_each_file_is_served_by_its_name(service: Served, name: str) -> None:
    """With its type; a browser that has it already is not sent it again."""
    answer = service.ask(f"/page/{name}")
    assert (answer.status, answer.body) == (200, (STATIC / name).read_bytes())
    assert answer.headers["cache-control"] == "no-cache"
    again = service.ask(f"/page/{name}", headers={"If-None-Match": f'"other", {answer.headers["etag"]}'})
    assert (again.status, again.body) == (304, b"")
    head = service.ask(f"/page/{name}", method="HEAD")
    assert (head.status, head.headers["content-length"], head.body) == (200, str(len(answer.body)), b"")


def test_browsers_find_the_icon_where_they_look_for_it(service: Served) -> None:
    """They ask for it beside answers that name none, and would call its absence an error."""
    answer = service.ask("/favicon.ico")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.body == (STATIC / "icon.svg").read_bytes()


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/routes.py", "/page/..%2froutes.py", "/page/../routes.py", "/page/static/app.js", "/index.html"],
)
def test_nothing_else_is_served(service: Served, path: str) -> None:
    """404, as JSON: names are looked up, and no path is made of them."""
    answer = service.ask(path)
    assert answer.status == 404
    assert "error" in answer.json


def test_only_get_is_allowed(service: Served) -> None:
    """405, with what is."""
    answer = service.ask("/page/app.js", method="POST", headers={"Content-Length": "0"})
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_the_chart_library_is_handed_on_as_it_is(service: Served) -> None:
    """With its licence on top; and the page has the notice that the licence asks for, and the link."""
    answer = service.ask(f"/page/{LIBRARY}")
    assert (answer.status, answer.body) == (200, library.script())
    head = answer.body[:1_000].decode()
    assert "TradingView Lightweight Charts" in head
    assert "Licensed under Apache License 2.0" in head
    notice = (STATIC / "notice.txt").read_text()
    for text in (HTML, notice):
        assert "TradingView Lightweight Charts™" in text
        assert "TradingView, Inc." in text
        assert "https://www.tradingview.com/" in text
    assert '<a href="https://www.tradingview.com/">' in HTML
    licence = service.ask(f"/page/{LICENCE}")
    assert licence.headers["content-type"].startswith("text/plain")
    assert b"Apache License" in licence.body
    assert b"END OF TERMS AND CONDITIONS" in licence.body


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that mends it."""
    monkeypatch.setattr(library, "PACKAGE", "there_is_no_such_package")
    with pytest.raises(library.LibraryAway) as raised:
        library.script()
    assert str(raised.value) == (
        "the package there_is_no_such_package, which carries the chart library, is not installed: scripts/setup does it"
    )


def test_the_chart_library_is_the_one_that_is_named() -> None:
    """The installed script has the hash that stands in the code, and is of the package at its pinned version."""
    assert hashlib.sha256(library.script()).hexdigest() == library.SHA256
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{library.PACKAGE}=={version(library.PACKAGE)}" in project["dependencies"]


def test_another_script_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by one byte: it is said what was seen and what is expected, and the page has no candles."""
    other = library.script() + b"\n"
    file = tmp_path / "charts_of_somebody" / library.FILE
    file.parent.mkdir(parents=True)
    file.write_bytes(other)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(library, "PACKAGE", "charts_of_somebody")
    with pytest.raises(library.LibraryAway) as raised:
        library.script()
    assert str(raised.value) == (
        f"{file} is another script than the one that belongs here: its SHA-256 is {hashlib.sha256(other).hexdigest()}, "
        f"expected is {library.SHA256}. Remove .venv and set up anew: scripts/setup"
    )
    assert LIBRARY not in assets.read()
    assert f"the page has no candles: {raised.value}" in caplog.text


def test_nothing_is_inline() -> None:
    """The policy would forbid it: no script or style in the page, no handler, no style of an element."""
    assert re.findall(r"<style|<script(?![^>]*\bsrc=)|\sstyle=|\son[a-z]+=", HTML) == []
    for path in SCRIPTS:
        forbidden = r"\beval\(|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write|https?://"
        assert re.findall(forbidden, path.read_text()) == [], path.name


def test_what_the_files_name_exists() -> None:
    """Files that the page and its modules load, elements that scripts look for, colours that the chart reads."""
    named = set(re.findall(r'(?:src|href)="/page/([^"]+)"', HTML))
    assert named - {LIBRARY, LICENCE} <= set(NAMES)
    for path in SCRIPTS:
        text = path.read_text()
        assert set(re.findall(r'from "\./([^"]+)"', text)) <= set(NAMES), path.name
    elements = set(re.findall(r'\bid="([^"]+)"', HTML))
    assert set(re.findall(r'named\("([^"]+)"\)', (STATIC / "view.js").read_text())) <= elements
    for attribute in ("aria-labelledby", "aria-describedby", "for"):
        assert set(re.findall(rf'\b{attribute}="([^"]+)"', HTML)) <= elements
    (colors,) = re.findall(r"const names = \[(.*?)\];", (STATIC / "chart.js").read_text(), re.DOTALL)
    assert {f"--{name}" for name in re.findall(r'"([^"]+)"', colors)} <= set(re.findall(r"(--[a-z-]+):", COLOURS))


def test_both_themes_have_every_colour() -> None:
    """Dark is written twice, for the system's choice and for the visitor's."""
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", COLOURS)
    light, chosen, system = (re.findall(r"(--[a-z-]+): ([^;]+);", block) for block in blocks)
    assert chosen == system
    assert [name for name, _ in light] == [name for name, _ in chosen]


def test_every_interval_can_be_chosen() -> None:
    """In the order of their widths."""
    (choices,) = re.findall(r'<select id="interval">(.*?)</select>', HTML, re.DOTALL)
    assert re.findall(r"<option>(.*?)</option>", choices) == list(WIDTHS)


def test_no_file_is_too_long_to_be_seen_at_once() -> None:
    """Scripts and styles have 300 lines at most, as Python has, and lines of 120 characters."""
    for path in [*SCRIPTS, *STATIC.glob("*.css"), *STATIC.glob("*.html")]:
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, path.name
        assert max(map(len, lines)) <= 120, path.name
