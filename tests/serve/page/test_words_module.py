"""What the page says and draws of bars, states and times, in the browser. Pure functions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.page.browser import Tab
from tests.serve.page.modules import bar, run


def test_trade_ids_tell_a_gap_from_quiet(bare: Tab) -> None:
    """Of a bar that still changes neither is said."""
    flags = "return m.flagsOf(x.bar, x.before, 1000)"
    after = {"first_trade_id": 20, "last_trade_id": 29}
    quiet = run(bare, "marks", flags, {"before": bar(1), "bar": bar(4, **after)})
    assert (quiet["quiet"], quiet["gap"]) == (2, 0)
    gap = run(bare, "marks", flags, {"before": bar(1), "bar": bar(4)})
    assert (gap["quiet"], gap["gap"]) == (0, 20)
    running = run(bare, "marks", flags, {"before": bar(1), "bar": bar(4, final=False, missing_trades=3)})
    assert (running["gap"], running["missing"], running["provisional"]) == (0, 0, True)
    first = run(bare, "marks", flags, {"before": None, "bar": bar(4)})
    assert (first["gap"], first["quiet"]) == (0, 0)


def test_a_bar_can_be_said(bare: Tab) -> None:
    """With everything that the chart shows of it."""
    sentence = "return m.sentenceOf(x.bar, x.before, 1000)"
    amended = bar(4, revision=1, missing_trades=1, close="9.5", trade_count=1_234)
    assert run(bare, "marks", sentence, {"before": bar(1), "bar": amended}) == (
        "1970-01-01 00:00:04 UTC, down: open 10.00, high 12, low 9, close 9.5; volume 1.5, 1,234 trades; "
        "gap: 20 trades missing before it; 1 trade missing in it; amended, revision 1; final"
    )


def test_points_go_on_evenly_with_empty_ones_for_absent_intervals(bare: Tab) -> None:
    """Up to a number of them; a provisional bar is hollow, a final one solid."""
    colors = {"up": "u", "upBody": "U", "down": "d", "downBody": "D", "provisional": "p"}
    given = {"bars": [bar(1), bar(4, close="9"), bar(5, final=False)], "colors": colors}
    found = run(bare, "drawing", "return m.points(x.bars, 1000, x.colors)", given)
    assert [point["time"] for point in found["candles"]] == [1, 2, 3, 4, 5]
    assert [point.get("color") for point in found["candles"]] == ["U", None, None, "D", "rgba(0, 0, 0, 0)"]
    assert [point.get("borderColor") for point in found["candles"]] == ["u", None, None, "d", "p"]
    assert [point.get("value") for point in found["volumes"]] == [1.5, None, None, 1.5, 1.5]
    long = run(bare, "drawing", "return m.points(x.bars, 1000, x.colors)", given | {"bars": [bar(1), bar(9_999)]})
    assert len(long["candles"]) == 302


def test_marks_differ_by_shape_and_text(bare: Tab) -> None:
    """Not by colour alone. Texts that would lie on each other are left out; the shape stays."""
    bars = [bar(1), bar(2, revision=2), bar(20, revision=2), bar(23, missing_trades=2), bar(24, missing_trades=2)]
    bars += [bar(25, final=False), bar(26, final=False, low="8")]
    found = run(bare, "drawing", "return m.marks(x, 1000, {})", bars)
    assert [(one["time"], one["shape"], one.get("text")) for one in found] == [
        (2, "square", "amended"),
        (20, "arrowDown", "170 missing"),
        (20, "square", None),
        (23, "arrowDown", None),
        (24, "arrowDown", None),
        (25, "circle", None),
        (26, "circle", None),
    ]
    assert [one["price"] for one in found[-2:]] == [8, 8]
    apart = [bar(1), bar(2, revision=1), bar(3), bar(4, missing_trades=1), bar(5)]
    found = run(bare, "drawing", "return m.marks(x, 1000, {})", apart)
    assert [one.get("text") for one in found] == [None, "1 missing"]


def test_the_table_has_the_newest_bars_first(bare: Tab) -> None:
    """As exact text, to the same decimals, with a sign and a word for the way, and what is to be remarked."""
    rows = run(bare, "table", "return m.rowsOf(x, 1000, 2)", [bar(1), bar(2), bar(3, final=False)])
    assert [row["cells"][0] for row in rows] == ["00:00:03", "00:00:02"]
    assert rows[0]["cells"][1:] == ["▲ up", "10.00", "12.00", "9.00", "11.00", "1.5", "10", "provisional"]
    assert rows[1]["cells"][-1] == "final"


# How the parts are


def samples(*pairs: tuple[int, int]) -> list[dict[str, int]]:
    """When it was, and up to when the table was final, both in seconds."""
    return [{"now": 1_000 * now, "end": 1_000 * end} for now, end in pairs]


@pytest.mark.parametrize(
    ("given", "state", "left"),
    [
        (samples((100, 97)), "live", None),
        (samples((100, 40), (101, 41)), "behind", None),
        (samples((100, 40), (108, 40)), "standing", None),
        (samples((100, 40), (108, 48)), "behind", None),
        (samples((100, 40), (110, 70)), "catching up", 20_000),
        ([{"now": 1, "end": None}], "none", None),
        ([], "none", None),
    ],
)
def test_it_is_seen_whether_the_table_catches_up(bare: Tab, given: Any, state: str, left: int | None) -> None:
    """By how much further it has come in the last seconds."""
    found = run(bare, "parts", "return m.recovery(x, 15000)", given)
    assert (found["state"], found["left"]) == (state, left)


def test_samples_of_another_table_do_not_count(bare: Tab) -> None:
    """Nor old ones."""
    sampled = "return x.reduce((kept, [now, end]) => m.sampled(kept, now, end), [])"
    assert len(run(bare, "parts", sampled, [[1_000, 500], [2_000, 1_500], [3_000, 100]])) == 1
    found = run(bare, "parts", sampled, [[1_000 * second, second] for second in range(30)])
    assert [found[0]["now"], found[-1]["now"]] == [19_000, 29_000]


def test_states_are_said_plainly(bare: Tab) -> None:
    """What is away, what is old, how far behind."""
    told = {"problem": "", "newest": 100_000, "now": 100_300, "rate": 512.5, "here": None, "staleAfter": 15_000}
    feed = "return m.feedSentence(x)"
    assert run(bare, "parts", feed, told) == "Prices live: last trade 0.3 s ago, 513 trades/s"
    assert run(bare, "parts", feed, told | {"here": 40}).endswith(", 513 trades/s, 40 of them here")
    assert run(bare, "parts", feed, told | {"problem": None}) == "Prices: not known yet"
    assert run(bare, "parts", feed, told | {"now": 123_000}) == "Prices stale: the last trade is 23 s old"
    assert run(bare, "parts", feed, told | {"problem": "no answer."}).startswith("Prices away: no answer. F")
    table = "return m.tableSentence(x, '')"
    assert run(bare, "parts", table, {"state": "live", "behind": 3_200}) == "Table live: bars are final up to 3.2 s ago"
    assert run(bare, "parts", table, {"state": "catching up", "behind": 200_000, "left": 12_000}) == (
        "Table catching up: 3 min 20 s behind, about 12 s to go"
    )
    assert "jobs/ohlcv.py" in run(bare, "parts", table, {"state": "standing", "behind": 60_000})


# Words, keys, addresses, waiting


def test_numbers_and_times_are_written_the_same_everywhere(bare: Tab) -> None:
    """In UTC."""
    body = "return [m.barTime(x, 1000), m.barTime(x, 60000), m.barTime(x, 86400000), m.clock(x)]"
    assert run(bare, "format", body, 1_723_161_661_000) == [
        "2024-08-09 00:01:01",
        "2024-08-09 00:01",
        "2024-08-09",
        "00:01:01",
    ]
    times = [0, 950, 9_960, 119_000, 200_000, 8_000_000, 200_000_000]
    durations = run(bare, "format", "return x.map(m.duration)", times)
    assert durations == ["0.0 s", "0.9 s", "10 s", "119 s", "3 min 20 s", "2 h 13 min", "2 d 7 h"]
    counts = run(bare, "format", "return x.map(m.count)", [0, 1_234_567, 12.34, 1_234.5])
    assert counts == ["0", "1,234,567", "12.3", "1,235"]
    assert run(bare, "format", "return x.map(m.decimals)", ["1", "1.50", "0.00001"]) == [0, 2, 5]
    assert run(bare, "format", "return x.map(m.widthOf)", ["1s", "15m", "12h", "1d"]) == [
        1_000,
        900_000,
        43_200_000,
        86_400_000,
    ]


def test_keys_move_through_the_bars(bare: Tab) -> None:
    """And not beyond them; keys of the browser are left to it."""
    moves = [[-1, -1, 5], [4, 1, 5], [0, -1, 5], [3, -20, 5], [-1, 1, 0]]
    assert run(bare, "keys", "return x.map((given) => m.moved(...given))", moves) == [4, 4, 0, 0, -1]
    action = "return m.actionOf(x)"
    assert run(bare, "keys", action, {"key": "ArrowLeft"}) == {"move": -1}
    assert run(bare, "keys", action, {"key": "ArrowLeft", "altKey": True}) is None
    assert run(bare, "keys", action, {"key": "Tab"}) is None


def test_a_price_has_no_zeros_that_tell_nothing(bare: Tab) -> None:
    """Two decimals stay, as in the chart; what is no zero stays always."""
    given = ["66398.85000000", "120.0", "42086", "0.00001010", "100.00000000"]
    shown = ["66398.85", "120.00", "42086.00", "0.0000101", "100.00"]
    assert run(bare, "format", "return x.map(m.priced)", given) == shown


def test_the_address_says_what_is_shown(bare: Tab) -> None:
    """There and back; nonsense is nothing."""
    chosen = {"exchange": "sim-binance", "symbol": "BTCUSDT", "interval": "1m"}
    assert run(bare, "address", "return m.written(x)", chosen) == "#sim-binance:BTCUSDT:1m"
    read = "return m.read(x, ['1s', '1m'])"
    assert run(bare, "address", read, "#sim-binance:BTCUSDT:1m") == chosen
    for hash_ in ("", "#x", "#sim-binance:BTCUSDT:9m", "#sim-binance:../../x:1m"):
        assert run(bare, "address", read, hash_) is None


def test_attempts_to_connect_wait_longer_and_longer(bare: Tab) -> None:
    """Up to a bound, and not all at once."""
    given = [[0, 0], [0, 1], [3, 1], [99, 1]]
    pauses = run(bare, "stream", "return x.map((given) => m.pause(...given))", given)
    assert pauses == [250, 500, 4_000, 15_000]


def test_the_past_is_asked_for_again_where_that_helps(bare: Tab) -> None:
    """After as long as the service says, within a bound; after a defect later; never where the question is wrong."""
    wait = "return x.map((given) => m.wait(...given))"
    given = [[503, "1"], [429, "7"], [503, None], [503, "1000"], [400, "1"], [500, None]]
    assert run(bare, "past", wait, given) == [1_000, 7_000, 1_000, 30_000, None, 10_000]
