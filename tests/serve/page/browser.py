"""A real Chromium, the system's own, driven by Playwright. Where there is none, tests are skipped, and say why.

Set-up brings no browser: it is large, needs libraries of the system, and nobody needs it to run anything. To run these
tests: apt-get install chromium, or CHROMIUM=/path/to/chrome.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from market.settings import ROOT
from tests.support import eventually

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
PICTURES = ROOT / "run" / "screenshots"
"""Where tests put what is to be looked at."""


def program() -> str | None:
    """The browser's program, if there is one."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; skips where there is none."""
    path = program()
    if path is None:
        pytest.skip(f"no Chromium on the PATH ({', '.join(NAMES)}): apt-get install chromium, or set CHROMIUM to one")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: scripts/setup does it")
    # Without a sandbox where root runs it, as in containers: Chromium refuses otherwise.
    options = ["--no-sandbox"] if os.getuid() == 0 else []
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=options)
        try:
            yield Browser(launched)
        finally:
            launched.close()


class Browser:
    """Opens tabs."""

    def __init__(self, launched: Any) -> None:
        self._launched = launched

    @contextmanager
    def tab(
        self, address: str, *, width: int = 1280, height: int = 900, without: str = "", **options: Any
    ) -> Iterator[Tab]:
        """A tab of its own profile. What it complains about (errors, what the policy forbids) fails the test.

        `without`: a file that cannot be loaded.
        """
        context = self._launched.new_context(viewport={"width": width, "height": height}, **options)
        page = context.new_page()
        tab = Tab(page)
        page.on("console", tab.heard)
        page.on("pageerror", lambda error: tab.complaints.append(f"error: {error}"))
        page.add_init_script(
            "globalThis.violations = []; addEventListener('securitypolicyviolation', (event) =>"
            " violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}`))"
        )
        if without:
            page.route(f"**/page/{without}", lambda route: route.abort())
        try:
            page.goto(address)
            yield tab
            complaints = [text for text in tab.complaints if not tab.forgives(text)] + tab.evaluate("violations")
            assert not complaints, f"the browser complains: {complaints}"
        finally:
            context.close()


class Tab:
    """One tab."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.forgiven: list[str] = []
        """Parts of complaints that a test expects."""

    def heard(self, message: Any) -> None:
        """A message to the console."""
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def forgives(self, text: str) -> bool:
        """Whether a complaint is expected."""
        return any(part in text for part in self.forgiven)

    def evaluate(self, script: str, argument: Any = None) -> Any:
        """What an expression or a function of the page returns."""
        return self.page.evaluate(script, argument)

    def text(self, selector: str) -> str:
        """What an element says, as it is seen."""
        return str(self.page.locator(selector).first.inner_text())

    def until(self, script: str, argument: Any = None, *, within_s: float = 30.0) -> Any:
        """Until an expression is true there. (Playwright's own waiting compiles text, which the policy forbids.)"""
        return eventually(lambda: self.evaluate(script, argument), within_s=within_s)

    def bars(self) -> list[dict[str, Any]]:
        """The bars that are shown."""
        found: list[dict[str, Any]] = self.evaluate("liveBars.bars")
        return found

    def until_shown(self, count: int, *, final: int | None = None) -> None:
        """Until so many bars are shown, and so many of them are final."""
        self.until(
            "([count, final]) => liveBars.session?.loaded && liveBars.bars.length === count"
            " && (final === null || liveBars.bars.filter((bar) => bar.final).length === final)",
            [count, final],
        )

    def picture(self, name: str) -> Path:
        """A picture of the whole page, to be looked at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path
