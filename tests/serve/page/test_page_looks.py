"""How the page looks and is used: light and dark, wide and narrow, by keyboard, read aloud, calm. With pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from market.bar import bars_of
from tests.serve.binance.made import START_MS, trade
from tests.serve.binance.stand import Stand
from tests.serve.page.browser import Browser, Tab
from tests.serve.tables import every_second, walk

ADDRESS = "#sim-binance:ETHUSDT:1s"
BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 28)"}


@pytest.fixture
def lively(stand: Stand) -> Iterator[Stand]:
    """Four minutes of a market: the last ten seconds provisional, a gap, amended bars, quiet seconds; an old price."""
    seconds = [start for start in every_second(START_MS, 240) if start // 1_000 % 17]
    trades = walk(seconds, exchange="sim-binance", symbol="ETHUSDT")
    stand.told(trades)
    lost = range(START_MS + 200_000, START_MS + 204_000)
    kept = [one for one in trades if one.timestamp < START_MS + 230_000 and one.timestamp not in lost]
    stand.finished(kept)
    amended = [bar for bar in bars_of(kept) if bar.timestamp in (START_MS + 190_000, START_MS + 215_000)]
    stand.table.commit([replace(bar, revision=1) for bar in amended])
    stand.stop_clock(START_MS + 240_000)
    with stand.serving():
        yield stand


def ready(tab: Tab) -> None:
    """Until everything is drawn."""
    tab.until("liveBars.session?.loaded && liveBars.bars.length > 200")
    tab.until("document.querySelectorAll('#rows tr').length === 20")
    tab.until("document.querySelectorAll('#prices li').length === 2")
    tab.until("document.querySelector('#message').hidden")
    tab.until("document.querySelector('#feed').textContent.startsWith('✔ Prices live')")
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_it_fits_and_has_the_colours_that_are_asked_for(
    lively: Stand, browser: Browser, width: int, scheme: str
) -> None:
    """Nothing is wider than the window; the picture is kept to be looked at."""
    with browser.tab(f"{lively.http}/{ADDRESS}", width=width, color_scheme=scheme) as tab:
        ready(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == BACKGROUNDS[scheme]
        assert tab.picture(f"page-{width}-{scheme}").stat().st_size > 10_000
        chart = tab.page.locator("#chart").bounding_box()
        assert chart["width"] > 0.85 * min(width, 900)
        assert chart["height"] >= 270


def test_many_symbols_do_not_lengthen_the_page(lively: Stand, browser: Browser) -> None:
    """Their list scrolls in its own place, and what is read aloud of it alone lies there too."""
    lively.told(trade(1, START_MS + 239_000, key=("sim-binance", f"COIN{number}USDT")) for number in range(80))
    with browser.tab(f"{lively.http}/{ADDRESS}") as tab:
        tab.until("document.querySelectorAll('#prices li').length === 82")
        assert (
            tab.evaluate(
                "(({bottom}) => document.documentElement.scrollHeight - (bottom + scrollY))"
                "(document.body.getBoundingClientRect())"
            )
            <= 1
        )


def test_a_theme_that_was_chosen_stays(lively: Stand, browser: Browser) -> None:
    """Against the system's, also after a reload."""
    background = "getComputedStyle(document.body).backgroundColor"
    with browser.tab(f"{lively.http}/{ADDRESS}", color_scheme="light") as tab:
        ready(tab)
        tab.page.locator("#theme").select_option("dark")
        assert tab.evaluate(background) == BACKGROUNDS["dark"]
        tab.page.reload()
        ready(tab)
        assert tab.evaluate(background) == BACKGROUNDS["dark"]
        tab.page.locator("#theme").select_option("auto")
        assert tab.evaluate(background) == BACKGROUNDS["light"]


def test_everything_can_be_reached_by_keyboard(lively: Stand, browser: Browser) -> None:
    """The skip link first, then each choice, the chart, what is folded, prices, the table."""
    with browser.tab(f"{lively.http}/{ADDRESS}") as tab:
        ready(tab)
        focused = "((one) => one.id || one.className || one.tagName)(document.activeElement)"
        reached = []
        for _ in range(30):
            tab.page.keyboard.press("Tab")
            reached.append(tab.evaluate(focused))
        assert reached[0] == "skip"
        for name in ("symbol", "interval", "theme", "pause", "newest", "chart", "SUMMARY", "BUTTON", "scroll"):
            assert name in reached
        assert reached.index("symbol") < reached.index("chart") < reached.index("scroll")


def test_bars_are_read_aloud_one_by_one(lively: Stand, browser: Browser) -> None:
    """In the chart: from the newest back, to the oldest, and out again."""
    said = "document.querySelector('#said').textContent"
    with browser.tab(f"{lively.http}/{ADDRESS}") as tab:
        ready(tab)
        tab.page.locator("#chart").focus()
        tab.page.keyboard.press("ArrowLeft")
        newest = tab.evaluate(said)
        assert newest.startswith("2024-08-09 00:03:59 UTC, ")
        assert newest.endswith("; provisional")
        tab.page.keyboard.press("ArrowLeft")
        assert tab.evaluate(said).startswith("2024-08-09 00:03:58 UTC, ")
        tab.page.keyboard.press("Home")
        assert tab.evaluate(said).endswith("; final")
        assert tab.text("#legend") == tab.evaluate(said)
        tab.page.keyboard.press("End")
        assert tab.evaluate(said) == newest
        for key in ("+", "-", "PageUp", "PageDown"):
            tab.page.keyboard.press(key)
        tab.page.keyboard.press("Space")
        assert tab.text("#pause") == "Resume"
        tab.page.keyboard.press("Space")
        tab.page.keyboard.press("Escape")
        tab.until("document.querySelector('#legend').textContent.startsWith('2024-08-09 00:03:59')")


def test_elements_have_roles_and_names(lively: Stand, browser: Browser) -> None:
    """What a screen reader finds: the chart, the table with its head, states that are said, a log."""
    with browser.tab(f"{lively.http}/{ADDRESS}") as tab:
        ready(tab)
        page = tab.page
        assert page.get_by_role("application", name="ETHUSDT at sim-binance, 1s").count() == 1
        assert page.get_by_role("columnheader").count() == 9
        assert page.get_by_role("rowheader").count() == 20
        assert page.get_by_role("status").count() == 2
        assert page.get_by_role("log").count() == 1
        for name in ("Symbol", "Interval", "Colours"):
            assert page.get_by_role("combobox", name=name).count() == 1
        unnamed = "[...document.querySelectorAll('button, a, select')].filter((one) => !one.textContent.trim()).length"
        assert tab.evaluate(unnamed) == 0


def test_nothing_is_told_by_colour_alone(lively: Stand, browser: Browser) -> None:
    """Each state has a sign and a word besides: in the table, in the prices, in the parts."""
    with browser.tab(f"{lively.http}/{ADDRESS}") as tab:
        ready(tab)
        rows = tab.evaluate("[...document.querySelectorAll('#rows tr')].map((row) => row.innerText)")
        assert all("▲ up" in row or "▼ down" in row for row in rows)
        assert any("provisional" in row for row in rows)
        assert any("final" in row for row in rows)
        assert tab.text("#feed")[0] in "✔…!"
        stale = tab.page.locator("#prices li.stale").first.inner_text()
        assert "stale" in stale


def test_it_is_calm_for_who_wants_that(lively: Stand, browser: Browser) -> None:
    """With reduced motion it draws once a second at most, and nothing is animated."""
    with browser.tab(f"{lively.http}/{ADDRESS}", reduced_motion="reduce") as tab:
        ready(tab)
        changes = tab.evaluate(
            """new Promise((done) => {
              let changes = 0;
              const seen = new MutationObserver(() => { changes += 1; });
              seen.observe(document.querySelector('main'), { subtree: true, childList: true, characterData: true });
              setTimeout(() => { seen.disconnect(); done(changes); }, 3000);
            })"""
        )
        assert changes <= 4
        assert tab.evaluate("document.getAnimations().length") == 0
