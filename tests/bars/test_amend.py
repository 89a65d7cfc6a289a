"""What the amend query does with each batch, on tables and checkpoints written down by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from bars import amend
from bars.amend import AmendError
from bars.late import Tally
from bars.recovery.identity import checkpoint_of
from bars.tables import TRADES
from market.bar import Bar, bars_of, current
from market.trade import CONFLICT, Trade
from tests.bars.scene import START_MS, Scene

pytestmark = pytest.mark.spark


@pytest.fixture
def scene(spark: SparkSession, tmp_path: Path) -> Scene:
    return Scene(spark, tmp_path)


def trade(number: int, time_ms: int, symbol: str = "BTCUSDT", **fields: Any) -> Trade:
    """A trade of that id, so many ms after the start."""
    return Trade(
        "binance", symbol, f"{100 + number % 7}", f"0.{number + 1:08}", START_MS + time_ms, number, False
    )._replace(**fields)


def plain(bars: Iterable[Bar]) -> list[Bar]:
    """The bars that count, without their revisions."""
    return [replace(bar, revision=0) for bar in current(bars)]


IN_TIME = [trade(number, 100 * number) for number in range(1, 40)]
"""Four seconds of trades."""
LATE = [trade(100, 150), trade(101, 1_150), trade(102, 50, "ETHUSDT")]
"""Three seconds that batch 0 has closed: two with a bar, one without."""
OPEN = trade(103, 3_500)


def closed(scene: Scene) -> DataFrame:
    """The bars query has closed three seconds in batch 1, and then read the late trades. The batch of new rows."""
    scene.archived(IN_TIME)
    scene.barred([one for one in IN_TIME if one.timestamp < START_MS + 3_000])
    scene.finished("bars", 0, 0, 39)
    scene.finished("bars", 1, START_MS + 3_000, 39)
    scene.finished("bars", 2, START_MS + 3_000, 43)
    scene.finished("archive", 0, 0, 43)
    return scene.archived([*LATE, OPEN], first=39)


def test_late_trades_end_in_further_revisions(scene: Scene) -> None:
    """A bar gets a second row, a second without a bar its first, revision 1 both; the open second gets nothing."""
    batch, amender = closed(scene), scene.amender()
    amender.write(batch, 0)
    everything = bars_of([*IN_TIME, *LATE])
    assert plain(scene.rows()) == [bar for bar in everything if bar.timestamp < START_MS + 3_000]
    revised = [(bar.symbol, bar.timestamp - START_MS) for bar in scene.rows() if bar.revision == 1]
    assert revised == [("BTCUSDT", 0), ("BTCUSDT", 1_000), ("ETHUSDT", 0)]
    assert len(scene.rows()) == 3 + 3
    assert amender.tally == Tally(trades=3, latest_ms=2_000, amended=3, equal=0, refused=0)


@pytest.mark.long
def test_the_same_batch_again_appends_nothing(scene: Scene) -> None:
    """After a crash at any point behind the write, the batch is repeated and leaves the table as it is."""
    batch = closed(scene)
    scene.amender().write(batch, 0)
    before = scene.rows()
    again = scene.amender()
    again.write(batch, 0)
    assert scene.rows() == before
    assert (again.tally.amended, again.tally.equal) == (0, 3)


@pytest.mark.long
def test_a_batch_that_is_in_the_table_is_not_written_twice(scene: Scene) -> None:
    """Where more has come for its seconds since, the repeated batch leaves that to the batch that brought it."""
    batch = closed(scene)
    scene.amender().write(batch, 0)
    before = scene.rows()
    scene.finished("bars", 3, START_MS + 3_000, 44)
    scene.finished("archive", 1, 0, 44)
    more = scene.archived([trade(104, 160)], first=43)
    scene.amender().write(batch, 0)
    assert scene.rows() == before
    scene.amender().write(more, 1)
    assert [bar.trade_count for bar in scene.rows() if bar.revision == 2] == [11]


@pytest.mark.long
def test_an_error_behind_the_write_is_made_good(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure right after the revisions are in the table fails the batch, and its repetition adds nothing."""
    batch, write = closed(scene), amend.append_revisions

    def write_and_fail(*words: Any, **options: Any) -> None:
        write(*words, **options)
        raise OSError("the end")

    with monkeypatch.context() as patch:
        patch.setattr(amend, "append_revisions", write_and_fail)
        with pytest.raises(OSError, match="the end"):
            scene.amender().write(batch, 7)
    before = scene.rows()
    assert len(before) == 6
    scene.amender().write(batch, 7)
    assert scene.rows() == before


@pytest.mark.long
def test_late_copies_change_nothing(scene: Scene) -> None:
    """A trade that comes again is late, and its bar is as it should be; one of other content is rejected, once."""
    scene.archived(IN_TIME)
    scene.barred([one for one in IN_TIME if one.timestamp < START_MS + 3_000])
    scene.finished("bars", 0, START_MS + 3_000, 39)
    scene.finished("bars", 1, START_MS + 3_000, 41)
    scene.finished("archive", 0, 0, 41)
    before, amender = scene.rows(), scene.amender()
    batch = scene.archived([IN_TIME[0], IN_TIME[1]._replace(price="1")], first=39)
    amender.write(batch, 0)
    assert scene.rows() == before
    assert amender.tally == Tally(trades=2, latest_ms=2_000, amended=0, equal=1, refused=0)
    for batch_id in (0, 1):  # again after a crash, and again for another trade of that second
        scene.amender().write(batch, batch_id)
        assert scene.rejected() == [(0, 40, 0, CONFLICT)]


def test_a_bar_holds_nothing_that_the_bars_query_has_not_read(scene: Scene) -> None:
    """Of two late trades of one second, the one that only the archive has read waits for a batch of its own."""
    batch = closed(scene)
    scene.finished("archive", 1, 0, 44)
    further = scene.archived([trade(104, 160)], first=43)
    scene.amender().write(batch, 0)
    assert plain(scene.rows()) == [bar for bar in bars_of([*IN_TIME, *LATE]) if bar.timestamp < START_MS + 3_000]
    scene.finished("bars", 3, START_MS + 3_000, 44)
    scene.amender().write(further, 1)
    assert plain(scene.rows()) == [
        bar for bar in bars_of([*IN_TIME, *LATE, trade(104, 160)]) if bar.timestamp < START_MS + 3_000
    ]


def test_a_query_that_does_not_run_is_not_waited_for(scene: Scene) -> None:
    """Without the archive among the queries, nobody would ever read on: the batch fails with the way out."""
    batch = closed(scene)
    scene.finished("archive", 0, 0, 38)
    amender = scene.amender(may_wait=True)
    amender.settings = replace(scene.settings, queries=("bars", "amend"))
    with pytest.raises(AmendError, match=r"Run the query archive too \(QUERIES\), then this again"):
        amender.write(batch, 0)


@pytest.mark.long
def test_of_purged_batches_every_closed_second_is_looked_at(scene: Scene) -> None:
    """Where Spark has purged the batch that read a late trade, the newest watermark says which seconds to compare."""
    batch = closed(scene)
    for folder in ("offsets", "commits"):
        for number in (0, 1):
            (checkpoint_of(scene.settings, "bars") / folder / str(number)).unlink()
    amender = scene.amender()
    amender.write(batch, 0)
    everything = bars_of([*IN_TIME, *LATE])
    assert plain(scene.rows()) == [bar for bar in everything if bar.timestamp < START_MS + 3_000]
    assert amender.tally == Tally(trades=0, latest_ms=0, amended=3, equal=0, refused=0)


@pytest.mark.long
def test_a_bar_never_loses_trades(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Where the archive lacks trades that a bar has (its days were deleted, or it began later), the bar stays."""
    scene.barred([one for one in IN_TIME if one.timestamp < START_MS + 3_000])
    scene.finished("bars", 0, START_MS + 3_000, 39)
    scene.finished("bars", 1, START_MS + 3_000, 42)
    scene.finished("archive", 0, 0, 42)
    before, amender = scene.rows(), scene.amender()
    amender.write(scene.archived(LATE, first=39), 0)
    assert [bar for bar in scene.rows() if bar.revision == 0] == before
    assert [bar.symbol for bar in scene.rows() if bar.revision == 1] == ["ETHUSDT"]
    assert (amender.tally.amended, amender.tally.refused) == (1, 2)
    assert caplog.messages[-1] == (
        f"2 bars have trades that {TRADES.path(scene.settings)} lacks, and are not amended (first: binance BTCUSDT "
        "2024-08-08 23:59:59); what they are missing is told by jobs/reconcile.py"
    )


@pytest.mark.long
def test_what_the_bars_query_has_not_read_is_waited_for(scene: Scene) -> None:
    """A batch ahead of the bars query is judged once that has finished reading it."""
    batch = closed(scene)
    for folder in ("offsets", "commits"):
        (checkpoint_of(scene.settings, "bars") / folder / "2").unlink()
    amender, waits = scene.amender(may_wait=True), threading.Event()
    finished = amender._finished
    amender._finished = lambda: waits.set() or finished()  # type: ignore[method-assign,func-returns-value]
    thread = threading.Thread(target=amender.write, args=(batch, 0))
    thread.start()
    assert waits.wait(60)
    assert [bar.revision for bar in scene.rows()] == [0, 0, 0]
    scene.finished("bars", 2, START_MS + 3_000, 43)
    thread.join(120)
    assert amender.tally.amended == 3


def test_a_bar_is_not_judged_before_the_archive_has_what_it_is_made_of(scene: Scene) -> None:
    """Without waiting (`--available-now`), an archive behind the bars is refused, and the message says the way out."""
    batch = closed(scene)
    scene.finished("archive", 0, 0, 38)
    with pytest.raises(AmendError) as caught:
        scene.amender().write(batch, 0)
    assert str(caught.value) == (
        "the query archive has read partition 0 of crypto-trades up to offset 38, and the bars were made of it up to "
        "39. Run the query archive too (QUERIES), then this again"
    )
    assert {bar.revision for bar in scene.rows()} == {0}


def test_the_end_of_the_program_ends_the_wait(scene: Scene) -> None:
    """Asked to end while it waits, the query gives its batch up; it is repeated at the next start."""
    batch, amender = closed(scene), scene.amender(may_wait=True)
    (checkpoint_of(scene.settings, "bars") / "commits" / "2").unlink()
    scene.ending.set()
    with pytest.raises(AmendError) as caught:
        amender.write(batch, 0)
    assert amender.is_cut_off
    assert str(caught.value) == (
        "ended while it was waiting: the query bars has read partition 0 of crypto-trades up to offset 39, and the "
        "archive holds it up to 43"
    )


@given(st.data())
@hypothesis_settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.long
def test_whatever_is_late_an_open_second_is_never_touched(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Of trades at any time and in any batch, known or purged, all closed seconds end exact, and no open one a bar."""
    times = data.draw(st.lists(st.integers(0, 9_999), min_size=1, max_size=30), label="times")
    watermark_ms = data.draw(st.integers(0, 10_000), label="watermark")
    is_purged = data.draw(st.booleans(), label="purged")
    in_time = data.draw(st.integers(0, len(times)), label="in time")
    some = [trade(number, time_ms) for number, time_ms in enumerate(times)]
    scene = Scene(spark, tmp_path_factory.mktemp("scene"))

    def is_closed(one: Trade) -> bool:
        return one.timestamp // 1000 * 1000 + 1000 <= START_MS + watermark_ms

    scene.barred([one for one in some[:in_time] if is_closed(one)])
    if not is_purged:
        scene.finished("bars", 0, 0, in_time)
    scene.finished("bars", 1, START_MS + watermark_ms, in_time)
    scene.finished("bars", 2, START_MS + watermark_ms, len(some))
    scene.finished("archive", 0, 0, len(some))
    scene.amender().write(scene.archived(some), 0)
    assert plain(scene.rows()) == bars_of(filter(is_closed, some))


def test_only_the_files_of_the_days_and_times_concerned_are_opened(scene: Scene) -> None:
    """The comparison is bound to the suspects' days and times: of tables of many days it opens what it needs."""
    closed(scene)
    day_ms = 86_400_000
    for day in range(1, 4):
        scene.archived([trade(1000 + day, day * day_ms)], partition=1, first=day)
    seconds = scene.spark.createDataFrame(
        [("binance", "BTCUSDT", START_MS + 2 * day_ms, 1, 0, 0)],
        "exchange string, symbol string, second_ms bigint, late bigint, late_ms bigint, closed_by int",
    )
    table = scene.spark.read.format("delta").load(str(TRADES.path(scene.settings)))
    rows = amend._of(table, seconds, amend._days(seconds))
    assert [row["trade_id"] for row in rows.collect()] == [1002]
    plan = rows._jdf.queryExecution().executedPlan().toString()
    assert "PartitionFilters: [isnotnull(date" in plan
    assert "PushedFilters: [IsNotNull(timestamp), GreaterThanOrEqual(timestamp" in plan
