"""How the past and the stream become one, in the browser: whatever comes first, and whatever happens meanwhile.

The answers of `/bars` are given by the test, which so decides when they come.
"""

from __future__ import annotations

from typing import Any

from tests.serve.page.browser import Tab
from tests.serve.page.modules import bar, run

SCENE = """
    const waiting = [];
    const fetched = globalThis.fetch;
    globalThis.fetch = (url) => new Promise((resolve) => waiting.push({ url: String(url), resolve }));
    const turn = () => new Promise((done) => setTimeout(done, 0));
    const until = async (condition) => { while (!condition()) await turn(); };
    const answer = async (bars, more) => {
      await until(() => waiting.length);
      const { url, resolve } = waiting.shift();
      resolve(new Response(JSON.stringify({ bars }), { headers: more ? { Link: 'x' } : {} }));
      asked.push(url);
      for (let times = 0; times < 20; times += 1) await turn();
    };
    const asked = [];
    const events = [];
    const note = (text) => events.push(text);
    const listener = { onChange() {}, onEvent: note, onWait() {}, onFail: note };
    const chosen = { exchange: 'sim-binance', symbol: 'BTCUSDT', interval: '1s' };
    const session = new m.Session(chosen, listener);
    const told = (bars, end, more = {}) => session.take({ bars, end, runs: true, begins: false, reread: '', ...more });
    const shown = () => session.bars.all.map((bar) => [bar.timestamp / 1000, bar.final, bar.revision]);
    const seen = [];
    try {
      BODY
    } finally {
      globalThis.fetch = fetched;
    }
    return { seen, asked, events, shown: shown() };
"""


def play(tab: Tab, body: str, **bars: Any) -> Any:
    """What a scene ends with. Its bars are `x`'s."""
    return run(tab, "session", SCENE.replace("BODY", body), bars)


def test_the_past_is_asked_for_after_the_stream_has_begun(bare: Tab) -> None:
    """So nothing is between them: what is final in the answer may be told once more."""
    found = play(
        bare,
        """
        seen.push(waiting.length);
        told([x.running], 3000, { begins: true });
        await answer([x.one, x.two, x.three], true);
        told([x.three], 4000);
        """,
        **{"one": bar(1), "two": bar(2), "three": bar(3), "running": bar(3, final=False)},
    )
    assert found["seen"] == [0]
    assert found["asked"] == ["/bars/BTCUSDT?exchange=sim-binance&interval=1s&limit=1000"]
    assert found["shown"] == [[1, True, 0], [2, True, 0], [3, True, 0]]
    assert found["events"] == []


def test_a_connection_that_begins_anew_before_the_past_is_there_reads_it_again(bare: Tab) -> None:
    """The first answer may be of before; the second is not."""
    found = play(
        bare,
        """
        told([], 3000, { begins: true });
        told([], 5000, { begins: true });
        await answer([x.one, x.two], false);
        await answer([x.one, x.two, x.three, x.four], false);
        """,
        **{"one": bar(1), "two": bar(2), "three": bar(3), "four": bar(4)},
    )
    assert [times for times, _, _ in found["shown"]] == [1, 2, 3, 4]
    assert "from=1000" in found["asked"][1]


def test_bars_older_than_those_that_are_loaded_are_left_to_the_past(bare: Tab) -> None:
    """An amendment of one would leave a hole behind it; on the page that is loaded meanwhile it counts."""
    found = play(
        bare,
        """
        told([], 9000, { begins: true });
        await answer([x.seven, x.eight], true);
        told([x.amended], 9000);
        seen.push(shown().length);
        session.past();
        await until(() => waiting.length);
        told([x.amended, x.ancient], 9000);
        await answer([x.five, x.six], true);
        """,
        **{"seven": bar(7), "eight": bar(8), "five": bar(5), "six": bar(6)},
        amended=bar(6, revision=1),
        ancient=bar(2, revision=1),
    )
    assert found["seen"] == [2]
    assert found["asked"][1].endswith("limit=1000&to=6999")
    assert found["shown"] == [[5, True, 0], [6, True, 1], [7, True, 0], [8, True, 0]]


def test_provisional_bars_stay_while_everything_is_read_anew(bare: Tab) -> None:
    """Though their time is over: the final ones that take their place are on their way. That is said once."""
    found = play(
        bare,
        """
        told([x.running], 2000, { begins: true });
        await answer([x.one], false);
        told([], 4000, { reread: 'much has changed' });
        told([], 4000, { reread: 'the table is another one' });
        told([], 5000);
        seen.push(shown());
        await answer([x.one, x.two], false);
        await answer([x.one, x.two], false);
        """,
        **{"one": bar(1), "two": bar(2), "running": bar(2, final=False)},
    )
    assert found["seen"] == [[[1, True, 0], [2, False, 0]]]
    assert found["shown"] == [[1, True, 0], [2, True, 0]]
    assert found["events"] == ["Reading all bars anew: much has changed"]


def test_a_table_without_the_bars_that_were_shown_takes_them_away(bare: Tab) -> None:
    """What it has instead is read, as at the beginning."""
    found = play(
        bare,
        """
        told([], 9000, { begins: true });
        await answer([x.seven], false);
        told([], 3000, { reread: 'the table is another one' });
        await answer([], false);
        await answer([x.one], false);
        """,
        **{"one": bar(1), "seven": bar(7)},
    )
    assert found["shown"] == [[1, True, 0]]


def test_gaps_and_amendments_are_told_when_they_come_and_not_of_the_past(bare: Tab) -> None:
    """With how many trades are missing."""
    found = play(
        bare,
        """
        told([], 3000, { begins: true });
        await answer([x.zero, x.two], false);
        told([x.five, x.amended], 6000);
        told([x.seven], 8000);
        """,
        **{
            "zero": bar(0),
            "two": bar(2),
            "five": bar(5),
            "seven": bar(7, first_trade_id=61),
            "amended": bar(2, revision=1),
        },
    )
    assert found["events"] == ["Gap: 20 trades missing", "Amended, revision 1", "Gap: 1 trade missing"]
