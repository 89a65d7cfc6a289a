"""The bars that the page keeps, in the browser: what is taken, and what is not."""

from __future__ import annotations

from typing import Any

from tests.serve.page.browser import Tab
from tests.serve.page.modules import bar, run

STEPS = """
    const bars = new m.Bars(1000, x.most);
    const seen = [];
    for (const [name, ...given] of x.steps) {
      if (name === 'mark') seen.push(bars.mark());
      else if (name === 'changes') seen.push(bars.changes());
      else seen.push(bars[name](...given));
    }
    return { seen, all: bars.all };
"""


def kept(bare: Tab, *steps: Any, most: int = 100) -> Any:
    """What bars say to each step, and what they are in the end."""
    return run(bare, "bars", STEPS, {"steps": steps, "most": most})


def times(found: Any) -> list[int]:
    return [one["timestamp"] // 1_000 for one in found]


def test_bars_are_in_the_order_of_time_each_once(bare: Tab) -> None:
    """However they come."""
    found = kept(bare, ["put", [bar(3), bar(1)]], ["put", [bar(2), bar(3)]])
    assert times(found["all"]) == [1, 2, 3]


def test_a_final_bar_takes_the_place_of_a_provisional_one_and_not_the_other_way(bare: Tab) -> None:
    """And is told as new, once."""
    running = bar(1, final=False, close="10.5")
    found = kept(bare, ["put", [running]], ["put", [bar(1)]], ["put", [running]], ["put", [bar(1)]])
    assert [(one["close"], one["final"]) for one in found["all"]] == [("11", True)]
    assert [times(news["added"]) for news in found["seen"]] == [[], [1], [], []]
    assert [news["amended"] for news in found["seen"]] == [[], [], [], []]


def test_an_amended_bar_is_told_as_such(bare: Tab) -> None:
    """One whose revision was 1 before is too: of a wider bar, another part may be amended."""
    found = kept(bare, ["put", [bar(1)]], ["put", [bar(1, revision=1)]], ["put", [bar(1, revision=1, volume="2")]])
    assert [times(news["amended"]) for news in found["seen"]] == [[], [1], [1]]


def test_an_answer_that_was_asked_for_earlier_does_not_undo_what_was_told_meanwhile(bare: Tab) -> None:
    """The past is asked for, the stream amends a bar, the answer comes."""
    found = kept(bare, ["mark"], ["put", [bar(2, revision=1)]], ["put", [bar(1), bar(2)], 1])
    assert [(one["timestamp"], one["revision"]) for one in found["all"]] == [(1_000, 0), (2_000, 1)]


def test_an_interval_that_is_over_without_a_final_bar_has_none(bare: Tab) -> None:
    """Its provisional one goes; those behind it stay."""
    found = kept(bare, ["put", [bar(1), bar(2, final=False), bar(3, final=False)]], ["settle", 3_000])
    assert times(found["all"]) == [1, 3]


def test_what_is_read_anew_takes_the_place_of_all_that_was_there_before(bare: Tab) -> None:
    """What is not in it goes, unless it was told after it was asked for; bars outside of its time stay."""
    found = kept(
        bare,
        ["put", [bar(1), bar(2), bar(3), bar(5, final=False)]],
        ["mark"],
        ["put", [bar(4)]],
        ["replace", [bar(2, volume="7")], 2_000, 9_000, 2],
    )
    assert times(found["all"]) == [1, 2, 4, 5]
    assert found["all"][1]["volume"] == "7"


def test_the_oldest_bars_go_where_there_are_too_many(bare: Tab) -> None:
    """Some at a time."""
    found = kept(bare, ["put", [bar(one) for one in range(11)]], ["trim"], ["put", [bar(11)]], ["trim"], most=10)
    assert found["seen"][1] is False
    assert found["seen"][3] is True
    assert times(found["all"]) == list(range(2, 12))


def test_only_what_has_changed_is_drawn(bare: Tab) -> None:
    """New bars at the end and changed ones by their times; else everything."""
    found = kept(
        bare,
        ["put", [bar(1), bar(3)]],
        ["changes"],
        ["put", [bar(3), bar(4, final=False), bar(5, final=False)]],
        ["changes"],
        ["put", [bar(4)]],
        ["changes"],
        ["put", [bar(2)]],
        ["changes"],
        ["changes"],
    )
    assert [found["seen"][at]["rebuilt"] for at in (1, 3, 5, 7, 8)] == [True, False, False, True, False]
    assert [found["seen"][at]["times"] for at in (3, 5, 8)] == [[4_000, 5_000], [4_000], []]
