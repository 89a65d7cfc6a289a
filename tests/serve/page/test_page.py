"""The page in a real Chromium: what it shows is what the service has, whatever happens meanwhile."""

from __future__ import annotations

import json
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.redis_servers import OwnRedis
from tests.serve.binance.made import START_MS, trade, trades_at
from tests.serve.binance.stand import Stand
from tests.serve.page.browser import Browser, Tab
from tests.serve.page.line import line

SECONDS = "#sim-binance:BTCUSDT:1s"
OFFLINE = "net::ERR_"
"""What the browser itself says to its console when the service cannot be reached."""
THREE_STATES = """new Promise((done) => {
  let count = 0;
  const source = new EventSource('/page/stream');
  source.addEventListener('state', () => { if (++count === 3) { source.close(); done(); } });
})"""
"""Waits until pages were told three times how the service is, and would have drawn that."""


def shown(tab: Tab) -> list[tuple[int, bool]]:
    """Which seconds the page shows, and which of them as final."""
    return [((bar["timestamp"] - START_MS) // 1_000, bar["final"]) for bar in tab.bars()]


def table_of(tab: Tab) -> list[list[str]]:
    """The table's rows, newest first."""
    cells = "[...row.cells].map((cell) => cell.textContent)"
    found: list[list[str]] = tab.evaluate(f"[...document.querySelectorAll('#rows tr')].map((row) => {cells})")
    return found


def happened(tab: Tab) -> str:
    """The list of what has happened, newest first."""
    return tab.text("#events")


def bars_of(stand: Stand, asked: str = "interval=1s&limit=5000") -> list[dict[str, Any]]:
    """What `/bars` has."""
    with urllib.request.urlopen(f"{stand.http}/bars/BTCUSDT?{asked}", timeout=15) as answer:
        found: list[dict[str, Any]] = json.load(answer)["bars"]
        return found


def equals(tab: Tab, stand: Stand) -> bool:
    """Whether the final bars that are shown are those of the service, in every field."""
    names = ("timestamp", "open", "high", "low", "close", "volume", "trade_count", "revision", "first_trade_id")
    ours = [[bar[name] for name in names] for bar in tab.bars() if bar["final"]]
    return ours == [[bar[name] for name in names] for bar in bars_of(stand)]


def open_trades(stand: Stand) -> list[Any]:
    """Those that the table has not."""
    return [one for one in stand.trades if one.timestamp >= START_MS + 10_000]


def test_candles_move(served: Stand, browser: Browser) -> None:
    """Final bars of the table and provisional ones of the trades; these become final, and new ones come."""
    with browser.tab(f"{served.http}/{SECONDS}") as tab:
        tab.until_shown(10, final=7)
        assert shown(tab) == [(second, second < 9) for second in (0, 1, 2, 5, 6, 7, 8, 10, 11, 12)]
        assert equals(tab, served)
        assert tab.text("#title") == "BTCUSDT at sim-binance, 1s"
        tab.until("document.querySelectorAll('#rows tr').length === 10")
        newest = table_of(tab)[0]
        assert (newest[0], newest[-1]) == ("00:00:12", "provisional")
        assert tab.evaluate("document.querySelectorAll('#chart canvas').length > 0")
        served.told([trade(21, START_MS + 13_100)])
        tab.until_shown(11, final=7)
        served.finished(open_trades(served))
        tab.until_shown(11, final=11)
        assert equals(tab, served)
        tab.until("document.querySelector('#rows tr td:last-child').textContent.includes('final')")


def test_without_an_address_the_first_symbol_is_shown(served: Stand, browser: Browser) -> None:
    """And stands in the address from then on; prices of all symbols are listed, and show theirs at a click."""
    served.told([trade(1, START_MS + 12_000, key=("sim-coinbase", "ETHUSD"))])
    with browser.tab(f"{served.http}/") as tab:
        tab.forgiven.append("404")  # ETHUSD has a price and no bar yet
        tab.until_shown(10)
        tab.until("document.querySelectorAll('#prices li').length === 2")
        assert tab.evaluate("location.hash") == SECONDS
        first, second = tab.page.locator("#prices button").all()
        tab.until("document.querySelector('#prices .price').textContent === '120.00'")
        assert first.get_attribute("aria-current") == "true"
        second.click()
        tab.until("location.hash === '#sim-coinbase:ETHUSD:1s' && liveBars.session.loaded")
        tab.page.locator("#interval").select_option("1m")
        tab.until("location.hash === '#sim-coinbase:ETHUSD:1m'")
        assert tab.text("#title") == "ETHUSD at sim-coinbase, 1m"


def test_amended_bars_and_gaps_are_said_plainly(served: Stand, browser: Browser) -> None:
    """In the table and in what has happened, with the number of trades that are missing."""
    with browser.tab(f"{served.http}/{SECONDS}") as tab:
        tab.until_shown(10, final=7)
        served.finished([trade(7, START_MS + 5_100), trade(8, START_MS + 5_400)], revision=1)
        tab.until("liveBars.bars.some((bar) => bar.revision === 1)")
        tab.until("document.querySelector('#events').textContent.includes('Amended, revision 1')")
        served.finished([*open_trades(served), trade(31, START_MS + 13_500)])
        tab.until("document.querySelector('#events').textContent.includes('10 trades missing')")
        tab.until("document.querySelector('#rows tr').textContent.includes('10 trades missing before it')")
        amended = next(row for row in table_of(tab) if row[0] == "00:00:05")
        assert "amended, revision 1" in amended[-1]
        assert equals(tab, served)


@pytest.mark.parametrize("is_paused", [False, True])
def test_scrolling_back_loads_the_past(stand: Stand, browser: Browser, is_paused: bool) -> None:
    """Page by page, by the keyboard alone, until there is no more; the newest stay. A pause holds the present alone."""
    first_ms = START_MS - 3_600_000
    stand.finished(trades_at([first_ms + 1_000 * second for second in range(3_000)], first_id=10_001))
    with stand.serving(), browser.tab(f"{stand.http}/{SECONDS}") as tab:
        tab.until_shown(1_003, final=1_000)
        tab.until("document.querySelectorAll('#rows tr').length === 20")
        tab.page.locator("#chart").focus()
        if is_paused:
            tab.page.keyboard.press("Space")
        for count in (2_003, 3_003, 3_010):
            tab.page.keyboard.press("Home")
            tab.until_shown(count)
        assert equals(tab, stand)
        assert tab.evaluate("liveBars.session.more") is False


def test_it_comes_back_by_itself_and_loses_nothing(stand: Stand, browser: Browser) -> None:
    """The service is started anew: what was shown stays meanwhile, and then everything is there that has come."""
    with ExitStack() as longer:
        with stand.serving():
            tab = longer.enter_context(browser.tab(f"{stand.http}/{SECONDS}"))
            tab.forgiven.append(OFFLINE)
            tab.until_shown(10, final=7)
            before = tab.bars()
        tab.until("document.querySelector('#connection').textContent.startsWith('Connection lost at')")
        tab.picture("page-connection-lost")
        assert [bar["close"] for bar in tab.bars()] == [bar["close"] for bar in before]
        stand.finished(open_trades(stand))
        stand.finished([trade(7, START_MS + 5_100), trade(8, START_MS + 5_400)], revision=1)
        with stand.serving():
            tab.until_shown(10, final=10)
            tab.until("liveBars.bars.some((bar) => bar.revision === 1)")
            assert equals(tab, stand)
            tab.until("document.querySelector('#connection').textContent === 'Connected'")
            assert "Connected again" in happened(tab)
            assert "Reading all bars anew" in happened(tab)


@pytest.mark.parametrize("loss", ["cut", "silence"])
def test_after_a_loss_of_the_network_it_goes_on_where_it_was(served: Stand, browser: Browser, loss: str) -> None:
    """Without reading everything anew: it is told what it has missed, amendments too. Also where nothing says that
    the connection is lost, but that nothing comes any more."""
    with line(served.port) as network, browser.tab(f"{network.http}/{SECONDS}") as tab:
        tab.forgiven.append(OFFLINE)
        tab.until_shown(10, final=7)
        getattr(network, loss)()
        tab.until("document.querySelector('#connection').textContent.startsWith('Connection lost at')")
        served.finished(open_trades(served))
        served.finished([trade(7, START_MS + 5_100), trade(8, START_MS + 5_400)], revision=1)
        assert [second for second, final in shown(tab) if final] == [0, 1, 2, 5, 6, 7, 8]
        network.mend()
        tab.until_shown(10, final=10)
        tab.until("liveBars.bars.some((bar) => bar.revision === 1)")
        assert equals(tab, served)
        assert "anew" not in happened(tab)


def test_a_table_that_was_replaced_replaces_the_bars(served: Stand, browser: Browser) -> None:
    """What is shown then is of the new one alone, and that is said."""
    with browser.tab(f"{served.http}/{SECONDS}") as tab:
        tab.forgiven.append("503")  # while there is no table, the past cannot be read
        tab.until_shown(10, final=7)
        served.table.replace()
        served.finished(trades_at([START_MS + 20_100], first_id=50))
        tab.until_shown(1, final=1)
        assert shown(tab) == [(20, True)]
        assert "Reading all bars anew" in happened(tab)


def test_without_redis_the_bars_stay_and_it_is_said(served: Stand, browser: Browser) -> None:
    """Final ones go on; provisional ones stay until they are final."""
    with browser.tab(f"{served.http}/{SECONDS}") as tab:
        tab.until_shown(10, final=7)
        served.redis.kill()
        tab.until("document.querySelector('#feed').textContent.includes('Prices away: Redis at')")
        tab.until("document.querySelector('#running').textContent.includes('No new provisional bars')")
        tab.picture("page-redis-away")
        assert len(shown(tab)) == 10
        served.finished(open_trades(served))
        tab.until_shown(10, final=10)
        served.redis.start()
        tab.until("!document.querySelector('#feed').textContent.includes('away')")


def test_what_is_old_is_called_stale(served: Stand, browser: Browser) -> None:
    """Prices and the table, with how old they are."""
    with browser.tab(f"{served.http}/{SECONDS}") as tab:
        tab.until("document.querySelector('#feed').textContent.startsWith('✔ Prices live')")
        tab.until("document.querySelector('#table-state').textContent.startsWith('✔ Table live')")
        served.stop_clock(START_MS + 60_000)
        tab.until("/^! Prices stale: the last trade is \\d+ s old/.test(document.querySelector('#feed').textContent)")
        tab.until("/Table .*\\d+ s behind/.test(document.querySelector('#table-state').textContent)")
        tab.until("/^stale \\d+ s/.test(document.querySelector('#prices .age').textContent)")
        tab.picture("page-stale")


def test_a_pause_holds_everything_still(served: Stand, browser: Browser) -> None:
    """And nothing is lost: what comes is shown afterwards."""
    with browser.tab(f"{served.http}/{SECONDS}") as tab:
        tab.until_shown(10, final=7)
        tab.until("document.querySelectorAll('#rows tr').length === 10")
        tab.page.get_by_role("button", name="Pause").click()
        before = tab.text("main")
        served.told([trade(21, START_MS + 13_100)])
        served.finished([*open_trades(served), trade(31, START_MS + 14_500)])
        tab.until("liveBars.bars.length === 12")
        tab.evaluate(THREE_STATES)
        assert tab.text("main") == before
        assert tab.text("#waiting") == "Paused: what comes is kept"
        tab.page.get_by_role("button", name="Resume").click()
        tab.until("document.querySelectorAll('#rows tr').length === 12")
        assert "Gap" in happened(tab)


def test_without_the_chart_library_the_rest_works(served: Stand, browser: Browser) -> None:
    """The table has the bars, and it is said what is missing."""
    with browser.tab(f"{served.http}/{SECONDS}", without="lightweight-charts.js") as tab:
        tab.forgiven.append(OFFLINE)
        tab.until("document.querySelectorAll('#rows tr').length === 10")
        assert "The chart library is missing" in happened(tab)


def test_with_an_api_key_the_browser_asks_for_it(tmp_path: Path, redis: OwnRedis, browser: Browser) -> None:
    """As a password: scripts, the past and the stream come with it; without it nothing is told."""
    stand = Stand(tmp_path, redis, serve_api_key="a-key-that-nobody-guesses")
    stand.finished(trades_at([START_MS + 100]))
    stand.stop_clock(START_MS + 2_000)
    with stand.serving():
        key = {"username": "", "password": "a-key-that-nobody-guesses"}
        with browser.tab(f"{stand.http}/{SECONDS}", http_credentials=key) as tab:
            tab.until_shown(1, final=1)
            tab.until("document.querySelector('#connection').textContent === 'Connected'")
        status, _, told = stand.get("/page/stream")
        assert (status, "API key" in told["error"]) == (401, True)
